"""What the doctor sees of a process's Kafka clusters: certificates, brokers, topics, the right to read them, the broker's clock.

Called by `riverbank.doctor.examination`.
Never writes to a cluster: whether a process may write shows in the access lists, which `riverbank topics plan` compares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from riverbank.doctor.findings import Finding, Level
from streams.access import Principal
from streams.kafka import KafkaLog
from streams.ports import Log, LogRefused, LogUnavailable, Position, Record
from streams.settings import SettingsError, TlsSettings
from streams.tls import Tls, open_tls
from streams.topology import Cluster, Topic

RENEW_DAYS: Final = 30  # A certificate that expires sooner is a warning.
APART_MS: Final = 1_000  # Clocks further apart are a warning,
APART_MS_MAX: Final = 5_000  # and this far wrong: a round's deadlines are a few seconds away.
_ANSWER_MS: Final = 5_000
_LOOK_MS: Final = 500
_RECENT: Final = 50


@dataclass(frozen=True, slots=True)
class Connection:
    """One cluster as one process uses it; `institution` names the owner of an own cluster."""

    cluster: Cluster
    bootstrap: str
    tls: TlsSettings | None
    principal: Principal
    institution: str | None
    reads: Sequence[Topic]


async def connection(use: Connection, now_ms: int) -> AsyncIterator[Finding]:
    """Everything about one cluster; what depends on something that is wrong is not looked at."""
    subject = f"{use.cluster.value} cluster, {use.bootstrap}"
    tls: Tls | None = None
    if use.tls is None:
        repair = "set [tls] for this cluster: ca_file, cert_file, key_file"
        yield Finding("certificates", Level.WARNING, subject, "plain text, and nobody shows who they are", repair)
    else:
        try:
            tls = open_tls(use.tls, use.principal)
        except SettingsError as error:
            for problem in error.problems:
                yield Finding("certificates", Level.WRONG, subject, problem, "docs/identity.md says how to renew and replace certificates")
            return
        for expiry in expiries(use.tls, datetime.fromtimestamp(now_ms / 1000, UTC)):
            yield expiry
    log = KafkaLog(use.bootstrap, client_id=use.principal.name, tls=tls, answer_ms=_ANSWER_MS, deliver_ms=_ANSWER_MS)
    try:
        async for finding in _topics(log, use, subject, now_ms):
            yield finding
    finally:
        await log.close()


def expiries(files: TlsSettings, now: datetime) -> Iterator[Finding]:
    """How long the certificates that settings name are still good; they have been looked over before."""
    for path in (files.cert_file, files.ca_file):
        end = min(each.not_valid_after_utc for each in x509.load_pem_x509_certificates(Path(path).read_bytes()))
        left = end - now
        found = f"good until {end:%Y-%m-%d %H:%M} UTC, {left.days} days"
        if left > timedelta(days=RENEW_DAYS):
            yield Finding("certificates", Level.GOOD, str(path), found)
        else:
            yield Finding(
                "certificates",
                Level.WARNING,
                str(path),
                found,
                "renew it: docs/identity.md; running processes take the new file by themselves",
            )


async def _topics(log: Log, use: Connection, subject: str, now_ms: int) -> AsyncIterator[Finding]:
    newest: list[Record] = []
    for row in use.reads:
        name = row.full_name(use.institution)
        try:
            newest += await _newest(log, name, row.partitions)
        except LogUnavailable as error:
            yield Finding("broker", Level.WRONG, subject, str(error), "start the broker, or correct bootstrap in the settings")
            return
        except LogRefused as error:
            yield Finding(
                "topics", Level.WRONG, name, str(error), "riverbank topics plan --config CLUSTER.toml shows what is missing; apply mends it"
            )
        else:
            yield Finding("topics", Level.GOOD, name, f"{row.partitions} partitions, readable")
    yield Finding("broker", Level.GOOD, subject, "answers")
    if newest:
        yield clocks(subject, max(record.timestamp_ms for record in newest), now_ms)


async def _newest(log: Log, name: str, partitions: int) -> list[Record]:
    """The last records of each partition that come without waiting long."""
    reader = await log.reader([Position(name, partition, 0) for partition in range(partitions)])
    try:
        ends = await reader.end_offsets()
    finally:
        await reader.close()
    last = [Position(topic, partition, end - 1) for (topic, partition), end in ends.items() if end]
    if not last:
        return []
    reader = await log.reader(last)
    try:
        return list(await reader.poll(_RECENT, _LOOK_MS))
    finally:
        await reader.close()


def clocks(subject: str, newest_ms: int, now_ms: int) -> Finding:
    """The clock of this machine against the broker's, as far as records show: one that was appended later than now was not."""
    ahead = newest_ms - now_ms
    if ahead <= APART_MS:
        return Finding("clock", Level.GOOD, subject, "no record is dated later than this machine's time")
    level = Level.WRONG if ahead > APART_MS_MAX else Level.WARNING
    repair = "let a time service (chrony, systemd-timesyncd) keep both clocks: deadlines are absolute times, and a late clock misses them"
    return Finding("clock", level, subject, f"the broker is {ahead / 1000:.1f} s ahead of this machine", repair)
