"""A real broker starts in seconds, keeps what it was told, and dies with its parent.

Run with the JVM and the jars.
Never leaves a broker running."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from riverbank.embedded.kafka import EmbeddedKafka, EmbeddedKafkaError, answers_metadata, free_port
from riverbank.processes import Supervisor

pytestmark = pytest.mark.broker


async def _create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def _say(bootstrap: str, topic: str, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


async def _hear(bootstrap: str, topic: str, count: int) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(count)]


async def test_the_session_broker_answers(broker: EmbeddedKafka) -> None:
    """What is said is heard, through a client that knows nothing of this process."""
    await _create(broker.bootstrap, "embedded-kafka-test")
    await _say(broker.bootstrap, "embedded-kafka-test", [b"a", b"b"])

    assert await _hear(broker.bootstrap, "embedded-kafka-test", 2) == [b"a", b"b"]


async def test_topics_are_never_made_by_accident(broker: EmbeddedKafka) -> None:
    """A misspelt topic is an error, not a new topic."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, request_timeout_ms=1000, metadata_max_age_ms=200) as producer:
        with pytest.raises(Exception, match=r"misspelt|[Tt]imeout|Unknown"):
            await asyncio.wait_for(producer.send_and_wait("misspelt", b"x", partition=0), 3)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        assert "misspelt" not in await admin.list_topics()
    finally:
        await admin.close()


@pytest.mark.usefixtures("broker")
async def test_a_killed_broker_comes_back_with_its_records_on_its_port(tmp_path: Path) -> None:
    """SIGKILL, start on the same directory: same address, same records, within seconds; then the same after a clean stop."""
    kafka = EmbeddedKafka(tmp_path / "kafka")
    await kafka.start()
    address = kafka.bootstrap
    try:
        await _create(address, "kept")
        await _say(address, "kept", [b"before"])

        await kafka.kill()
        started = time.monotonic()
        await kafka.start()
        assert time.monotonic() - started < 15, "a former self's session must not hold up the next"
        await _say(address, "kept", [b"after"])
        await kafka.stop()

        kafka = EmbeddedKafka(tmp_path / "kafka", port=kafka.port)
        await kafka.start()
        assert kafka.bootstrap == address
        assert await _hear(address, "kept", 2) == [b"before", b"after"]
    finally:
        await kafka.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
@pytest.mark.usefixtures("broker")
async def test_the_jvm_dies_with_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL to the process that started it: within seconds there is no JVM and nobody listens."""
    port = free_port()
    script = (
        "import asyncio, sys; from pathlib import Path; from riverbank.embedded.kafka import EmbeddedKafka\n"
        "async def main():\n"
        " kafka = EmbeddedKafka(Path(sys.argv[1]), port=int(sys.argv[2])); await kafka.start(); print(kafka.pid, flush=True)\n"
        " await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path), str(port), stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    jvm = psutil.Process(int(await asyncio.wait_for(parent.stdout.readline(), 60)))
    assert "kafka.Kafka" in jvm.cmdline()
    assert await answers_metadata(port)

    parent.kill()
    await parent.wait()
    give_up = time.monotonic() + 5
    while jvm.is_running() and jvm.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < give_up, "the JVM outlived its parent"
        await asyncio.sleep(0.05)

    assert not await answers_metadata(port)


@pytest.mark.usefixtures("broker")
async def test_a_supervisor_may_keep_it_alive(tmp_path: Path) -> None:
    """prepare() and argv() are all another supervisor needs."""
    kafka = EmbeddedKafka(tmp_path / "kafka")
    await kafka.prepare()
    supervisor = Supervisor()
    supervisor.start("broker", kafka.argv(), log=tmp_path / "jvm.log")
    try:
        await kafka.until_healthy()
        psutil.Process(supervisor.pids()["broker"]).kill()
        await asyncio.sleep(0.5)  # Its death is noticed within a few hundredths of a second.
        await kafka.until_healthy()
        assert supervisor.restarts() == {"broker": 1}
    finally:
        await supervisor.stop()


@pytest.mark.usefixtures("broker")
async def test_a_taken_port_is_one_clear_error_with_the_last_lines(tmp_path: Path) -> None:
    """A port asked for and taken: the error quotes Kafka and names the log, and nothing is left running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        kafka = EmbeddedKafka(tmp_path, port=taken.getsockname()[1], healthy_within_s=20)

        with pytest.raises(EmbeddedKafkaError, match="Kafka did not start") as error:
            await kafka.start()

    assert str(kafka.log) in str(error.value)
    assert "Address already in use" in str(error.value)
    assert kafka.pid is None


async def test_a_directory_that_cannot_be_written_is_one_sentence(broker: EmbeddedKafka, tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "file").write_text("")

    with pytest.raises(EmbeddedKafkaError, match="Kafka cannot write to"):
        await EmbeddedKafka(tmp_path / "file", cache=broker.cache).start()


async def test_a_damaged_directory_is_one_clear_error(broker: EmbeddedKafka, tmp_path: Path) -> None:
    """Kafka refuses to run on a directory whose identity is broken; its reason is in the error."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "meta.properties").write_text("version=1\n")

    with pytest.raises(EmbeddedKafkaError, match="Kafka did not start"):
        await EmbeddedKafka(tmp_path, cache=broker.cache).start()


async def test_without_jars_it_says_so(tmp_path: Path) -> None:
    """No cache and no place to make one."""
    (tmp_path / "cache").write_text("")

    with pytest.raises(EmbeddedKafkaError, match="Kafka's jars are not in"):
        await EmbeddedKafka(tmp_path / "kafka", cache=tmp_path / "cache").start()


async def test_nobody_and_a_stranger_are_not_a_broker() -> None:
    """A closed port, a silent listener and one that hangs up all count as not answering."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    assert not await answers_metadata(free_port())
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert not await answers_metadata(silent.getsockname()[1], within_s=0.1)
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as rude:
        assert not await answers_metadata(rude.sockets[0].getsockname()[1])
