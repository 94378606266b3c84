"""A whole federation made ready at once: everybody's keys, certificates and standings, and the topics.

Called by the demo and by tests that run the real processes.
Never prints a secret, and writes one only locked, to a file that its owner alone can read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tomli_w

from federation import messages as m
from federation.members.certificates import certify
from federation.members.keys import KeyRing, PartyKeys
from federation.members.locking import LEAST
from federation.members.standings import next_standing
from federation.secagg.keys import Secret, drawn, signing_public
from riverbank.provisioning.bundles import write_secret
from streams import topology
from streams.codec import encode
from streams.courier import Courier, key_of
from streams.kafka_admin import provision_topics
from streams.ports import Entropy, Log, Outgoing

AGGREGATOR: Final = "aggregator"
OPERATOR: Final = "operator"
AUDIT: Final = "audit"
KEY_BYTES: Final = 32
VALID_MS: Final = 365 * 24 * 3_600_000


@dataclass(frozen=True)
class Founded:
    """Everybody's keys, and what the CA and the operator say of them; the CA's own key was used once and is gone."""

    name: str
    ca_verify_key: bytes
    keys: Mapping[str, PartyKeys] = field(repr=False)
    certified: tuple[m.PartyCertified, ...]
    standings: tuple[m.MemberStanding, ...]

    def courier(self, log: Log, party: str) -> Courier:
        """Speaks for a party."""
        return Courier(log, federation=self.name, sender=party, sign=self.keys[party].sign)

    async def publish(self, log: Log, now_ms: int) -> None:
        """Put every certificate on parties.v1 and the operator's word on every institution on members.v1."""
        topic = topology.PARTIES
        await log.append([Outgoing(topic.full_name(), 0, key_of(topic, certified), encode(certified)) for certified in self.certified])
        operator = self.courier(log, OPERATOR)
        await operator.send(operator.prepare(self.standings, now_ms))


def found(name: str, institutions: Sequence[str], *, ca_seed: Secret, keys_of: Callable[[str], PartyKeys], now_ms: int) -> Founded:
    """Certify an aggregator, an operator, an audit and these institutions, and verify the institutions as members."""
    alone = {AGGREGATOR: m.PartyRole.AGGREGATOR, OPERATOR: m.PartyRole.OPERATOR, AUDIT: m.PartyRole.AUDIT}
    roles = dict.fromkeys(institutions, m.PartyRole.INSTITUTION) | alone
    keys = {party: keys_of(party) for party in roles}
    certified = tuple(
        certify(
            ca_seed, federation=name, party=party, role=role, serial=1, issued_at_ms=now_ms, expires_at_ms=now_ms + VALID_MS,
            previous_until_ms=now_ms, verify_key=keys[party].verify_key, sealing_key=keys[party].sealing_key,
        )
        for party, role in roles.items()
    )  # fmt: skip
    standings: list[m.MemberStanding] = []
    for institution in institutions:
        before = None
        for standing in (m.Standing.INVITED, m.Standing.VERIFIED):
            before = next_standing(before, institution, standing, at_ms=now_ms, reason="founding member", certificate_serial=1)
            standings.append(before)
    return Founded(name, signing_public(ca_seed), keys, certified, tuple(standings))


@dataclass(frozen=True)
class Federation:
    """A federation on this machine: its parties, their key files, and what opens those."""

    founded: Founded
    key_files: Mapping[str, Path]
    passphrase: str = field(repr=False)

    @property
    def ca_verify_key(self) -> bytes:
        """What everybody pins."""
        return self.founded.ca_verify_key

    def settings(self, party: str, bootstrap: str) -> dict[str, Any]:
        """The [federation] and [party] tables of a party's settings file; the passphrase goes through the environment."""
        return {
            "federation": {"name": self.founded.name, "bootstrap": bootstrap, "ca_verify_key": self.ca_verify_key.hex()},
            "party": {"name": party, "key_file": str(self.key_files[party])},
        }


def create_federation(directory: Path, *, name: str, institutions: Sequence[str], entropy: Entropy, now_ms: int) -> Federation:
    """Draw the CA's key and every party's keys, certify the parties, write the key files below `directory`."""
    ca_seed = Secret(drawn(entropy, KEY_BYTES))
    founded = found(name, institutions, ca_seed=ca_seed, keys_of=lambda _: PartyKeys.from_entropy(entropy), now_ms=now_ms)
    # Drawn, not chosen: stretching it would only cost time.
    passphrase = drawn(entropy, KEY_BYTES).hex()
    key_files = {party: directory / party / "party.key" for party in founded.keys}
    for party, path in key_files.items():
        write_secret(path, KeyRing((founded.keys[party],)).locked(passphrase.encode(), cost=LEAST, entropy=entropy))
    return Federation(founded, key_files, passphrase)


async def create_topics(bootstrap: str, institutions: Sequence[str]) -> None:
    """All topics of the federation and of these institutions, on one broker."""
    await provision_topics(bootstrap, topology.FEDERATION_TOPICS)
    for institution in institutions:
        await provision_topics(bootstrap, topology.OWN_TOPICS, institution)


def write_settings(path: Path, settings: Mapping[str, Any]) -> Path:
    """Write a TOML settings file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(settings))
    return path
