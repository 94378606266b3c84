"""What the doctor sees of Kafka: expiring certificates, brokers that are away, topics that are missing or forbidden, clocks apart."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from riverbank.doctor.connections import APART_MS_MAX, Connection, clocks, connection, expiries
from riverbank.doctor.findings import Finding, Level
from riverbank.doctor.membership import membership
from riverbank.provisioning.federations import write_settings
from streams.access import Principal, alone
from streams.cluster_plan import Wanted
from streams.kafka import KafkaLog
from streams.settings import FederationSettings, TlsSettings
from streams.topology import FEDERATION_TOPICS, OWN_TOPICS, Cluster, Role
from tests.credentials import Credentials
from tests.pki import DAY, OPERATOR, Pki
from tests.streams.secured import Secured

AUDIT = alone(Role.AUDIT)
AUDITED = tuple(row for row in FEDERATION_TOPICS if Role.AUDIT in row.read_by)


def use(bootstrap: str, tls: TlsSettings | None, principal: Principal = AUDIT) -> Connection:
    return Connection(Cluster.FEDERATION, bootstrap, tls, principal, None, AUDITED)


async def seen(connected: Connection) -> list[Finding]:
    return [finding async for finding in connection(connected, time.time_ns() // 1_000_000)]


def wrong(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.subject) for finding in findings if finding.level is Level.WRONG]


@pytest.mark.broker
async def test_missing_topics_are_found_and_once_made_all_is_well(secured: Secured):
    bank, portal = "doctors-bank", Principal("doctors-bank", Role.PORTAL)
    read = tuple(row for row in OWN_TOPICS if Role.PORTAL in row.read_by)
    own = Connection(Cluster.OWN, secured.bootstrap, secured.pki.files(portal), portal, bank, read)
    before = await seen(own)
    assert wrong(before) == [("topics", row.full_name(bank)) for row in read]
    assert all("riverbank topics" in finding.repair for finding in before if finding.level is Level.WRONG)

    await secured.apply(Wanted.own(bank))
    after = await seen(own)
    assert wrong(after) == []
    assert {finding.subject for finding in after if finding.check == "topics"} == {row.full_name(bank) for row in read}

    # The same topics, asked for by somebody whom the access lists do not let read them.
    source = Principal(bank, Role.SOURCE)
    assert wrong(await seen(replace(own, tls=secured.pki.files(source), principal=source)))


@pytest.mark.broker
async def test_a_whole_settings_file_from_the_command_line(secured: Secured, tmp_path: Path):
    await secured.apply(Wanted.federation("pki", ["ash-bank", "birch-bank", "cedar-bank"]))
    tls = secured.pki.files(AUDIT).model_dump(mode="json", exclude_none=True)
    federation = {"name": "pki", "bootstrap": secured.bootstrap, "ca_verify_key": "a1" * 32, "tls": tls}
    own = {"dsn": f"chdb://{tmp_path / 'index'}", "ledger_dir": str(tmp_path / "ledger")}
    config = write_settings(tmp_path / "audit.toml", {"federation": federation, "audit": own})

    def doctor() -> tuple[int, list[dict[str, str]]]:
        command = [sys.executable, "-m", "riverbank", "doctor", "--config", str(config), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout)

    status, found = doctor()
    assert status == 0, found
    assert {finding["check"] for finding in found} == {"packages", "permissions", "disk", "clock", "certificates", "topics", "broker"}

    Path(tls["key_file"]).chmod(0o644)  # noqa: ASYNC240 A local file in a test.
    status, found = doctor()
    Path(tls["key_file"]).chmod(0o600)  # noqa: ASYNC240 As above.
    assert status == 1
    assert any(finding["repair"] == f"chmod 600 {tls['key_file']}" for finding in found)


@pytest.mark.broker
async def test_a_partys_standing_is_read_from_the_federations_topics(secured: Secured):
    """Before its certificate is published a worker is told that it has none; afterwards that it takes part."""
    await secured.apply(Wanted.federation("pki", ["ash-bank", "birch-bank", "cedar-bank"]))
    credentials, worker = Credentials("pki", ["ash-bank"]), Principal("ash-bank", Role.INSTITUTION)
    tls = secured.pki.files(worker)
    federation = FederationSettings(name="pki", bootstrap=secured.bootstrap, ca_verify_key=credentials.ca_verify_key.hex(), tls=tls)

    async def found() -> list[tuple[Level, str]]:
        return [(each.level, each.found.partition(";")[0]) async for each in membership(federation, worker, 2)]

    assert await found() == [(Level.WRONG, "is not certified by the federation")]
    log = KafkaLog(secured.bootstrap, tls=secured.pki.tls(OPERATOR))
    await credentials.publish(log)
    await log.close()
    assert await found() == [(Level.GOOD, "takes part")]


async def test_a_broker_that_is_away_is_said_once(tmp_path: Path):
    found = await seen(use("127.0.0.1:9", Pki(tmp_path / "pki").files(AUDIT)))
    assert wrong(found) == [("broker", "federation cluster, 127.0.0.1:9")]


async def test_plain_text_is_a_warning():
    found = await seen(use("127.0.0.1:9", None))
    assert found[0].check == "certificates"
    assert found[0].level is Level.WARNING


async def test_somebody_elses_certificate_ends_the_look_at_the_cluster(tmp_path: Path):
    pki = Pki(tmp_path / "pki")
    files = pki.files(Principal("ash-bank", Role.PORTAL))
    found = await seen(use("127.0.0.1:9", files))
    assert [(finding.check, finding.level) for finding in found] == [("certificates", Level.WRONG)]
    assert str(files.cert_file) in found[0].found


@pytest.mark.parametrize(("days", "level"), [(31, Level.GOOD), (29, Level.WARNING)])
def test_a_certificate_that_expires_soon_is_a_warning(tmp_path: Path, days: int, level: Level):
    files = Pki(tmp_path / "pki").files(AUDIT, life=(0, days + 0.1))
    (own, authority) = expiries(files, datetime.now(UTC))
    assert (own.subject, own.level) == (str(files.cert_file), level)
    assert authority.level is Level.GOOD
    assert [each.level for each in expiries(files, datetime.now(UTC) + 80 * DAY)] == [Level.WARNING] * 2


@pytest.mark.parametrize(
    ("ahead", "level"), [(-60_000, Level.GOOD), (900, Level.GOOD), (1_500, Level.WARNING), (APART_MS_MAX + 1, Level.WRONG)]
)
def test_a_record_from_the_future_shows_clocks_apart(ahead: int, level: Level):
    assert clocks("x", 1_000_000 + ahead, 1_000_000).level is level


def test_a_file_for_no_process_is_refused_with_what_would_make_it_one(tmp_path: Path):
    config = tmp_path / "some.toml"
    config.write_text("[federation]\nname = 'x'\n")
    done = subprocess.run(
        [sys.executable, "-m", "riverbank", "doctor", "--config", str(config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "institution, aggregator, audit, web" in done.stderr
