"""A federation to try: a folder for each process, with keys, certificates and settings, as `docker/compose.yml` mounts them.

Called by `riverbank trial`.
Never to be used for a real federation: all keys are made in one place, where whoever stands sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from federation.messages import HeadName, PartyCertified, Standing
from riverbank.embedded.configuration import BrokerTls, server_properties
from riverbank.membership import Membership
from riverbank.provisioning.bundles import CA_CERTIFICATE, KAFKA_CERTIFICATE, KAFKA_KEY, write_secret
from riverbank.provisioning.federations import AGGREGATOR, AUDIT, OPERATOR, Federation, create_federation, write_settings
from riverbank.provisioning.transport import create_transport
from riverbank.topics import bring_about
from streams import topology
from streams.access import Principal, alone
from streams.codec import decode, encode
from streams.identity import Identity, key_file
from streams.kafka import KafkaLog
from streams.parties import Parties
from streams.ports import Entropy
from streams.settings import OperatorProcess, TlsSettings, TopicsProcess, load_settings
from streams.tls import open_tls
from streams.topology import Role

NAME: Final = "riverbank-trial"
SETTINGS: Final = "settings.toml"
TOPICS: Final = "topics.toml"
PASSPHRASE: Final = "passphrase"  # noqa: S105 The file's name.
OPS_PORT: Final = 9464
WEB_PORT: Final = 8080
_KAFKA, _CONSOLE, _FEED, _CLICKHOUSE = "kafka", "console", "feed", "clickhouse"
_CERTIFICATES: Final = "certificates"
_CLICKHOUSE_USERS: Final = """\
<clickhouse>
  <users>
    <default remove="remove"/>
    <riverbank>
      <password_sha256_hex>{digest}</password_sha256_hex>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants><query>GRANT ALL ON *.*</query></grants>
    </riverbank>
  </users>
</clickhouse>
"""


@dataclass(frozen=True)
class Places:
    """Where processes find their things: in a container, or below one folder of this machine."""

    own: Callable[[str], Path]
    """A process's folder."""
    state: Callable[[str], Path]
    """Where it keeps what it must not lose."""
    host: str
    """The address that it listens on."""


IN_CONTAINERS: Final = Places(lambda _: Path("/etc/riverbank"), lambda _: Path("/var/lib/riverbank"), "0.0.0.0")  # noqa: S104 Its own network.


@dataclass(frozen=True)
class Trial:
    """What is to be made."""

    institutions: Sequence[str]
    kafka: str
    """host:port of the broker, as everybody reaches it."""
    audit_dsn: str
    places: Places = IN_CONTAINERS


def prepare(directory: Path, trial: Trial, *, entropy: Entropy, now_ms: int) -> None:
    """Make every process's folder below `directory`; FileExistsError if there is a federation already."""
    federation = create_federation(directory, name=NAME, institutions=trial.institutions, entropy=entropy, now_ms=now_ms)
    host = trial.kafka.rpartition(":")[0]
    create_transport({who: directory / folder for who, folder in folders(trial.institutions).items()}, federation=NAME, hosts=[host])
    for name in federation.key_files:
        write_secret(directory / name / PASSPHRASE, federation.passphrase.encode())
    for certified in federation.founded.certified:
        path = directory / OPERATOR / _CERTIFICATES / f"{certified.party}.avro"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(certified))
    for name, settings in _settings(trial, federation).items():
        write_settings(directory / name / SETTINGS, settings)
    write_settings(directory / OPERATOR / TOPICS, {"cluster": _topics(trial)})
    _prepare_servers(directory, trial, entropy)


def folders(institutions: Sequence[str]) -> dict[Principal, str]:
    """Who has which folder."""
    known = {
        alone(Role.BROKER): _KAFKA,
        alone(Role.OPERATOR): OPERATOR,
        alone(Role.AGGREGATOR): AGGREGATOR,
        alone(Role.AUDIT): AUDIT,
        alone(Role.CONSOLE): _CONSOLE,
    }
    for name in institutions:
        known |= {
            Principal(name, Role.INSTITUTION): name,
            Principal(name, Role.PORTAL): f"portal-{name}",
            Principal(name, Role.LEDGER): f"{AUDIT}-{name}",
            Principal(name, Role.SOURCE): f"{_FEED}/{name}",
        }
    return known


def _settings(trial: Trial, federation: Federation) -> dict[str, dict[str, Any]]:
    """Folder -> settings."""
    places, institutions = trial.places, trial.institutions

    def shared(folder: str) -> dict[str, Any]:
        table = federation.settings(AGGREGATOR, trial.kafka)["federation"] | _cluster(trial, places.own(folder))
        return {"federation": table, "ops": {"host": places.host, "port": OPS_PORT}}

    def party(folder: str) -> dict[str, Any]:
        own = places.own(folder)
        return shared(folder) | {"party": {"name": folder, "key_file": str(own / "party.key"), "passphrase_file": str(own / PASSPHRASE)}}

    def web(folder: str, institution: str | None) -> dict[str, Any]:
        own: dict[str, Any] = {
            "state_dir": str(places.state(folder)), "host": places.host, "port": WEB_PORT, "origin": "https://localhost:8443",
        }  # fmt: skip
        if institution is not None:
            own |= {"institution": institution, **_cluster(trial, places.own(folder))}
        else:
            own["origin"] = "https://localhost:8444"
        return shared(folder) | {"web": own}

    audit = {
        "dsn": trial.audit_dsn,
        "ledger_dir": str(places.state(AUDIT) / "ledger"),
        "password_file": str(places.own(AUDIT) / "clickhouse"),
    }
    made = {
        OPERATOR: {key: value for key, value in party(OPERATOR).items() if key != "ops"},
        AGGREGATOR: party(AGGREGATOR) | {"aggregator": {"state_dir": str(places.state(AGGREGATOR))}},
        AUDIT: party(AUDIT) | {"audit": audit},
        _CONSOLE: web(_CONSOLE, None),
        _FEED: {"feed": {"sources": {name: _cluster(trial, places.own(_FEED) / name) for name in institutions}}},
    }
    unlimited = {head.value: {"epsilon_max": "unlimited"} for head in HeadName}  # The heads' usual rounds have no noise.
    for name in institutions:
        own_audit, portal = f"{AUDIT}-{name}", f"portal-{name}"
        made[name] = party(name) | {
            "institution": _cluster(trial, places.own(name)) | {"state_dir": str(places.state(name)), "privacy": unlimited}
        }
        made[portal] = web(portal, name)
        made[own_audit] = shared(own_audit) | {
            "audit": _cluster(trial, places.own(own_audit))
            | {"institution": name, "ledger_dir": str(places.state(own_audit) / "ledger"), "flush_ms": 0}
        }
    return made


def _cluster(trial: Trial, own: Path) -> dict[str, Any]:
    files = TlsSettings(ca_file=own / CA_CERTIFICATE, cert_file=own / KAFKA_CERTIFICATE, key_file=own / KAFKA_KEY)
    return {"bootstrap": trial.kafka, "tls": files.model_dump(mode="json", exclude_none=True)}


def _topics(trial: Trial) -> Mapping[str, Any]:
    names = list(trial.institutions)
    return _cluster(trial, trial.places.own(OPERATOR)) | {"federation": NAME, "members": names, "institutions": names, "replication": 1}


def _prepare_servers(directory: Path, trial: Trial, entropy: Entropy) -> None:
    """What Kafka and ClickHouse are given: their official images know nothing of Riverbank."""
    host, _, port = trial.kafka.rpartition(":")
    kafka = trial.places.own(_KAFKA)
    folder = directory / _KAFKA
    write_secret(folder / "broker.pem", (folder / KAFKA_KEY).read_bytes() + (folder / KAFKA_CERTIFICATE).read_bytes())
    files = TlsSettings(ca_file=folder / CA_CERTIFICATE, cert_file=folder / KAFKA_CERTIFICATE, key_file=folder / KAFKA_KEY)
    text = server_properties(
        host=host, port=int(port), controller_port=int(port) + 1, logs=trial.places.state(_KAFKA) / "topics",
        tls=BrokerTls(files, NAME, (alone(Role.OPERATOR),)), shown=kafka / "broker.pem",
    )  # fmt: skip
    (folder / "server.properties").write_text(text.replace(str(files.ca_file.absolute()), str(kafka / CA_CERTIFICATE)))
    password = entropy(24).hex()
    write_secret(directory / AUDIT / "clickhouse", password.encode())
    users = directory / _CLICKHOUSE / "users.xml"
    users.parent.mkdir()
    # Read by the image's own user; the digest of 24 random bytes gives nothing away.
    users.write_text(_CLICKHOUSE_USERS.format(digest=hashlib.sha256(password.encode()).hexdigest()))


async def found(own: Path, now_ms: Callable[[], int]) -> list[str]:
    """Make topics and access lists, certify everybody and verify the institutions; `own`: the operator's folder. Repeated, it changes nothing.

    A sentence for each thing done. SettingsError, LogUnavailable or LogRefused as they say.
    """
    done: list[str] = []
    await bring_about(load_settings(own / TOPICS, TopicsProcess).cluster, show=lambda plan: done.extend(plan.lines()))
    settings = load_settings(own / SETTINGS, OperatorProcess)
    federation, name = settings.federation, settings.party.name
    log = KafkaLog(federation.bootstrap, client_id=name, tls=open_tls(federation.tls, Principal(name, Role.OPERATOR)))
    parties = Parties(log, federation=federation.name, ca_verify_key=bytes.fromhex(federation.ca_verify_key))
    try:
        membership = Membership(log, parties, Identity(name, parties, key_file(settings.party)))
        await parties.catch_up()
        known = parties.directory.certificates
        certified = [_certificate(path) for path in sorted((own / _CERTIFICATES).glob("*.avro"))]
        for each in certified:
            if each.party not in known:
                await membership.publish(each)
                done.append(f"{each.party} is certified")
        await parties.catch_up()
        for member in load_settings(own / TOPICS, TopicsProcess).cluster.members:
            done += [f"{member} is {standing.value}" for standing in await _verified(membership, parties, member, now_ms())]
    finally:
        await parties.close()
        await log.close()
    return done


async def _verified(membership: Membership, parties: Parties, name: str, now_ms: int) -> list[Standing]:
    entry = parties.directory.standings.get(name)
    due = [Standing.INVITED, Standing.VERIFIED] if entry is None else [Standing.VERIFIED] if entry.standing is Standing.INVITED else []
    for standing in due:
        await membership.act(name, standing, reason="founding member of a trial", now_ms=now_ms)
    return due


def _certificate(path: Path) -> PartyCertified:
    said = decode(path.read_bytes(), topology.PARTIES.carries, topology.PARTIES.bytes_max)
    if not isinstance(said, PartyCertified):
        raise FileNotFoundError(f"{path}: not a certificate")
    return said
