"""What a worker needs of the outside, as Protocols: a log, a clock, entropy.

Implemented by `streams.memory` (tests, simulation) and `streams.kafka` (production).
Never imports an implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class LogUnavailable(Exception):
    """The log cannot be reached now, or did not answer in time; the sentence names its address. Trying again may help."""


class LogRefused(Exception):
    """The log will not do this however often it is asked: no such topic, no right to it, too large, records lost."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a log: topic (full name), partition, offset of the next record to read."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in the log. `value` None is a tombstone; `timestamp_ms` is the broker's."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to append; the partition is always explicit."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


class LogReader(Protocol):
    """Reads assigned partitions from given positions; nobody else moves its offsets."""

    async def poll(self, records_max: int, wait_ms: int) -> Sequence[Record]:
        """Up to `records_max` records, in offset order per partition, as soon as there is one; empty after `wait_ms`."""
        ...

    async def end_offsets(self) -> Mapping[tuple[str, int], int]:
        """(topic, partition) -> offset after the last record, of every assigned partition."""
        ...

    async def close(self) -> None:
        """Stop reading and free the connection."""
        ...


class Log(Protocol):
    """An ordered, partitioned, durable log."""

    async def append(self, records: Sequence[Outgoing]) -> Sequence[int]:
        """Append all, in order per partition; offsets, once every record is acknowledged durable (acks=all).

        LogRefused: none was appended. LogUnavailable: some may have been; sending all of them again is the way on.
        """
        ...

    async def reader(self, start: Sequence[Position]) -> LogReader:
        """A reader of exactly these partitions from these offsets; an offset before the log's start begins at its start.

        LogRefused: a topic or partition that does not exist, or an offset beyond its end (the log lost records).
        """
        ...

    async def close(self) -> None:
        """Flush and free the connection."""
        ...


class Clock(Protocol):
    """Wall time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        ...


class Entropy(Protocol):
    """A source of uniform bytes: os.urandom, or a recorded seed's stream in tests."""

    def __call__(self, count: int, /) -> bytes:
        """`count` uniform bytes, never given before."""
        ...
