"""One pass over a data set's arrivals: records are learned in turns, a round is held when it is due.

Called by `command` and the tests, once per variant.
Never mixes clocks: learning goes by the records' own time, the protocol by one that passes only for rounds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from aggregator_worker.wiring import coordinator_settings, shipped_layout
from federation.errors import OwnFault
from federation.messages import HeadName, OutcomeObserved
from federation.rounds.coordinator import CoordinatorSettings
from federation.rounds.effects import model_digest
from institution_workers.learner import Encoders
from riverbank.arrivals import Arrival
from riverbank.evaluation import plain_river
from riverbank.evaluation.institution import Institution, SetClock
from riverbank.evaluation.judgments import Judgments
from riverbank.evaluation.masked import MaskedRounds, keys_of
from riverbank.evaluation.passage import Beat, Cadence, at_once, first_events
from riverbank.evaluation.plain import PlainRounds
from riverbank.evaluation.sets import DataSet, Opened
from riverbank.evaluation.variants import Variant, Who
from streams.codec import encode
from streams.ports import Record
from streams.settings import AggregatorProcess, AggregatorSettings, FederationSettings, PartySettings

_AGGREGATOR: Final = "aggregator"
_POOL: Final = "pool"
_START_MS: Final = 1_000_000_000_000  # Of the protocol's clock; no figure depends on it.
_TURN_RECORDS_MAX: Final = 2_000
_NOBODY: Final = "00" * 32
_NOWHERE: Final = "nowhere:0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A data set, how much of it, and how it is gone through; the same for every variant."""

    data_set: DataSet
    opened: Opened
    events: int | None  # So many, and their outcomes; None: all.
    labels_at_once: bool  # Outcomes right after their events, instead of when the set says.
    seed: int

    def arrivals(self) -> Iterator[Arrival]:
        """From the beginning."""
        found = self.opened.arrivals(Counter())
        if self.events is not None:
            found = first_events(found, self.events, labelled=self.data_set.head is not HeadName.PRODUCTS)
        return at_once(found) if self.labels_at_once else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of one variant: predictions by institution, and what its rounds were."""

    judgments: dict[str, Judgments] = field(repr=False)
    rounds: int = 0
    abandoned: int = 0
    bytes_sent: int | None = None  # Per institution; None where nothing is sent.
    model_digest: str | None = None  # Of the last global model.


async def run(course: Course, variant: Variant, cadence: Cadence) -> Ran:
    """Everything from the beginning, under one variant; `cadence` is a federation's. OwnFault if an institution refused a record."""
    match variant.who:
        case Who.RIVER_LOCAL | Who.RIVER_POOLED:
            return Ran(judgments=plain_river.run(course.arrivals(), course.data_set.head, pooled=variant.who is Who.RIVER_POOLED))
        case Who.POOLED:
            return await _pooled(course)
        case Who.LOCAL | Who.FEDERATED:
            return await _apart(course, variant, cadence)


async def _apart(course: Course, variant: Variant, cadence: Cadence) -> Ran:
    """An institution each for its own events, with rounds or without."""
    clock = SetClock(_START_MS)
    with TemporaryDirectory(prefix="riverbank-evaluate-", dir=_scratch()) as folder:
        institutions = [_institution(course, name, Path(folder), clock) for name in course.opened.institutions]
        by_name = {each.name: each for each in institutions}
        rounds = _rounds(course, variant, institutions, clock) if variant.who is Who.FEDERATED else None
        await _go_through(course, lambda arrival: by_name[arrival.institution], institutions, rounds, Beat(cadence))
        judgments = {each.name: each.judgments for each in institutions}
    if rounds is None:
        return Ran(judgments=judgments)
    return Ran(
        judgments=judgments,
        rounds=rounds.held,
        abandoned=rounds.abandoned,
        bytes_sent=rounds.bytes_sent(),
        model_digest=model_digest(rounds.model).hex(),
    )


async def _pooled(course: Course) -> Ran:
    """One learner over everybody's events; each prediction is kept with the institution whose customer it is about."""
    judgments = {name: Judgments() for name in course.opened.institutions}
    owner: dict[str, str] = {}
    with TemporaryDirectory(prefix="riverbank-evaluate-", dir=_scratch()) as folder:
        pool = _institution(course, _POOL, Path(folder), SetClock(_START_MS), judgments_of=lambda customer: judgments[owner[customer]])

        def whose(arrival: Arrival) -> Institution:
            if not isinstance(arrival.message, OutcomeObserved):
                owner[arrival.message.customer] = arrival.institution
            return pool

        await _go_through(course, whose, [pool], None, Beat(Cadence()))
    return Ran(judgments=judgments)


async def _go_through(
    course: Course,
    whose: Callable[[Arrival], Institution],
    institutions: Sequence[Institution],
    rounds: PlainRounds | MaskedRounds | None,
    beat: Beat,
) -> None:
    """Deliver every arrival, hold every round that is due, and close the institutions."""
    waiting: dict[str, list[Record]] = {each.name: [] for each in institutions}
    offsets: Counter[str] = Counter()
    if rounds is not None:
        await rounds.open()
    for arrival in course.arrivals():
        if rounds is not None and beat.due(arrival):
            for each in institutions:
                each.learn(waiting[each.name])
                waiting[each.name].clear()
            await rounds.hold()
        institution = whose(arrival)
        records = waiting[institution.name]
        topic = arrival.topic.full_name(institution.name)
        records.append(Record(topic, 0, offsets[topic], arrival.key, encode(arrival.message), arrival.at_ms))
        offsets[topic] += 1
        if len(records) == _TURN_RECORDS_MAX:
            institution.learn(records)
            records.clear()
    for each in institutions:
        each.learn(waiting[each.name])
        each.close()
        if refused := each.refused():
            raise OwnFault(f"{each.name} refused {refused} records of {course.data_set.name}: the features do not fit the data set")


def _institution(
    course: Course, name: str, folder: Path, clock: SetClock, judgments_of: Callable[[str], Judgments] | None = None
) -> Institution:
    data_set = course.data_set
    return Institution(
        name,
        folder,
        data_set.head,
        encoders=Encoders.shipped(),
        learning_rate=data_set.learning_rate,
        clock=clock,
        seed=course.seed,
        judgments_of=judgments_of,
    )


def _rounds(course: Course, variant: Variant, institutions: Sequence[Institution], clock: SetClock) -> PlainRounds | MaskedRounds:
    settings = _coordinator_settings(course, variant)
    if variant.masked:
        return MaskedRounds(institutions, settings, clock=clock, seed=course.seed)
    return PlainRounds(institutions, settings)


def _coordinator_settings(course: Course, variant: Variant) -> CoordinatorSettings:
    """As the aggregator's process makes them from its file."""
    head, rounds = course.data_set.head, course.data_set.rounds
    process = AggregatorProcess(
        federation=FederationSettings(name="evaluation", bootstrap=_NOWHERE, ca_verify_key=_NOBODY),
        party=PartySettings(name=_AGGREGATOR, key_file=Path(os.devnull)),
        aggregator=AggregatorSettings(
            state_dir=Path(os.devnull),
            members=course.opened.institutions,
            heads={head: rounds.model_copy(update={"noise_multiplier": variant.noise_multiplier})},
        ),
    )
    return coordinator_settings(process, head, shipped_layout(head), keys_of(course.seed, _AGGREGATOR))


def _scratch() -> Path | None:
    """Memory, where the system offers some as files: what is written here outlives nobody, and syncing it to a disk costs most of the time."""
    memory = Path("/dev/shm")  # noqa: S108 A folder of our own is made in it.
    return memory if os.access(memory, os.W_OK) else None
