"""How a party comes to stand as it does: the table of an operator's acts, and the entry that each makes.

Called by `riverbank members`; `directory` refuses an entry that the table does not permit after the one before.
Never lowers the serial below which certificates are void."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from federation.errors import OwnFault
from federation.limits import NAME_LENGTH_MAX
from federation.messages import MemberStanding, Standing

MOVES: Final[Mapping[Standing | None, frozenset[Standing]]] = {
    # The aggregator and operators are certified without an invitation, and revoked like anybody.
    None: frozenset({Standing.INVITED, Standing.REVOKED}),
    Standing.INVITED: frozenset({Standing.VERIFIED, Standing.LEFT, Standing.REVOKED}),
    Standing.VERIFIED: frozenset({Standing.SUSPENDED, Standing.LEFT, Standing.REVOKED}),
    Standing.SUSPENDED: frozenset({Standing.VERIFIED, Standing.LEFT, Standing.REVOKED}),
    Standing.LEFT: frozenset({Standing.INVITED, Standing.REVOKED}),
    # With other keys only: those it had are void.
    Standing.REVOKED: frozenset({Standing.INVITED}),
}
REASON_LENGTH_MAX: Final = 200


def next_standing(
    before: MemberStanding | None, party: str, standing: Standing, *, at_ms: int, reason: str, certificate_serial: int
) -> MemberStanding:
    """The entry of an act. `certificate_serial`: the party's newest certificate, 0 if it has none; revoking makes all up to it void.

    OwnFault: the table does not permit it, or the reason is too long.
    """
    least, void_from_ms = (1, 0) if before is None else (before.certificate_serial_min, before.void_from_ms)
    if standing is Standing.REVOKED and certificate_serial >= least:
        least, void_from_ms = certificate_serial + 1, at_ms
    entry = MemberStanding(
        party=party,
        serial=1 if before is None else before.serial + 1,
        standing=standing,
        certificate_serial_min=least,
        void_from_ms=void_from_ms,
        at_ms=at_ms,
        reason=reason,
    )
    problem = standing_problem(before, entry)
    if problem is not None:
        raise OwnFault(f"{party}: {problem}")
    return entry


def standing_problem(before: MemberStanding | None, entry: MemberStanding) -> str | None:
    """Why an entry may not follow the one before it, or None. `before` may be several entries old: compaction takes what is between."""
    if not 1 <= len(entry.party) <= NAME_LENGTH_MAX or len(entry.reason) > REASON_LENGTH_MAX:
        return "a name or reason of impossible length"
    if entry.serial < 1 or entry.certificate_serial_min < 1 or min(entry.at_ms, entry.void_from_ms) < 0:
        return "a number out of bounds"
    if (entry.certificate_serial_min > 1) != (entry.void_from_ms > 0):
        return "certificates are void from some time on, or none are"
    if before is not None and entry.certificate_serial_min < before.certificate_serial_min:
        return "void certificates stay void"
    follows = entry.serial == (1 if before is None else before.serial + 1)
    stood = None if before is None else before.standing
    if follows and entry.standing not in MOVES[stood]:
        known = "unknown" if stood is None else stood.value
        return f"{known}, hence not to be {entry.standing.value}"
    return None
