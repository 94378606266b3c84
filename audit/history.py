"""What checkpoints.v1 says: the audit's newest checkpoints, who cosigned each, and what witnesses refused.

Folded by the audit writer, by portals and by the console.
Never believes a signature it has not verified with a certified key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from audit.checkpoints import Checkpoint, NoteError, verified, witnesses_of
from federation.errors import PeerFault
from federation.members.directory import holds
from federation.messages import CheckpointCosigned, CheckpointRefused, CheckpointSigned, Message

KEPT: Final = 64
VerifyKeys = Callable[[str], Iterable[bytes]]
"""Party -> its certified verify keys."""


@dataclass(slots=True)
class Shown:
    """One checkpoint, and who stands for it: witness -> (seconds since 1970, its line of the note)."""

    checkpoint: Checkpoint
    at_ms: int
    note: str
    cosigned: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def cosigned_note(self) -> str:
        """The note with every cosignature, in the order of the witnesses' names."""
        return self.note + "".join(line for _, (_, line) in sorted(self.cosigned.items()))


class History:
    """The log of one origin, as far as it was read."""

    def __init__(self, federation: str, verify_keys: VerifyKeys) -> None:
        self._federation: Final = federation
        self._verify_keys: Final = verify_keys
        self._shown: list[Shown] = []  # By rising size.
        self.cosigned_sizes: dict[str, int] = {}
        """Witness -> the size that it cosigned last."""
        self.refused: dict[str, CheckpointRefused] = {}
        """Witness -> what it refused last, unless it has cosigned since."""

    @property
    def newest(self) -> Shown | None:
        """The largest checkpoint; None before the first."""
        return self._shown[-1] if self._shown else None

    @property
    def best(self) -> Shown | None:
        """Of those kept, the one with the most cosignatures, the largest among equals."""
        return max(self._shown, key=lambda shown: (len(shown.cosigned), shown.checkpoint.size), default=None)

    def apply(self, said: Message) -> None:
        """Take a message whose sender was verified; PeerFault for one whose signature inside does not hold."""
        if isinstance(said, CheckpointSigned):
            self._sign(said)
        elif isinstance(said, CheckpointCosigned):
            self._cosign(said)
        elif isinstance(said, CheckpointRefused):
            self.refused[said.actor] = said

    def _sign(self, said: CheckpointSigned) -> None:
        checkpoint = checkpoint_in(said, self._federation, self._verify_keys)
        if all(shown.note != said.note for shown in self._shown):
            self._shown.append(Shown(checkpoint, said.at_ms, said.note))
            self._shown.sort(key=lambda shown: shown.checkpoint.size)
            del self._shown[:-KEPT]

    def _cosign(self, said: CheckpointCosigned) -> None:
        note = Checkpoint(said.origin, said.size, said.root).text.decode() + "\n" + said.line
        found = [witnesses_of(note, {said.actor: key}, holds) for key in self._verify_keys(said.actor)]
        at_s = next((times[said.actor] for times in found if said.actor in times), None)
        if at_s is None:
            raise PeerFault("bad_signature", "the cosignature does not hold", accused=said.actor)
        self.cosigned_sizes[said.actor] = said.size
        self.refused.pop(said.actor, None)
        for shown in self._shown:
            if (shown.checkpoint.size, shown.checkpoint.root) == (said.size, said.root):
                shown.cosigned[said.actor] = (at_s, said.line)


def origin_of(federation: str, party: str) -> str:
    """The name of a party's log."""
    return f"{federation}/{party}"


def checkpoint_in(said: CheckpointSigned, federation: str, verify_keys: VerifyKeys) -> Checkpoint:
    """The checkpoint in a message of the audit's, its note verified; PeerFault if that does not hold."""
    origin, reason = origin_of(federation, said.actor), "no key of the audit is known"
    for key in verify_keys(said.actor):
        try:
            checkpoint = verified(said.note, origin=origin, verify_key=key, verify=holds)
        except NoteError as error:
            reason = str(error)
            continue
        if said.origin != origin:
            break
        return checkpoint
    raise PeerFault("bad_checkpoint", reason, accused=said.actor)
