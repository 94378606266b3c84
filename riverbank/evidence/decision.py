"""What an institution's own audit holds about one decision, case or request: who did what, when, on which model and for which reasons.

Called by `riverbank audit export --decision`.
Never shows whose it was: the audit knows pseudonyms."""

from __future__ import annotations

from typing import Any, Final

from audit.entries import logged_of
from audit.ledger import Entry
from audit.proofs import Prover
from federation import messages as m
from federation.errors import OwnFault
from riverbank.evidence.pack import Exhibit
from streams.codec import decode
from streams.topology import ACTIONS

KINDS: Final = (m.LoggedRecord, m.ActionRecorded)


def action_in(entry: Entry) -> m.ActionRecorded | None:
    """The action that an entry holds; None for what was refused."""
    logged = logged_of(entry)
    said = None if logged.reason else decode(logged.value, ACTIONS.carries, ACTIONS.bytes_max)
    return said if isinstance(said, m.ActionRecorded) else None


def gathered(prover: Prover, decision: str) -> tuple[dict[str, Any], list[Exhibit]]:
    """(facts, exhibits) of every entry whose id, or a part of whose detail, is `decision`; OwnFault if there is none."""
    needle = decision.encode()
    found = [
        (entry.sequence, said)
        for entry in prover.matching(lambda entry: needle in entry.content or _is_digest(decision))
        if (said := action_in(entry)) is not None and decision in {said.entry_id.hex(), *said.detail.values()}
    ]
    if not found:
        raise OwnFault(f"no entry under the newest checkpoint is about {decision}")
    facts = {
        "decision": decision,
        "actions": [f"{said.kind.value} {said.action} by {said.actor}" for _, said in found],
        "detail": {name: value for _, said in found for name, value in said.detail.items()},
        "subjects": sorted({said.subject for _, said in found if said.subject}),
        "first_at_ms": min(said.at_ms for _, said in found),
        "last_at_ms": max(said.at_ms for _, said in found),
        "software_versions": sorted({f"{said.process} {said.software_version}" for _, said in found}),
    }
    return facts, [Exhibit(prover.entry(sequence), said) for sequence, said in found]


def _is_digest(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")
