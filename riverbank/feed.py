"""Plays streams of arrivals into the institutions' topics, each head at a pace of its own, and says how far it is.

Run by `riverbank feed`, which the demo starts; the demo reads the progress file.
Never lets more than one batch per head be unacknowledged, and never leaves an arrival out: killed and started again it goes
on after the last batch it noted. A batch sent but not noted is sent twice; the institutions refuse duplicates by event id."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final

import structlog

from federation.errors import OwnFault
from federation.messages import HeadName
from riverbank.arrivals import Arrival, Source
from riverbank.datasets.selection import Selection
from riverbank.generator.sources import sources
from riverbank.generator.world import World
from streams.access import Principal
from streams.codec import encode
from streams.kafka import KafkaLog
from streams.ports import Log, LogUnavailable, Outgoing
from streams.settings import SourceSettings
from streams.tls import open_tls
from streams.topology import Role

BATCH_MAX: Final = 1000  # Per head: encoding so many keeps the loop busy for some ten milliseconds.
_TICK_S: Final = 0.2  # A batch each. Requests cost more than records: at 0.05 s feeding takes twice the processor time.
_LOOK_S: Final = 1.0
_RETRY_S: Final = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a head's arrivals come; exactly one is given.

    `records_per_s`: evenly by count, whatever their times. `duration_s`: likewise, so that the whole stream takes so long
    (it is counted first). `speedup`: by event time, which passes so many times faster than ours.
    """

    records_per_s: float | None = None
    duration_s: float | None = None
    speedup: float | None = None

    def __post_init__(self) -> None:
        """OwnFault unless exactly one is given, and above 0."""
        given = [value for value in (self.records_per_s, self.duration_s, self.speedup) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise OwnFault("a pace is records per second, a duration or a speed-up: one of them, above 0")

    @classmethod
    def parsed(cls, text: str) -> Pace:
        """From "1500/s", "60s" or "20000x"; OwnFault for anything else."""
        for ending, name in (("/s", "records_per_s"), ("s", "duration_s"), ("x", "speedup")):
            if text.endswith(ending):
                try:
                    return cls(**{name: float(text.removesuffix(ending))})
                except ValueError:
                    break
        raise OwnFault(f"{text!r} is not a pace: write records per second as 1500/s, a duration as 60s, a speed-up as 20000x")


GENERATED_PACES: Final = {
    HeadName.CREDIT: Pace(records_per_s=200),
    HeadName.FRAUD: Pace(records_per_s=1500),
    HeadName.PRODUCTS: Pace(records_per_s=200),
}
"""A simulated day of payments takes about two seconds, a week's wait for its outcomes about seven at the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSettings:
    """What `riverbank feed` is told."""

    sources: Mapping[str, SourceSettings]
    """Each institution's own cluster; who is not named here is not fed."""
    progress_file: Path
    origin: Selection | World
    paces: Mapping[HeadName, Pace]
    """Heads without a pace are not fed."""


# --- progress ----------------------------------------------------------------------------------------------------------
@dataclass(slots=True, kw_only=True)
class HeadProgress:
    """How far one head's stream has been fed and acknowledged."""

    fed: int = 0
    total: int | None = None  # None: not counted, or endless.
    done: bool = False
    event_time_ms: int | None = None  # Of the last record fed.
    institutions: dict[str, int] = field(default_factory=dict)  # Records fed, by institution.
    refused: dict[str, int] = field(default_factory=dict)  # Rows of the data set that could not be used, by reason.


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far the feed is; `origin` says of what, so that another feed does not go on in its place."""

    origin: str
    heads: dict[HeadName, HeadProgress]
    done: bool = False
    updated_at_ms: int = 0


def read_progress(path: Path) -> Progress | None:
    """What the file says; None if there is none yet. OwnFault if it is not a progress file."""
    try:
        written = json.loads(path.read_text())
        heads = {HeadName(head): HeadProgress(**fields) for head, fields in written.pop("heads").items()}
        return Progress(heads=heads, **written)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OwnFault(f"{path} is not a feed's progress: remove it to feed from the beginning") from error


def write_progress(path: Path, progress: Progress) -> None:
    """Replace the file in one step: a reader sees the old or the new. A power failure may bring back an older one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(asdict(progress), indent=1) + "\n")
    os.replace(fresh, path)  # noqa: PTH105 Says that it replaces, on every system.


# --- playing -----------------------------------------------------------------------------------------------------------
class Stream:
    """One head's arrivals, those already fed left out, and when each of the others is due."""

    def __init__(self, source: Source, pace: Pace, progress: HeadProgress) -> None:
        """Skip what `progress` says was fed; count the stream if its pace is a duration."""
        self.progress: Final = progress
        self.refused: Final[Counter[str]] = Counter()
        self._pace = pace
        if pace.duration_s is not None and progress.total is None:
            progress.total = sum(1 for _ in source(Counter()))
        self._arrivals: Iterator[Arrival] = islice(source(self.refused), progress.fed, None)
        self._next = next(self._arrivals, None)
        self._first_ms = self._next.at_ms if self._next else 0
        self._given = 0

    def take(self, elapsed_s: float, now_ms: int, most: int) -> list[Arrival]:
        """The arrivals due `elapsed_s` after the start, `most` of them at most."""
        due: list[Arrival] = []
        while self._next is not None and len(due) < most and self._wait_s(self._next, elapsed_s, now_ms) <= 0:
            due.append(self._next)
            self._given += 1
            self._next = next(self._arrivals, None)
        return due

    def wait_s(self, elapsed_s: float, now_ms: int) -> float | None:
        """How long until the next arrival is due, 0 or less if it is; None at the stream's end."""
        return None if self._next is None else self._wait_s(self._next, elapsed_s, now_ms)

    def _wait_s(self, arrival: Arrival, elapsed_s: float, now_ms: int) -> float:
        if self._pace.speedup is not None:
            due_s = (arrival.at_ms - self._first_ms) / 1000 / self._pace.speedup
        elif self._pace.records_per_s is not None:
            due_s = self._given / self._pace.records_per_s
        else:
            due_s = self._given * (self._pace.duration_s or 0) / (self.progress.total or 1)
        # Nothing happens before its date: a generated stream that has caught up with the present goes on in real time.
        return max(due_s - elapsed_s, (arrival.at_ms - now_ms) / 1000)

    def note(self, fed: Sequence[Arrival]) -> None:
        """These have been acknowledged."""
        progress = self.progress
        for arrival in fed:
            progress.institutions[arrival.institution] = progress.institutions.get(arrival.institution, 0) + 1
        progress.fed += len(fed)
        progress.event_time_ms = fed[-1].at_ms if fed else progress.event_time_ms
        progress.refused = dict(self.refused)
        progress.done = self._next is None


def record_of(arrival: Arrival) -> Outgoing:
    """The record of an arrival: its institution's topic, partition 0, key and message as the topology says."""
    return Outgoing(arrival.topic.full_name(arrival.institution), 0, arrival.key, encode(arrival.message))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def play(
    streams: Mapping[HeadName, Stream], logs: Mapping[str, Log], note: Callable[[], None], *, now_ms: Callable[[], int] = _now_ms
) -> None:
    """Feed every stream to its end, each institution's arrivals into its own log; call `note` after each acknowledged batch.

    While a log is away the same batch is tried again and nothing else is sent; what is due meanwhile comes faster
    afterwards, at most BATCH_MAX records per head and batch. LogRefused passes through.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    while True:
        taken = {head: stream.take(loop.time() - started, now_ms(), BATCH_MAX) for head, stream in streams.items()}
        records: dict[Log, list[Outgoing]] = defaultdict(list)
        for arrival in chain.from_iterable(taken.values()):
            records[logs[arrival.institution]].append(record_of(arrival))
        for log, batch in records.items():
            await _append(log, batch)
        for head, stream in streams.items():
            stream.note(taken[head])
        waits = [wait for stream in streams.values() if (wait := stream.wait_s(loop.time() - started, now_ms())) is not None]
        if records or not waits:
            note()
        if not waits:
            return
        behind = any(len(arrivals) == BATCH_MAX for arrivals in taken.values())
        await asyncio.sleep(0 if behind else min(max(min(waits), _TICK_S), _LOOK_S))


async def _append(log: Log, records: Sequence[Outgoing]) -> None:
    while True:
        try:
            await log.append(records)
        except LogUnavailable as error:
            _log.warning("feed waits for Kafka", records=len(records), detail=str(error))
            await asyncio.sleep(_RETRY_S)
        else:
            return


async def run(settings: FeedSettings) -> None:
    """Feed until every stream has ended; a generated one never does.

    OwnFault: a data set is missing, a generated stream is to last a duration, or the progress file is another feed's.
    """
    generated = isinstance(settings.origin, World)
    if generated and any(pace.duration_s is not None for pace in settings.paces.values()):
        raise OwnFault("generated events have no end: give a pace in records per second or a speed-up, not a duration")
    origin = f"{settings.origin!r} for {', '.join(sorted(settings.sources))}"
    progress = read_progress(settings.progress_file) or Progress(origin=origin, heads={head: HeadProgress() for head in settings.paces})
    if progress.origin != origin or progress.heads.keys() != settings.paces.keys():
        raise OwnFault(f"{settings.progress_file} is the progress of another feed: remove it, or name another file")
    found = sources(settings.origin) if isinstance(settings.origin, World) else settings.origin.sources()
    streams = {head: Stream(_only(settings.sources, found[head]), pace, progress.heads[head]) for head, pace in settings.paces.items()}

    def note() -> None:
        progress.updated_at_ms = _now_ms()
        progress.done = all(head.done for head in progress.heads.values())
        write_progress(settings.progress_file, progress)

    logs = {name: _opened(name, source) for name, source in settings.sources.items()}
    try:
        await play(streams, logs, note)
    finally:
        await asyncio.gather(*(log.close() for log in logs.values()))
    _log.info("fed everything", records={head.value: state.fed for head, state in progress.heads.items()})


def _only(institutions: Container[str], source: Source) -> Source:
    return lambda refused: (arrival for arrival in source(refused) if arrival.institution in institutions)


def _opened(institution: str, source: SourceSettings) -> KafkaLog:
    ourselves = Principal(institution, Role.SOURCE)
    return KafkaLog(source.bootstrap, client_id=ourselves.name, tls=open_tls(source.tls, ourselves))
