"""The log on Apache Kafka: with `streams.kafka_admin` the only module that touches aiokafka.

Called by the workers' wiring, the portal and the demo, through the port in `streams.ports`.
Never rests on Kafka's transactions or consumer groups: offsets are the caller's, records carry their own identity."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    CorruptRecordException,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedCodecError,
)

from streams.ports import Log, LogReader, LogRefused, LogUnavailable, Outgoing, Position, Record
from streams.tls import Tls, refusal
from streams.topology import BATCH_BYTES_MAX

Partition = tuple[str, int]

ANSWER_MS: Final = 10_000  # One request; a broker that is up answers in milliseconds.
DELIVER_MS: Final = 30_000  # A whole append, broker restarts included.
# A fetch that waits for idle partitions holds up those that have just been read, so it may not wait long; of one alone it may.
_FETCH_WAIT_MS: Final = 100
_FETCH_ONE_WAIT_MS: Final = 500
_BATCH_BYTES: Final = 256 * 1024
_PAIR_BYTES_MAX: Final = BATCH_BYTES_MAX - 4096  # Key and value; the rest is for the batch's own fields.
_GLANCE_S: Final = 0.01
_PAUSE_S: Final = 0.25  # Between attempts, while a broker is away.
# Asking again does not help.
_REFUSALS: Final = (
    ClusterAuthorizationFailedError,  # What a producer hears that may write no topic at all.
    CorruptRecordException,
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)


class KafkaLog(Log):
    """The records of one cluster. `bootstrap`: host:port, comma-separated; `tls` None: plain text."""

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str = "riverbank",
        tls: Tls | None = None,
        answer_ms: int = ANSWER_MS,
        deliver_ms: int = DELIVER_MS,
    ) -> None:
        self._bootstrap = bootstrap
        self._tls = tls
        self._connection = connection(bootstrap, client_id, tls, answer_ms)
        self._deliver_s = deliver_ms / 1000
        self._producer: AIOKafkaProducer | None = None
        self._connected_once = False
        self._turn = asyncio.Lock()  # One append after the other: a failed one replaces the producer under everybody.
        self._retiring: set[asyncio.Task[None]] = set()

    async def append(self, records: Sequence[Outgoing]) -> Sequence[int]:
        """As the port. After a failure, what was not acknowledged is sent again by a new producer: records may lie there twice."""
        offsets: dict[int, int] = {}
        try:
            async with asyncio.timeout(self._deliver_s), self._turn:
                await self._append(records, offsets)
        except TimeoutError as error:
            missing = len(records) - len(offsets)
            why = "" if self._tls is None else await refusal(self._bootstrap, self._tls)
            raise LogUnavailable(
                f"Kafka at {self._bootstrap} has not taken {missing} records within {self._deliver_s:g} s{why and f': {why}'}"
            ) from error
        return [offsets[index] for index in range(len(records))]

    async def _append(self, records: Sequence[Outgoing], offsets: dict[int, int]) -> None:
        try:
            while len(offsets) < len(records):
                producer = await self._started()
                async with explained(self._bootstrap, self._tls):
                    await _refuse_impossible(producer, records)
                error = await _deliver(producer, records, offsets)
                if isinstance(error, _REFUSALS):
                    raise LogRefused(f"Kafka at {self._bootstrap} refuses{_asker(self._tls)} a record: {_sentence(error)}") from error
                if error is not None:
                    self._retire()
                    await asyncio.sleep(_PAUSE_S)
        except asyncio.CancelledError:  # Out of time, or given up; whoever only waits for a turn leaves the producer to who has it.
            self._retire()
            raise

    async def reader(self, start: Sequence[Position]) -> LogReader:
        """As the port."""
        wait_ms = _FETCH_WAIT_MS if len(start) > 1 else _FETCH_ONE_WAIT_MS
        consumer = AIOKafkaConsumer(
            **self._connection, group_id=None, enable_auto_commit=False, auto_offset_reset="none", fetch_max_wait_ms=wait_ms
        )
        reader = _KafkaReader(consumer, self._bootstrap, self._tls)
        try:
            async with explained(self._bootstrap, self._tls), asyncio.timeout(self._deliver_s):
                await consumer.start()
                await reader.seek({TopicPartition(p.topic, p.partition): p.offset for p in start})
        except BaseException:
            await consumer.stop()
            raise
        return reader

    async def close(self) -> None:
        """As the port."""
        async with self._turn:
            producer, self._producer = self._producer, None
            if producer is not None:
                await producer.stop()
        await asyncio.gather(*self._retiring)

    async def _started(self) -> AIOKafkaProducer:
        while self._producer is None:
            producer = AIOKafkaProducer(
                **self._connection, acks="all", enable_idempotence=True, max_request_size=BATCH_BYTES_MAX, max_batch_size=_BATCH_BYTES
            )
            try:
                async with explained(self._bootstrap, self._tls):
                    await producer.start()
                self._producer = producer
                self._connected_once = True
            except LogUnavailable:
                await producer.stop()
                if not self._connected_once:
                    raise  # A wrong address, most likely: say so at once.
                await asyncio.sleep(_PAUSE_S)
            except BaseException:
                await producer.stop()
                raise
        return self._producer

    def _retire(self) -> None:
        """Drop a producer whose records have an unknown fate."""
        producer, self._producer = self._producer, None
        if producer is not None:
            task = asyncio.create_task(_abort(producer), name="retire a Kafka producer")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)


async def _abort(producer: AIOKafkaProducer) -> None:
    """Stop without flushing. An idempotent producer never gives a record up, so its own stop() waits for a dead broker for ever."""
    sender_task = producer._sender.sender_task  # noqa: SLF001 There is no public way.
    sender_task.cancel()
    await asyncio.wait([sender_task])
    producer._closed = True  # noqa: SLF001 Else it complains when it is collected.
    await producer.client.close()


async def _refuse_impossible(producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> None:
    """LogRefused before anything is sent, if a record is too large or goes where there is no partition."""
    for record in records:
        size = len(record.key or b"") + len(record.value or b"")
        if size > _PAIR_BYTES_MAX:
            raise LogRefused(f"a record of {size} bytes for {record.topic}; {_PAIR_BYTES_MAX} are allowed")
        try:
            known = await producer.partitions_for(record.topic)
        except UnknownTopicOrPartitionError:
            known = frozenset()
        if record.partition not in known:
            raise LogRefused(f"there is no partition {record.topic}/{record.partition}")


async def _deliver(producer: AIOKafkaProducer, records: Sequence[Outgoing], offsets: dict[int, int]) -> Exception | None:
    """Send every record that has no offset yet and note the offsets of those acknowledged; the first error, if any.

    Of each partition only what came before its first failure counts as acknowledged: the rest is to be sent again, in order.
    """
    waiting: list[tuple[int, asyncio.Future[Any]]] = []
    failed: dict[Partition, Exception] = {}
    for index, record in enumerate(records):
        if index in offsets:
            continue
        try:
            sent = await producer.send(record.topic, record.value, record.key, record.partition)
        except KafkaError as error:
            failed[record.topic, record.partition] = error
            break
        waiting.append((index, sent))
    results = await asyncio.gather(*(future for _, future in waiting), return_exceptions=True)
    for (index, _), result in zip(waiting, results, strict=True):
        partition = records[index].topic, records[index].partition
        if isinstance(result, Exception):
            failed.setdefault(partition, result)
        elif not isinstance(result, BaseException) and partition not in failed:
            offsets[index] = result.offset
    return next(iter(failed.values()), None)


class _KafkaReader(LogReader):
    """One consumer with manual assignment."""

    def __init__(self, consumer: AIOKafkaConsumer, bootstrap: str, tls: Tls | None) -> None:
        self._consumer = consumer
        self._bootstrap = bootstrap
        self._tls = tls

    async def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Assign these partitions and go to these offsets, or to the start of what is left of a partition."""
        existing = await self._consumer.topics()
        self._consumer.assign([partition for partition in offsets if partition.topic in existing])
        for partition in offsets:
            known: set[int] | None = None if partition.topic in existing else set()
            while known is None:  # Assigning asked for the topic's partitions; the answer is on its way.
                known = self._consumer.partitions_for_topic(partition.topic)
                await asyncio.sleep(0 if known else _GLANCE_S)
            if partition.partition not in known:
                visible = "" if self._tls is None else f" that {self._tls.principal.name} may see"
                raise LogRefused(f"there is no partition {partition.topic}/{partition.partition}{visible}")
        starts = await self._consumer.beginning_offsets(list(offsets))
        ends = await self._consumer.end_offsets(list(offsets))
        for partition, offset in offsets.items():
            if offset > ends[partition]:
                raise LogRefused(_lost(partition, ends[partition], offset))
            self._consumer.seek(partition, max(offset, starts[partition]))

    async def poll(self, records_max: int, wait_ms: int) -> Sequence[Record]:
        """As the port. A broker that is away reads as silence: watch end_offsets(), which says so."""
        async with explained(self._bootstrap, self._tls):
            try:
                batches = await self._consumer.getmany(timeout_ms=wait_ms, max_records=records_max)
            except OffsetOutOfRangeError as error:
                await self._after_truncation(error.args[0])
                return ()
        return [
            Record(partition.topic, partition.partition, found.offset, found.key, found.value, found.timestamp)
            for partition, batch in batches.items()
            for found in batch
        ]

    async def end_offsets(self) -> Mapping[Partition, int]:
        """As the port; LogUnavailable when the broker does not answer."""
        async with explained(self._bootstrap, self._tls):
            ends = await self._consumer.end_offsets(list(self._consumer.assignment()))
        return {(partition.topic, partition.partition): offset for partition, offset in ends.items()}

    async def close(self) -> None:
        """As the port."""
        await self._consumer.stop()

    async def _after_truncation(self, asked: Mapping[TopicPartition, int]) -> None:
        starts = await self._consumer.beginning_offsets(list(asked))
        for partition, offset in asked.items():
            if offset > starts[partition]:
                raise LogRefused(_lost(partition, starts[partition], offset))
            self._consumer.seek(partition, starts[partition])


def connection(bootstrap: str, client_id: str, tls: Tls | None, answer_ms: int) -> dict[str, Any]:
    """How aiokafka's clients are told where to connect and as whom."""
    return {
        "bootstrap_servers": bootstrap,
        "client_id": client_id,
        "request_timeout_ms": answer_ms,
        "security_protocol": "PLAINTEXT" if tls is None else "SSL",
        "ssl_context": None if tls is None else tls.context,
    }


@asynccontextmanager
async def explained(bootstrap: str, tls: Tls | None) -> AsyncIterator[None]:
    """Turn aiokafka's failures into the port's, each with the address and, where TLS is why, its reason."""
    try:
        yield
    except _REFUSALS as error:
        raise LogRefused(f"Kafka at {bootstrap} refuses{_asker(tls)}: {_sentence(error)}") from error
    except (KafkaError, TimeoutError, OSError) as error:
        if tls is not None and (why := await refusal(bootstrap, tls)) is not None:
            raise LogUnavailable(f"no Kafka broker that can be trusted answers at {bootstrap}: {why}") from error
        if isinstance(error, KafkaConnectionError):
            raise LogUnavailable(f"no Kafka broker answers at {bootstrap}") from error
        raise LogUnavailable(f"Kafka at {bootstrap} does not answer as it should: {_sentence(error)}") from error


def _asker(tls: Tls | None) -> str:
    return "" if tls is None else f" {tls.principal.name}"


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _lost(partition: TopicPartition, end: int, offset: int) -> str:
    return f"{partition.topic}/{partition.partition} ends at {end}, before offset {offset}: it lost records, or is another log"
