"""Errors that say whose fault it is.

Raised everywhere; shells map PeerFault to a counted, audited refusal, OwnFault to a failed call and Broken to a
stopped process.
Never carries a secret: messages name parties, rounds and positions only."""

from __future__ import annotations


class PeerFault(Exception):
    """Another party broke the protocol; its message is refused and nothing changes.

    `kind` is a short stable name for the audit ("bad_signature"), `accused` the party, `detail` a sentence.
    """

    def __init__(self, kind: str, detail: str, *, accused: str) -> None:
        super().__init__(f"{kind} by {accused}: {detail}")
        self.kind = kind
        self.detail = detail
        self.accused = accused


class OwnFault(Exception):
    """The caller asked for something it may not ask for; the call stops and nothing changes."""


class Broken(Exception):
    """An invariant of ours does not hold; the process must stop before it commits anything."""


def require(condition: object, broken: str) -> None:
    """Raise Broken unless `condition` holds; unlike assert, `python -O` does not disarm it."""
    if not condition:
        raise Broken(broken)
