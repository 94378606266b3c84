"""The log on Kafka keeps the contract, survives its broker's death, and creates its topics as their rows say."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from riverbank.embedded.kafka import EmbeddedKafka, free_port
from streams.kafka import KafkaLog
from streams.kafka_admin import provision_topics
from streams.ports import LogRefused, LogUnavailable, Outgoing, Position
from streams.topology import OWN_TOPICS, PARTIES, ROUNDS, TRANSACTIONS
from tests.streams.log_contract import LogContract, World, read, values

pytestmark = pytest.mark.broker
_numbers = itertools.count()


@pytest_asyncio.fixture
async def world(broker: EmbeddedKafka) -> AsyncIterator[World]:
    name = f"contract{next(_numbers)}"
    await provision_topics(broker.bootstrap, [replace(ROUNDS, name=name, partitions=2)])
    log = KafkaLog(broker.bootstrap, answer_ms=2_000)

    async def truncate(topic: str, partition: int, before_offset: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before_offset)})
        await admin.close()

    yield World(log, name, truncate)
    await log.close()


class TestKafkaLog(LogContract):
    async def test_a_running_reader_skips_what_retention_took(self, world: World):
        """It is told its offset is out of range, and goes on at the start of what is left."""
        big = [bytes([number]) * 900_000 for number in range(4)]
        for value in big:
            await world.log.append(world.outgoing(value))
        reader = await world.reader(0)
        first = await read(reader, 1)  # One fetch holds one such record, so the rest is still at the broker.
        await asyncio.sleep(0.3)  # The second may have been fetched ahead.
        await world.truncate(world.topic, 0, 3)

        rest = await read(reader, 4 - 1 - 1)

        assert values(first) == big[:1]
        assert [record.offset for record in rest] == [1, 3]
        await reader.close()


@pytest_asyncio.fixture
async def mortal(tmp_path: Path) -> AsyncIterator[EmbeddedKafka]:
    """A broker of one's own, to kill."""
    async with EmbeddedKafka(tmp_path / "kafka") as kafka:
        await provision_topics(kafka.bootstrap, [ROUNDS])
        yield kafka


async def test_nothing_acknowledged_is_lost_when_the_broker_is_killed(mortal: EmbeddedKafka):
    """SIGKILL in the middle of appends: every record is there, repeated ones apart in the order of their appends."""
    log = KafkaLog(mortal.bootstrap, answer_ms=2_000)
    sent = [number.to_bytes(2, "big") for number in range(4000)]
    under_way = asyncio.Event()

    async def append_all() -> None:
        for start in range(0, len(sent), 10):
            await log.append([Outgoing(ROUNDS.name, 0, b"k", value) for value in sent[start : start + 10]])
            under_way.set()

    appending = asyncio.create_task(append_all())
    await under_way.wait()
    await mortal.kill()
    assert not appending.done()
    await mortal.start()
    await appending
    reader = await log.reader([Position(ROUNDS.name, 0, 0)])
    found = []
    while batch := await reader.poll(1000, 2_000):
        found += values(batch)

    assert list(dict.fromkeys(found)) == sent
    await reader.close()
    await log.close()


async def test_a_broker_that_stays_away_is_reported_and_may_come_back(mortal: EmbeddedKafka):
    """One sentence with the address; afterwards the same log and the same reader go on."""
    log = KafkaLog(mortal.bootstrap, answer_ms=1_000, deliver_ms=1_500)
    await log.append([Outgoing(ROUNDS.name, 0, b"k", b"before")])
    reader = await log.reader([Position(ROUNDS.name, 0, 0)])
    await read(reader, 1)
    await mortal.kill()

    with pytest.raises(LogUnavailable, match=f"{mortal.bootstrap} has not taken 1 records within 1.5 s"):
        await log.append([Outgoing(ROUNDS.name, 0, b"k", b"away")])
    with pytest.raises(LogUnavailable, match=mortal.bootstrap):
        await reader.end_offsets()
    assert list(await reader.poll(10, 100)) == []
    await mortal.start()
    await log.append([Outgoing(ROUNDS.name, 0, b"k", b"after")])

    assert values(await read(reader, 1)) == [b"after"]
    await reader.close()
    await log.close()


async def test_who_runs_out_of_time_waiting_leaves_the_producer_to_others(broker: EmbeddedKafka):
    """Its own records were never sent; whoever's turn it is has records on their way."""
    await provision_topics(broker.bootstrap, [replace(ROUNDS, name="turns.v1")])
    log = KafkaLog(broker.bootstrap, deliver_ms=1_000)
    record = Outgoing("turns.v1", 0, b"k", b"v")
    await log.append([record])
    producer = log._producer
    async with log._turn:
        with pytest.raises(LogUnavailable, match="has not taken 1 records within 1 s"):
            await log.append([record])

    assert log._producer is producer
    assert list(await log.append([record])) == [1]
    await log.close()


async def test_a_wrong_address_is_said_at_once():
    """No waiting for deliver_ms when there never was a broker."""
    bootstrap = f"127.0.0.1:{free_port()}"
    log = KafkaLog(bootstrap)

    async with asyncio.timeout(5):
        for attempt in (
            log.append([Outgoing("t", 0, None, b"v")]),
            log.reader([Position("t", 0, 0)]),
            provision_topics(bootstrap, [ROUNDS]),
        ):
            with pytest.raises(LogUnavailable, match=f"^no Kafka broker answers at {bootstrap}$"):
                await attempt
    await log.close()


async def test_topics_are_created_once_and_compared_ever_after(broker: EmbeddedKafka):
    """Provisioning twice changes nothing; a topic that differs is named with every difference."""
    created = await provision_topics(broker.bootstrap, OWN_TOPICS, "provisioned")

    assert sorted(created) == sorted(topic.full_name("provisioned") for topic in OWN_TOPICS)
    assert list(await provision_topics(broker.bootstrap, OWN_TOPICS, "provisioned")) == []
    with pytest.raises(LogRefused) as refused:
        await provision_topics(broker.bootstrap, [replace(TRANSACTIONS, partitions=2, keep_hours=1)], "provisioned")
    assert "provisioned.events.transactions.v1 has 1 partitions instead of 2" in str(refused.value)
    assert "retention.ms=604800000 instead of 3600000" in str(refused.value)


async def test_two_may_provision_at_once(broker: EmbeddedKafka):
    """Between them they create each topic once, and both find it as it should be."""
    both = await asyncio.gather(*(provision_topics(broker.bootstrap, OWN_TOPICS, "twice") for _ in range(2)))

    assert sorted(itertools.chain(*both)) == sorted(topic.full_name("twice") for topic in OWN_TOPICS)


async def test_compacted_topics_keep_the_newest_of_each_key_only(broker: EmbeddedKafka):
    """Their clean-up is the one the row says."""
    row = replace(PARTIES, name="compacted.v1")
    await provision_topics(broker.bootstrap, [row])

    with pytest.raises(LogRefused, match=r"cleanup\.policy=compact instead of delete"):
        await provision_topics(broker.bootstrap, [replace(row, keep_hours=1)])


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
async def test_records_that_a_source_has_compressed_are_read(broker: EmbeddedKafka, codec: str):
    """An institution's own systems choose how they compress."""
    topic = TRANSACTIONS.full_name(f"compressed-{codec}")
    await provision_topics(broker.bootstrap, [TRANSACTIONS], f"compressed-{codec}")
    source = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, compression_type=codec)
    await source.start()
    await source.send_and_wait(topic, b"river" * 100)
    await source.stop()
    log = KafkaLog(broker.bootstrap)
    reader = await log.reader([Position(topic, 0, 0)])

    assert values(await read(reader, 1)) == [b"river" * 100]
    await reader.close()
    await log.close()
