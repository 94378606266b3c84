"""Every key changes while events play and rounds run: an institution's, its TLS certificate, the aggregator's, the CA's, the operator's; nothing is lost.

Three institutions' workers, the aggregator and a feed, each a process that runs from its party's folder.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from federation import messages as m
from riverbank.generator.world import World
from riverbank.provisioning.federations import AGGREGATOR, OPERATOR
from streams import topology
from streams.codec import decode
from streams.kafka import KafkaLog
from streams.parties import Parties
from streams.ports import LogReader
from streams.signed import Opened
from tests.stack.provisioned import FEDERATION, Provisioned, now_ms
from web.feed import positions_of

pytestmark = [pytest.mark.broker, pytest.mark.stack]
SEED = 3
BANKS = World(seed=SEED).names[:3]
PACES = ("credit=50/s", "fraud=300/s", "products=50/s")
WITHIN_S = 120


class Watcher:
    """The rounds as they are said, each record with the certificate it was signed under."""

    def __init__(self, log: KafkaLog, ca_verify_key: bytes) -> None:
        self.parties = Parties(log, federation=FEDERATION, ca_verify_key=ca_verify_key)
        self.said: list[Opened] = []
        self._log = log
        self._reader: LogReader | None = None

    async def until(self, enough: Callable[[], bool]) -> None:
        give_up = time.monotonic() + WITHIN_S
        if self._reader is None:
            self._reader = await self._log.reader(positions_of([topology.ROUNDS]))
        while not enough():
            assert time.monotonic() < give_up, [type(each.message).__name__ for each in self.said[-20:]]
            for record in await self._reader.poll(500, 300):
                self.said.append(await self.parties.open(record, topology.ROUNDS, in_lane=True))

    async def models(self, more: int) -> None:
        """So many more models of all three institutions."""
        wanted = self._models() + more
        await self.until(lambda: self._models() >= wanted)

    def _models(self) -> int:
        found = (each.message for each in self.said)
        return sum(isinstance(message, m.ModelPublished) and len(message.contributors) == len(BANKS) for message in found)

    async def speaks_under(self, sender: str, serial: int) -> None:
        start = len(self.said)
        await self.until(lambda: any((each.sender, each.serial) == (sender, serial) for each in self.said[start:]))

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()
        await self.parties.close()


async def renewed(town: Provisioned, name: str) -> None:
    """Newer keys of a party, certified by the CA as it is now, and published."""
    town.renew(name)
    certified = town.parties[name].certified()
    assert certified is not None
    async with town.membership() as membership:
        await membership.publish(certified)


def serial_on_disk(town: Provisioned, name: str, process: str) -> int:
    return x509.load_pem_x509_certificate(town.tls(name, process).cert_file.read_bytes()).serial_number


async def read_and_written(log: KafkaLog, bank: str) -> tuple[int, int]:
    """What a bank's worker says that it has read, all heads together, and what lies in its topics of events."""
    reader = await log.reader(positions_of(topology.EVENT_TOPICS, bank))
    written = sum((await reader.end_offsets()).values())
    await reader.close()
    progress = topology.PROGRESS
    reader = await log.reader(positions_of([progress], bank))
    newest: dict[m.HeadName, int] = {}
    left = sum((await reader.end_offsets()).values())
    while left > 0:
        for record in await reader.poll(500, 500):
            message = decode(record.value or b"", progress.carries, progress.bytes_max)
            assert isinstance(message, m.LearningProgress)
            assert message.status.dead_letters == 0
            newest[message.head], left = message.status.events_read, left - 1
    await reader.close()
    return sum(newest.values()), written


async def test_every_key_changes_and_nothing_is_lost(tmp_path: Path):
    """Rounds go on under each new certificate; none is abandoned for it, no process starts anew, every event is read once."""
    town = Provisioned(tmp_path, BANKS)
    log = watcher = None
    try:
        await town.open()
        town.start(seed=SEED, paces=PACES, round_ms=1500)
        log = town.log(OPERATOR, OPERATOR)
        watcher = Watcher(log, town.office.verify_key)
        await watcher.models(2)

        for name, process in ((BANKS[0], "institution"), (AGGREGATOR, AGGREGATOR)):
            before = serial_on_disk(town, name, process)
            await renewed(town, name)
            await watcher.speaks_under(name, 2)
            await watcher.models(2)
            assert serial_on_disk(town, name, process) > before
            again = town.log(name, process)  # The broker takes the new TLS certificate.
            await (await again.reader(positions_of([topology.ROUNDS]))).close()
            await again.close()

        async with town.membership() as membership:  # It has the key before pinned, as every running process has.
            await membership.publish(town.renew_authority())
        await renewed(town, BANKS[1])
        await watcher.speaks_under(BANKS[1], 2)  # By the CA's new key alone.
        await watcher.models(2)

        await renewed(town, OPERATOR)
        async with town.membership() as membership:
            await membership.act("newcomer", m.Standing.INVITED, reason="said with the newer key", now_ms=now_ms())
        await watcher.parties.catch_up()
        assert watcher.parties.directory.standings["newcomer"].standing is m.Standing.INVITED
        assert watcher.parties.directory.newest(OPERATOR).serial == 2
        await watcher.models(2)

        os.kill(town.supervisor.pids()["feed"], signal.SIGTERM)
        deadline, counts = time.monotonic() + WITHIN_S, {}
        while time.monotonic() < deadline and (not counts or any(read != written for read, written in counts.values())):
            await asyncio.sleep(1)
            counts = {bank: await read_and_written(log, bank) for bank in BANKS}

        assert all(read == written > 100 for read, written in counts.values()), counts
        lost = [each.message for each in watcher.said if isinstance(each.message, m.RoundAbandoned)]
        assert [each for each in lost if each.reason is not m.AbandonReason.TOO_FEW_CUSTOMERS] == []
        assert not any(town.supervisor.restarts().values()), town.supervisor.restarts()
    finally:
        if watcher is not None:
            await watcher.close()
        if log is not None:
            await log.close()
        await town.close()
