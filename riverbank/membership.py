"""An operator's acts: who is invited, verified, suspended, gone or revoked, and certificates put where everybody reads them.

Called by `riverbank members` and by tests.
Never says more than one entry about a party under one number: the log is read to its end before anything is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from federation.errors import OwnFault
from federation.members.directory import Directory
from federation.members.standings import next_standing
from federation.messages import AuthorityRotated, MemberStanding, PartyCertified, PartyRole, Standing
from streams.codec import encode
from streams.courier import Courier, key_of
from streams.identity import Identity
from streams.parties import Parties
from streams.ports import Log, Outgoing
from streams.topology import PARTIES

_DAY_MS: Final = 24 * 3_600_000


class Membership:
    """The list of members as one operator reads and writes it."""

    def __init__(self, log: Log, parties: Parties, identity: Identity) -> None:
        self._log = log
        self._parties = parties
        self._identity = identity
        federation = parties.directory.federation
        self._courier = Courier(log, federation=federation, sender=identity.party, sign=identity.sign)

    async def publish(self, said: PartyCertified | AuthorityRotated) -> None:
        """Put what the CA signed onto parties.v1. PeerFault, and nothing is sent, if nobody would believe it."""
        await self._parties.catch_up()
        if isinstance(said, PartyCertified):
            self._parties.directory.admit(said, at_ms=said.issued_at_ms)
        else:
            self._parties.directory.follow(said)
        await self._log.append([Outgoing(PARTIES.full_name(), 0, key_of(PARTIES, said), encode(said))])

    async def act(self, party: str, standing: Standing, *, reason: str, now_ms: int) -> MemberStanding:
        """Say how a party stands from now on. OwnFault: the table of acts does not permit it, or there is nobody to verify."""
        await self._identity.keep_up()
        directory = self._parties.directory
        known = directory.certificates.get(party, ())
        if standing is Standing.VERIFIED and not known:
            raise OwnFault(f"{party} is not certified yet: publish the CA's answer first")
        serial = known[-1].serial if known else 0
        entry = next_standing(directory.standings.get(party), party, standing, at_ms=now_ms, reason=reason, certificate_serial=serial)
        directory.take(self._identity.party, entry)  # What nobody would believe is not said.
        await self._courier.send(self._courier.prepare([entry], now_ms))
        return entry

    async def rows(self, now_ms: int) -> list[dict[str, Any]]:
        """Everybody, a row each."""
        await self._parties.catch_up()
        return standing_rows(self._parties.directory, now_ms)


def standing_rows(directory: Directory, now_ms: int) -> list[dict[str, Any]]:
    """Everybody a directory knows: standing, certificate, whether they take part, and if not, why."""
    acceptable = directory.acceptable(now_ms, *PartyRole)
    rows = []
    for party in sorted(directory.certificates.keys() | directory.standings.keys()):
        known, entry = directory.certificates.get(party, ()), directory.standings.get(party)
        newest = known[-1] if known else None
        rows.append({
            "party": party,
            "role": newest.role.value if newest else "",
            "standing": entry.standing.value if entry else "",
            "entry": entry.serial if entry else 0,
            "certificate": newest.serial if newest else 0,
            "expires": f"{datetime.fromtimestamp(newest.expires_at_ms / 1000, UTC):%Y-%m-%d}" if newest else "",
            "days_left": (newest.expires_at_ms - now_ms) // _DAY_MS if newest else 0,
            "takes_part": party in acceptable,
            "why_not": "" if party in acceptable else directory.why_not(party, now_ms),
            "reason": entry.reason if entry else "",
        })  # fmt: skip
    return rows
