"""The feed keeps its pace, waits for the log, and after a kill goes on where it was.

Run on the log in memory, and once on a real broker.
Never sleeps for longer than a fraction of a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from federation.errors import OwnFault
from federation.messages import CardTransaction, HeadName, InteractionKind, ProductInteraction
from riverbank.arrivals import INSTITUTIONS, Arrival, customer_id, outcome_of, with_outcomes
from riverbank.datasets.selection import Selection
from riverbank.embedded.kafka import EmbeddedKafka
from riverbank.feed import (
    BATCH_MAX,
    FeedSettings,
    HeadProgress,
    Pace,
    Progress,
    Stream,
    play,
    read_progress,
    record_of,
    run,
    write_progress,
)
from riverbank.generator.world import World
from riverbank.provisioning.federations import create_topics
from streams.codec import decode
from streams.kafka import KafkaLog
from streams.memory import MemoryLog
from streams.ports import LogUnavailable, Outgoing, Position
from streams.settings import SourceSettings
from streams.topology import INTERACTIONS, OUTCOMES, OWN_TOPICS, TRANSACTIONS, partitions_of

BANKS = ("north-bank", "south-bank")
FAST = Pace(records_per_s=1e6)
NOWHERE = dict.fromkeys(BANKS, SourceSettings(bootstrap="127.0.0.1:1"))


def _payments(count: int, gap_ms: int = 1000) -> Iterator[Arrival]:
    for number in range(count):
        message = CardTransaction(
            event_id=f"tx-{number}",
            customer=customer_id(number % 2, number),
            occurred_at_ms=number * gap_ms,
            consented=True,
            terminal="t",
            amount=1.0,
        )
        yield Arrival(BANKS[number % 2], message)


def _stream(count: int, pace: Pace, progress: HeadProgress | None = None) -> Stream:
    return Stream(lambda _: _payments(count), pace, progress or HeadProgress())


class _Log(MemoryLog):
    """A log in memory that can be away, slow, or the last thing its caller sees."""

    def __init__(self) -> None:
        super().__init__({name: count for bank in BANKS for name, count in partitions_of(OWN_TOPICS, bank).items()})
        self.batches: list[int] = []
        self.away = 0
        self.killed_after: int | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def append(self, records: Sequence[Outgoing]) -> Sequence[int]:
        await self.open.wait()
        self.batches.append(len(records))
        if self.away:
            self.away -= 1
            raise LogUnavailable("the log is away")
        offsets = await super().append(records)
        if self.killed_after is not None and len(self.batches) >= self.killed_after:
            raise KeyboardInterrupt  # Appended, but the caller never heard of it.
        return offsets

    def ids(self) -> Counter[str]:
        values = [record.value or b"" for bank in BANKS for record in self.records(TRANSACTIONS.full_name(bank))]
        return Counter(decode(value, TRANSACTIONS.carries, TRANSACTIONS.bytes_max).event_id for value in values)  # type: ignore[union-attr]


def _nothing() -> None:
    """A note that nobody reads."""


# --- pace --------------------------------------------------------------------------------------------------------------
def test_an_even_pace_gives_so_many_a_second_whatever_their_times() -> None:
    """Half a second of 10 a second is five, and the first at once."""
    stream = _stream(100, Pace(records_per_s=10))

    assert [len(stream.take(elapsed_s, 10**9, 100)) for elapsed_s in (0, 0.45, 0.45, 1.05)] == [1, 4, 0, 6]
    assert stream.wait_s(1.05, 10**9) == pytest.approx(0.05)


def test_a_duration_spreads_the_whole_stream_over_it() -> None:
    """100 records in 20 seconds are five a second; the total is known from the start."""
    stream = _stream(100, Pace(duration_s=20))

    assert stream.progress.total == 100
    assert len(stream.take(9.99, 10**9, 1000)) == 50
    assert len(stream.take(20, 10**9, 1000)) == 50
    assert stream.wait_s(20, 10**9) is None


def test_a_speed_up_follows_event_time() -> None:
    """At 60 times our speed, a second holds a minute of events."""
    stream = _stream(1000, Pace(speedup=60))

    assert len(stream.take(1.0, 10**9, 1000)) == 61
    assert stream.wait_s(1.0, 10**9) == pytest.approx(1 / 60)


def test_no_more_than_a_batch_is_taken_at_once() -> None:
    """The rest stays in the stream."""
    stream = _stream(100, FAST)

    assert (len(stream.take(1, 10**9, 30)), len(stream.take(1, 10**9, 100))) == (30, 70)


def test_nothing_is_fed_before_its_date() -> None:
    """A generated stream that catches up with the present goes on in real time, and no institution sees tomorrow."""
    stream = _stream(100, FAST)

    assert len(stream.take(1, 4_000, 100)) == 5  # Events of 0, 1, 2, 3 and 4 seconds.
    assert stream.wait_s(1, 4_000) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "pace"), [("1500/s", Pace(records_per_s=1500)), ("60s", Pace(duration_s=60)), ("2e4x", Pace(speedup=20000))]
)
def test_paces_are_written_with_their_unit(text: str, pace: Pace) -> None:
    """As on the command line."""
    assert Pace.parsed(text) == pace


@pytest.mark.parametrize("text", ["", "60", "x", "0s", "-1/s", "nanx", "fast"])
def test_what_is_no_pace_is_refused(text: str) -> None:
    """With a sentence."""
    with pytest.raises(OwnFault, match="pace"):
        Pace.parsed(text)


# --- playing -----------------------------------------------------------------------------------------------------------
async def test_everything_arrives_in_order_where_the_topology_says() -> None:
    """Payments and outcomes in their institution's topics, partition 0, keyed by customer or subject."""
    log = _Log()
    labelled = ((arrival, outcome_of(arrival.message, positive=True, known_at_ms=arrival.at_ms + 1)) for arrival in _payments(10))  # type: ignore[arg-type]
    stream = Stream(lambda _: with_outcomes(labelled), FAST, HeadProgress())
    await play({HeadName.FRAUD: stream}, dict.fromkeys(BANKS, log), _nothing)
    payments, outcomes = log.records(TRANSACTIONS.full_name("south-bank")), log.records(OUTCOMES.full_name("south-bank"))

    assert [record.key for record in payments] == [customer_id(1, number).encode() for number in (1, 3, 5, 7, 9)]
    assert [record.key for record in outcomes] == [f"tx-{number}".encode() for number in (1, 3, 5, 7, 9)]
    assert (stream.progress.fed, stream.progress.done, stream.progress.institutions) == (20, True, {"north-bank": 10, "south-bank": 10})


async def test_a_feed_killed_at_any_batch_leaves_no_gap_and_repeats_only_that_batch(tmp_path: Path) -> None:
    """Started again from its file it goes on; what was sent but not noted is sent twice, with the same ids."""
    log, file = _Log(), tmp_path / "progress.json"
    count = 3 * BATCH_MAX + 7
    for killed_after in (1, 3, None):
        progress = read_progress(file) or Progress(origin="o", heads={HeadName.FRAUD: HeadProgress()})
        stream = _stream(count, FAST, progress.heads[HeadName.FRAUD])
        log.batches, log.killed_after = [], killed_after
        try:
            await play({HeadName.FRAUD: stream}, dict.fromkeys(BANKS, log), lambda: write_progress(file, progress))  # noqa: B023 Played to its end in here.
        except KeyboardInterrupt:
            assert killed_after is not None
    ids = log.ids()

    assert set(ids) == {f"tx-{number}" for number in range(count)}
    assert max(ids.values()) == 2
    assert ids.total() <= count + 2 * BATCH_MAX


async def test_while_the_log_is_away_nothing_is_lost_or_reordered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same batch is tried until it is taken."""
    monkeypatch.setattr("riverbank.feed._RETRY_S", 0.01)
    log = _Log()
    log.away = 3
    await play({HeadName.FRAUD: _stream(50, FAST)}, dict.fromkeys(BANKS, log), _nothing)

    assert log.batches[:4] == [log.batches[0]] * 4
    assert log.ids() == Counter(f"tx-{number}" for number in range(50))
    assert [record.key for record in log.records(TRANSACTIONS.full_name(BANKS[0]))] == [customer_id(0, n).encode() for n in range(0, 50, 2)]


async def test_a_log_that_does_not_answer_is_never_more_than_a_batch_behind() -> None:
    """Backpressure: nothing is taken from the stream while a batch waits for its acknowledgement."""
    log, stream = _Log(), _stream(10 * BATCH_MAX, FAST)
    log.open.clear()
    task = asyncio.create_task(play({HeadName.FRAUD: stream}, dict.fromkeys(BANKS, log), _nothing))
    await asyncio.sleep(0.1)
    taken_s = stream._given
    log.open.set()
    await task

    assert taken_s <= BATCH_MAX
    assert max(log.batches) <= BATCH_MAX
    assert stream.progress.fed == 10 * BATCH_MAX


# --- progress ----------------------------------------------------------------------------------------------------------
def test_progress_is_read_as_it_was_written(tmp_path: Path) -> None:
    """And replaces the file in one step: no half-written file is ever there."""
    file = tmp_path / "feed" / "progress.json"
    heads = {HeadName.CREDIT: HeadProgress(fed=3, total=9, event_time_ms=5, institutions={"a": 3}, refused={"no loan status": 1})}
    progress = Progress(origin="o", heads=heads, updated_at_ms=7)

    assert read_progress(file) is None
    write_progress(file, progress)
    write_progress(file, progress)
    assert read_progress(file) == progress
    assert [path.name for path in file.parent.iterdir()] == ["progress.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"heads": {"x": {}}}', '{"heads": {"fraud": {"speed": 1}}, "origin": "o"}'])
def test_a_file_that_is_no_progress_is_refused(tmp_path: Path, text: str) -> None:
    """The sentence says how to go on."""
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(OwnFault, match="remove it"):
        read_progress(tmp_path / "p.json")


async def test_a_feed_does_not_go_on_with_another_ones_progress(tmp_path: Path) -> None:
    """Another seed, or other heads: skipping as many records would leave others out."""
    file = tmp_path / "p.json"
    write_progress(file, Progress(origin=f"{World(seed=1)!r} for north-bank, south-bank", heads={HeadName.FRAUD: HeadProgress()}))
    for origin, paces in ((World(seed=2), {HeadName.FRAUD: FAST}), (World(seed=1), {HeadName.CREDIT: FAST})):
        with pytest.raises(OwnFault, match="another feed"):
            await run(FeedSettings(sources=NOWHERE, progress_file=file, origin=origin, paces=paces))


async def test_generated_events_cannot_last_a_duration(tmp_path: Path) -> None:
    """They have no end to be spread to."""
    settings = FeedSettings(
        sources=NOWHERE, progress_file=tmp_path / "p.json", origin=World(seed=1), paces={HeadName.FRAUD: Pace(duration_s=60)}
    )
    with pytest.raises(OwnFault, match="no end"):
        await run(settings)


def test_a_record_is_the_message_under_its_institutions_topic() -> None:
    """Partition 0: an own topic has one."""
    message = ProductInteraction(
        event_id="take-1",
        customer="c-0-0000000001",
        occurred_at_ms=1,
        consented=True,
        product="funds",
        kind=InteractionKind.ACQUIRED,
        segment=None,
    )
    record = record_of(Arrival("north-bank", message))

    assert (record.topic, record.partition, record.key) == ("north-bank.events.interactions.v1", 0, b"c-0-0000000001")
    assert decode(record.value or b"", INTERACTIONS.carries, INTERACTIONS.bytes_max) == message


# --- a broker ----------------------------------------------------------------------------------------------------------
@pytest.mark.broker
@pytest.mark.asyncio(loop_scope="session")
async def test_a_data_set_is_fed_to_kafka_to_its_end(broker: EmbeddedKafka, tmp_path: Path) -> None:
    """From the files to the topics, with the progress to show for it; a second run has nothing left to do."""
    folder = tmp_path / "rec_santander"
    folder.mkdir()
    rows = "".join(f"{number},ind_cco_fin_ult1,1422403200\n" for number in range(40))
    (folder / "interactions.csv").write_text(f"USER_ID,ITEM_ID,TIMESTAMP\n{rows}9,ind_odd_ult1,5\n")
    await create_topics(broker.bootstrap, INSTITUTIONS)
    settings = FeedSettings(
        sources=dict.fromkeys(INSTITUTIONS, SourceSettings(bootstrap=broker.bootstrap)),
        progress_file=tmp_path / "p.json",
        origin=Selection(folder=tmp_path, credit="taiwan"),  # type: ignore[arg-type]
        paces={HeadName.PRODUCTS: Pace(duration_s=0.3)},
    )
    for _ in range(2):
        await run(settings)
    progress = read_progress(settings.progress_file)
    log = KafkaLog(broker.bootstrap)
    reader = await log.reader([Position(INTERACTIONS.full_name(name), 0, 0) for name in INSTITUTIONS])
    ends = await reader.end_offsets()
    await reader.close()
    await log.close()

    assert progress is not None
    assert progress.done
    assert progress.heads[HeadName.PRODUCTS].refused == {"unknown product": 1}
    assert progress.heads[HeadName.PRODUCTS].institutions == dict.fromkeys(INSTITUTIONS, 8)
    assert set(ends.values()) == {8}
