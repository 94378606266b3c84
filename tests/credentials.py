"""A federation's credentials for tests: a CA, an aggregator, an operator, institutions; certified, and verified as members.

Used by every test that opens signed records.
Never random: keys follow from names, so two processes make the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from federation import messages as m
from federation.members.certificates import certify
from federation.members.directory import Directory
from federation.members.keys import KeyRing, PartyKeys
from federation.members.locking import LEAST
from federation.members.standings import next_standing
from federation.secagg.keys import Secret, signing_public
from riverbank.provisioning.federations import write_settings
from streams.codec import encode
from streams.courier import Courier, key_of
from streams.ports import Log, Outgoing
from streams.topology import PARTIES

AGGREGATOR = "aggregator"
OPERATOR = "operator"
AUDIT = "audit"
FAR_MS = 4_000_000_000_000
PASSPHRASE = "correct horse battery staple"  # noqa: S105  # Of test files only.


def entropy_of(*name: object) -> Callable[[int], bytes]:
    """Call by call, the SHAKE-256 of the name and the count."""
    drawn = iter(range(1_000_000))
    return lambda count: hashlib.shake_256(f"{name} {next(drawn)}".encode()).digest(count)


def keys_of(*name: object) -> PartyKeys:
    """The keys that follow from a name."""
    return PartyKeys.from_entropy(entropy_of("keys", *name))


class Credentials:
    """Everybody's keys, and the CA and the operator that vouch for them."""

    def __init__(self, federation: str, institutions: Iterable[str], *, ca: Secret | None = None) -> None:
        self.federation = federation
        self.institutions = tuple(sorted(institutions))
        self.ca = ca or Secret(hashlib.sha256(b"the ca of " + federation.encode()).digest())
        self.ca_verify_key = signing_public(self.ca)
        roles = {AGGREGATOR: m.PartyRole.AGGREGATOR, OPERATOR: m.PartyRole.OPERATOR, AUDIT: m.PartyRole.AUDIT}
        self.roles = roles | dict.fromkeys(self.institutions, m.PartyRole.INSTITUTION)
        self.keys = {party: keys_of(federation, party) for party in self.roles}
        self.certified = tuple(self.certificate(party) for party in self.roles)
        self.standings: dict[str, m.MemberStanding] = {}
        self.entries = tuple(self.act(name, act) for name in self.institutions for act in (m.Standing.INVITED, m.Standing.VERIFIED))
        directory = Directory.of(federation, self.ca_verify_key, self.certified)
        for entry in self.entries:
            directory = directory.take(OPERATOR, entry)
        self.directory = directory

    def certificate(self, party: str, keys: PartyKeys | None = None, **changes: Any) -> m.PartyCertified:
        """The CA's word on a party's keys; serial 1 and no end in sight unless changed."""
        keys = keys or self.keys[party]
        fields = {
            "federation": self.federation, "party": party, "role": self.roles.get(party, m.PartyRole.INSTITUTION), "serial": 1, "issued_at_ms": 0,
            "expires_at_ms": FAR_MS, "previous_until_ms": 0, "verify_key": keys.verify_key, "sealing_key": keys.sealing_key, **changes,
        }  # fmt: skip
        return certify(self.ca, **fields)

    def act(self, party: str, standing: m.Standing, *, at_ms: int = 1, certificate_serial: int = 1) -> m.MemberStanding:
        """The operator's next entry about a party."""
        before = self.standings.get(party)
        entry = next_standing(before, party, standing, at_ms=at_ms, reason="a test", certificate_serial=certificate_serial)
        self.standings[party] = entry
        return entry

    def courier(self, log: Log, party: str) -> Courier:
        """Speaks for a party."""
        return Courier(log, federation=self.federation, sender=party, sign=self.keys[party].sign)

    async def publish(self, log: Log, names: Iterable[str] | None = None) -> None:
        """The certificates of these, or of all, and every entry about them, onto their topics."""
        wanted = set(self.roles if names is None else names)
        await self.certify(log, *(each for each in self.certified if each.party in wanted | {OPERATOR}))
        await self.enter(log, *(entry for entry in self.entries if entry.party in wanted))

    async def certify(self, log: Log, *certified: m.PartyCertified | m.AuthorityRotated) -> None:
        """These onto parties.v1."""
        await log.append([Outgoing(PARTIES.full_name(), 0, key_of(PARTIES, each), encode(each)) for each in certified])

    async def enter(self, log: Log, *entries: m.MemberStanding) -> None:
        """These onto members.v1, by the operator; without their audit entries."""
        prepared = self.courier(log, OPERATOR).prepare(entries, 0)
        await log.append(prepared[: len(entries)])

    def write_institution(self, folder: Path, name: str, bootstrap: str, **institution: Any) -> Path:
        """A worker's settings, key and passphrase in a folder; one broker is the federation's and its own."""
        passphrase_file = folder / "passphrase"
        passphrase_file.touch(mode=0o600)
        passphrase_file.write_text(PASSPHRASE)
        key_file = self.write_key_file(folder / "party.key", name)
        return write_settings(
            folder / "institution.toml",
            {
                "federation": {"name": self.federation, "bootstrap": bootstrap, "ca_verify_key": self.ca_verify_key.hex()},
                "party": {"name": name, "key_file": str(key_file), "passphrase_file": str(passphrase_file)},
                "institution": {"bootstrap": bootstrap, "state_dir": str(folder / "state"), **institution},
            },
        )

    def write_key_file(self, path: Path, party: str, *older: PartyKeys) -> Path:
        """The party's key file, locked with PASSPHRASE at the least cost."""
        ring = KeyRing((*older, self.keys[party]))
        path.touch(mode=0o600)
        path.write_bytes(ring.locked(PASSPHRASE.encode(), cost=LEAST, entropy=entropy_of("salt", path)))
        return path
