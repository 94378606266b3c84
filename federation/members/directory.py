"""The federation's parties as the CA certified them and as an operator says they stand: whose signature counts, and who may be in a roster.

Kept up by every shell (`streams.parties`) with the records of two topics; immutable, each record gives another one.
Never forgets: an older certificate or entry that comes again changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Self

from federation.errors import PeerFault
from federation.members.certificates import verify_certificate, verify_rotation
from federation.members.standings import standing_problem
from federation.messages import AuthorityRotated, MemberStanding, PartyCertified, PartyRole, Standing
from federation.secagg.keys import verify

_EVER: Final = (1 << 63) - 1
MARGIN_MS: Final = 5 * 60_000
"""The aggregator stops inviting this long before a certificate expires, so that members with other clocks need not refuse."""


@dataclass(frozen=True, slots=True)
class Directory:
    """One federation's parties. `authorities`: CA keys, and until when the log's time lets them certify."""

    federation: str
    authorities: Mapping[bytes, int]
    certificates: Mapping[str, tuple[PartyCertified, ...]] = field(default_factory=lambda: MappingProxyType({}))  # By rising serial.
    standings: Mapping[str, MemberStanding] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, federation: str, ca_verify_key: bytes, certified: Iterable[PartyCertified] = ()) -> Self:
        """A directory that pins this CA; PeerFault at the first certificate that it does not vouch for."""
        directory = cls(federation, MappingProxyType({ca_verify_key: _EVER}))
        for each in certified:
            directory = directory.admit(each, at_ms=each.issued_at_ms)
        return directory

    # --- what the log says ------------------------------------------------------------------------------------------
    def admit(self, certified: PartyCertified, *, at_ms: int) -> Self:
        """With a certificate that the log took at `at_ms`.

        PeerFault: not the word of a CA believed at that time, of another federation, with a serial that another certificate has, or
        with another role than the party had.
        """
        self._verify_authority(certified, at_ms)
        accused, known = certified.party, self.certificates.get(certified.party, ())
        if certified.federation != self.federation:
            raise PeerFault("bad_certificate", "certified for another federation", accused=accused)
        if any(each.role is not certified.role for each in known):
            raise PeerFault("bad_certificate", "a party does not change its role", accused=accused)
        same = next((each for each in known if each.serial == certified.serial), None)
        if same is not None:
            if same != certified:
                raise PeerFault("bad_certificate", f"two different certificates have serial {certified.serial}", accused=accused)
            return self
        listed = tuple(sorted((*known, certified), key=lambda each: each.serial))
        return replace(self, certificates=MappingProxyType({**self.certificates, accused: listed}))

    def follow(self, rotated: AuthorityRotated) -> Self:
        """With a CA key that follows, or went before, one that is believed. PeerFault for one that neither does."""
        verify_rotation(rotated)
        old_until = min(self.authorities.get(rotated.old_key, _EVER), rotated.old_until_ms)
        if rotated.party != self.federation or not {rotated.old_key, rotated.new_key} & self.authorities.keys():
            raise PeerFault("bad_certificate", "a change between CA keys that nobody pinned", accused=rotated.party)
        until = {**self.authorities, rotated.old_key: old_until, rotated.new_key: self.authorities.get(rotated.new_key, _EVER)}
        return replace(self, authorities=MappingProxyType(until))

    def take(self, sender: str, entry: MemberStanding) -> Self:
        """With an operator's entry, whose signature was verified; the very same object if a newer one is known.

        PeerFault: said by no operator, another entry with its serial, or one that may not follow the one known.
        """
        if self.newest(sender).role is not PartyRole.OPERATOR:
            raise PeerFault("not_entitled", "only an operator says how a party stands", accused=sender)
        known = self.standings.get(entry.party)
        if known is not None and entry.serial <= known.serial:
            if entry.serial == known.serial and entry != known:
                raise PeerFault("two_records", f"two different entries about {entry.party} have serial {entry.serial}", accused=sender)
            return self
        problem = standing_problem(known, entry)
        if problem is not None:
            raise PeerFault("bad_standing", f"{entry.party}: {problem}", accused=sender)
        return replace(self, standings=MappingProxyType({**self.standings, entry.party: entry}))

    # --- what follows from it ---------------------------------------------------------------------------------------
    def newest(self, party: str) -> PartyCertified:
        """The certificate with the highest serial; PeerFault "unknown_sender" for a stranger."""
        known = self.certificates.get(party)
        if known is None:
            raise PeerFault("unknown_sender", "not certified by the federation", accused=party)
        return known[-1]

    def verify(self, sender: str, signed_bytes: bytes, signature: bytes, *, at_ms: int | None = None) -> int:
        """The serial of the certificate under which `sender` signed these bytes.

        `at_ms`: when the log took them; the certificate must have counted then. None: whether it counts is decided elsewhere (a
        lane's log decides by its own order, or two readers could read it differently).
        PeerFault: "unknown_sender", "bad_signature", or "stale_certificate" for a key that did not count any more.
        """
        self.newest(sender)  # Else a stranger.
        signed_under = (each for each in reversed(self.certificates[sender]) if holds(each.verify_key, signed_bytes, signature))
        certified = next(signed_under, None)
        if certified is None:
            raise PeerFault("bad_signature", "the signature does not match", accused=sender)
        problem = None if at_ms is None else self._problem_at(certified, at_ms)
        if problem is not None:
            raise PeerFault("stale_certificate", f"signed under certificate {certified.serial}; {problem}", accused=sender)
        return certified.serial

    def acceptable(self, now_ms: int, *roles: PartyRole, margin_ms: int = 0) -> dict[str, int]:
        """Who of these roles may take part in rounds at `now_ms` -> the lowest certificate serial that it may speak under.

        Institutions that an operator verified, and aggregators that none has taken out, whose certificate lasts `margin_ms` longer.
        """
        named = (known[-1].party for known in self.certificates.values() if known[-1].role in roles)
        return {party: least for party in named if (least := self._least_serial(party, now_ms, margin_ms)) is not None}

    def why_not(self, party: str, now_ms: int) -> str:
        """A sentence on why a party is not acceptable."""
        entry = self.standings.get(party)
        if party not in self.certificates:
            return "is not certified by the federation"
        if entry is not None and entry.standing is not Standing.VERIFIED:
            return f"is {entry.standing.value}"
        if entry is None and self.newest(party).role is PartyRole.INSTITUTION:
            return "has not been verified by an operator"
        if self.newest(party).expires_at_ms <= now_ms:
            return "has a certificate that has expired"
        return "has a certificate that was revoked"

    def of_role(self, role: PartyRole) -> tuple[PartyCertified, ...]:
        """The newest certificates of the parties with this role."""
        return tuple(known[-1] for known in self.certificates.values() if known[-1].role is role)

    def aggregator(self) -> PartyCertified | None:
        """The aggregator; None until exactly one is certified."""
        found = self.of_role(PartyRole.AGGREGATOR)
        return found[0] if len(found) == 1 else None

    def verify_keys(self, party: str) -> tuple[bytes, ...]:
        """Every key the CA certified for a party, the newest first; none for a stranger."""
        return tuple(each.verify_key for each in reversed(self.certificates.get(party, ())))

    def expiring(self, now_ms: int, *, within_ms: int) -> tuple[PartyCertified, ...]:
        """The newest certificates that expire within so long from now, or have."""
        return tuple(known[-1] for known in self.certificates.values() if known[-1].expires_at_ms <= now_ms + within_ms)

    def _least_serial(self, party: str, now_ms: int, margin_ms: int) -> int | None:
        newest, entry = self.newest(party), self.standings.get(party)
        needs_entry = newest.role is PartyRole.INSTITUTION
        if newest.role is PartyRole.OPERATOR or (entry is None and needs_entry):
            return None
        if entry is not None and entry.standing is not Standing.VERIFIED:
            return None
        least = 1 if entry is None else entry.certificate_serial_min
        # Once the overlap that the CA gave is over, an older key does not count even where its owner has not used the newer one.
        least = max([least, *(each.serial for each in self.certificates[party] if each.previous_until_ms <= now_ms + margin_ms)])
        return least if newest.serial >= least and newest.expires_at_ms > now_ms + margin_ms else None

    def _problem_at(self, certified: PartyCertified, at_ms: int) -> str | None:
        entry = self.standings.get(certified.party)
        if entry is not None and certified.serial < entry.certificate_serial_min and at_ms >= entry.void_from_ms:
            return "it was revoked"
        if at_ms >= certified.expires_at_ms:
            return "it had expired"
        newer = [each for each in self.certificates[certified.party] if each.serial > certified.serial]
        if any(at_ms >= each.previous_until_ms for each in newer):
            return "a newer one had taken its place"
        return None

    def _verify_authority(self, certified: PartyCertified, at_ms: int) -> None:
        faults = []
        for key, until_ms in self.authorities.items():
            try:
                verify_certificate(key, certified)
            except PeerFault as fault:
                faults.append(fault)
                continue
            if at_ms >= until_ms:
                raise PeerFault("bad_certificate", "by a CA key that another one has followed", accused=certified.party)
            return
        raise faults[0]


def holds(verify_key: bytes, signed_bytes: bytes, signature: bytes) -> bool:
    """Whether this is the key's Ed25519 signature of these bytes."""
    try:
        verify(verify_key, signed_bytes, signature, accused="")
    except PeerFault:
        return False
    return True
