"""The audit as it runs: its own process, a real Kafka, signals and kills.

Run with the embedded broker.
Never shares a topic's records with another test: positions start where this test's begin."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import pytest

from audit.ledger import segments_of
from audit.queries import ask
from audit.warehouse import WarehouseError
from riverbank.embedded.kafka import EmbeddedKafka
from streams.kafka import KafkaLog
from streams.kafka_admin import provision_topics
from streams.topology import AUDIT, MEMBERS, PARTIES
from tests.audit.town import Town, entry

pytestmark = pytest.mark.broker

_MAIN = """
import asyncio, sys
from audit.writer import run
from streams.settings import AuditProcess

settings = AuditProcess(
    federation={"name": "delta", "bootstrap": sys.argv[2], "ca_verify_key": sys.argv[3]}, audit={"dsn": sys.argv[1], "ledger_dir": sys.argv[1].removeprefix("chdb://") + "-ledger", "flush_ms": 50}
)
asyncio.run(run(settings))
"""


async def _start(dsn: str, broker: EmbeddedKafka, town: Town) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", _MAIN, dsn, broker.bootstrap, town.ca_verify_key.hex(), stderr=asyncio.subprocess.PIPE
    )


async def _entries(dsn: str) -> int:
    try:
        return int((await ask(dsn, "totals"))[0]["entries"])
    except WarehouseError:  # Not there yet, or between its lock and its desk.
        return 0


async def _until_entries(dsn: str, count: int) -> None:
    give_up = time.monotonic() + 20
    while (found := await _entries(dsn)) != count:
        assert time.monotonic() < give_up, f"{found} entries instead of {count}"
        await asyncio.sleep(0.05)


async def test_from_kafka_to_whoever_asks_through_kills_and_stops(broker: EmbeddedKafka, tmp_path: Path) -> None:
    """Entries arrive while it runs; SIGKILL loses and doubles nothing; SIGTERM ends it with 0; a second one is refused clearly."""
    town, dsn = Town(), f"chdb://{tmp_path / 'audit'}"
    await provision_topics(broker.bootstrap, [AUDIT, PARTIES, MEMBERS])
    log = KafkaLog(broker.bootstrap)
    town.log = log
    try:
        await town.certify("north")
        await town.say(*(entry(number) for number in range(20)))
        first = await _start(dsn, broker, town)
        await _until_entries(dsn, 20)

        second = await _start(dsn, broker, town)
        _, said = await second.communicate()
        assert second.returncode == 1
        assert b"is in use: one process at a time owns an embedded ClickHouse directory" in said.splitlines()[-1]

        await town.say(*(entry(number) for number in range(20, 60)))
        first.kill()
        await first.communicate()
        third = await _start(dsn, broker, town)
        await town.say(entry(60), b"junk")
        await _until_entries(dsn, 61)

        third.send_signal(signal.SIGTERM)
        started = time.monotonic()
        _, said = await third.communicate()
        assert (third.returncode, said) == (0, b"")
        assert time.monotonic() - started < 3
        totals = (await ask(dsn, "totals"))[0]
        assert totals["refused"] == 1

        config = tmp_path / "audit.toml"
        config.write_text(
            f'[federation]\nname = "delta"\nbootstrap = "127.0.0.1:1"\nca_verify_key = "{town.ca_verify_key.hex()}"\n'
            f'[audit]\ndsn = "{dsn}"\nledger_dir = "{tmp_path / "audit-ledger"}"\n'
        )
        checked = await _command("verify", config, "--json")
        assert json.loads(checked[1])["entries"] == 62
        rebuilt = await _command("rebuild", config)
        assert rebuilt == (0, f"62 entries indexed; root {json.loads(checked[1])['root']}\n")
        assert (await ask(dsn, "totals"))[0] == totals

        ((_, segment),) = segments_of(tmp_path / "audit-ledger")
        data = bytearray(segment.read_bytes())
        data[len(data) // 2] ^= 1
        segment.write_bytes(data)
        status, said_of_it = await _command("verify", config, "--json")
        assert status == 1
        assert json.loads(said_of_it)["entry"] in range(20, 45)
    finally:
        await log.close()


async def _command(name: str, config: Path, *more: str) -> tuple[int | None, str]:
    """Exit code and stdout of `riverbank audit`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "riverbank", "audit", name, "--config", str(config), *more, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_no_kafka_is_one_sentence(broker: EmbeddedKafka, tmp_path: Path) -> None:
    """A wrong address is said at once; the process ends with 1."""
    nowhere = EmbeddedKafka(tmp_path, port=1)
    process = await _start(f"chdb://{tmp_path / 'audit'}", nowhere, Town())
    _, said = await process.communicate()

    assert broker.bootstrap != nowhere.bootstrap
    assert process.returncode == 1
    assert said.splitlines()[-1] == b"streams.ports.LogUnavailable: no Kafka broker answers at 127.0.0.1:1"
