"""Keys, certificates and settings files for the parties of a federation.

Called by the demo and by tests that run the real processes.
Never prints a secret, and writes one only to a file that its owner alone can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli_w

from federation import messages as m
from federation.secagg.certificates import PartyKeys, certify
from federation.secagg.keys import Secret, drawn, signing_public
from riverbank.provisioning.bundles import write_secret
from streams import topology
from streams.codec import encode
from streams.kafka_admin import provision_topics
from streams.ports import Entropy, Log, Outgoing

AGGREGATOR: Final = "aggregator"
KEY_BYTES: Final = 32


@dataclass(frozen=True)
class Federation:
    """A federation as provisioned: its name, the CA's verify key, everybody's certificates and key files."""

    name: str
    ca_verify_key: bytes
    certified: tuple[m.PartyCertified, ...]
    key_files: Mapping[str, Path]

    def settings(self, party: str, bootstrap: str) -> dict[str, Any]:
        """The [federation] and [party] tables of a party's settings file."""
        return {
            "federation": {"name": self.name, "bootstrap": bootstrap, "ca_verify_key": self.ca_verify_key.hex()},
            "party": {"name": party, "key_file": str(self.key_files[party])},
        }


def create_federation(directory: Path, *, name: str, institutions: Sequence[str], entropy: Entropy) -> Federation:
    """Draw the CA's key and every party's keys, write the key files below `directory`, certify the parties.

    The CA's own key is used once and not kept: a federation made here gets no further member.
    """
    ca_seed = Secret(drawn(entropy, KEY_BYTES))
    certified, key_files = [], {}
    for party in (*institutions, AGGREGATOR):
        keys = PartyKeys.from_entropy(entropy)
        key_files[party] = directory / party / "party.key"
        write_secret(key_files[party], keys.to_bytes())
        role = m.PartyRole.AGGREGATOR if party == AGGREGATOR else m.PartyRole.INSTITUTION
        certified.append(
            certify(ca_seed, federation=name, party=party, role=role, verify_key=keys.verify_key, sealing_key=keys.sealing_key)
        )
    return Federation(name, signing_public(ca_seed), tuple(certified), key_files)


async def create_topics(bootstrap: str, institutions: Sequence[str]) -> None:
    """All topics of the federation and of these institutions, on one broker."""
    await provision_topics(bootstrap, topology.FEDERATION_TOPICS)
    for institution in institutions:
        await provision_topics(bootstrap, topology.OWN_TOPICS, institution)


async def publish_certificates(log: Log, federation: Federation) -> None:
    """Put every certificate on parties.v1, keyed by party."""
    topic = topology.PARTIES.full_name()
    await log.append([Outgoing(topic, 0, certified.party.encode(), encode(certified)) for certified in federation.certified])


def write_settings(path: Path, settings: Mapping[str, Any]) -> Path:
    """Write a TOML settings file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(settings))
    return path
