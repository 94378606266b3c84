"""One pass over a data set's arrivals: records are learned in turns, a round is held when it is due.

Called by `command` and the tests, once per variant.
Never mixes clocks: learning goes by the records' own time, the protocol by one that passes only for rounds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from aggregator_worker.wiring import coordinator_settings, shipped_layout
from federation.errors import OwnFault
from federation.messages import HeadName, OutcomeObserved
from federation.privacy.accountant import epsilon_of, noise_multiplier
from federation.rounds.coordinator import CoordinatorSettings
from federation.rounds.effects import model_digest
from institution_workers.learner import Count, Encoders
from riverbank.arrivals import Arrival, institution_of
from riverbank.evaluation import plain_river
from riverbank.evaluation.grouped import GroupRounds
from riverbank.evaluation.immunity import Immunity, Watch
from riverbank.evaluation.institution import Institution, SetClock
from riverbank.evaluation.judgments import Judgments
from riverbank.evaluation.masked import MaskedRounds, keys_of
from riverbank.evaluation.passage import Beat, Cadence, at_once, first_events
from riverbank.evaluation.plain import PlainRounds
from riverbank.evaluation.sets import DataSet, Opened
from riverbank.evaluation.variants import Variant, Who
from streams.codec import encode
from streams.ports import Record
from streams.settings import AggregatorProcess, AggregatorSettings, FederationSettings, HeadSettings, PartySettings

ATTACK_CADENCE: Final = Cadence(event_ms=60_000)  # While an attack goes on.
_AGGREGATOR: Final = "aggregator"
_POOL: Final = "pool"
_START_MS: Final = 1_000_000_000_000  # Of the protocol's clock; no figure depends on it.
_TURN_RECORDS_MAX: Final = 2_000
_NOBODY: Final = "00" * 32
_NOWHERE: Final = "127.0.0.1:0"


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
        found = iter(self.opened.arrivals(Counter()))
        if self.events is not None:
            found = first_events(found, self.events, labelled=self.data_set.head is not HeadName.PRODUCTS)
        return at_once(found) if self.labels_at_once else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What the rounds cost customers, by the institutions' ledgers."""

    epsilon: float  # What was promised to each customer, at `delta`,
    epsilon_spent: float  # and what the one has spent who has spent most.
    delta: float
    participations_max: int
    noise_multiplier: float
    exhausted: int  # Times that somebody was left out of a contribution because his budget was spent.


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of one variant: predictions by institution, and what its rounds were."""

    judgments: dict[str, Judgments] = field(repr=False)  # Of what was held out, where the set holds anything out.
    rounds: int = 0
    abandoned: int = 0
    bytes_sent: int | None = None  # Per institution; None where nothing is sent.
    model_digest: str | None = None  # Of the last global model.
    immunity: Immunity | None = None  # Where the set is an attack.
    privacy: Privacy | None = None  # Where there is noise.


async def run(course: Course, variant: Variant, cadence: Cadence) -> Ran:
    """Everything from the beginning, under one variant; `cadence` is a federation's. OwnFault if a learner refused a record."""
    if variant.who in {Who.RIVER_LOCAL, Who.RIVER_POOLED}:
        return Ran(judgments=plain_river.run(course.arrivals(), course.data_set.head, pooled=variant.who is Who.RIVER_POOLED))
    names = course.opened.institutions
    judgments = {name: Judgments() for name in names}
    clock = SetClock(_START_MS)
    with TemporaryDirectory(prefix="riverbank-evaluate-", dir=_scratch()) as folder:
        make = partial(_learner, course, Path(folder), clock, judgments)
        learner_of = dict.fromkeys(names, make(_POOL)) if variant.who is Who.POOLED else {name: make(name) for name in names}
        settings = _coordinator_settings(course, variant) if variant.who is Who.FEDERATED else None
        rounds = None if settings is None else _rounds(course, variant, list(learner_of.values()), settings, clock)
        attack = course.opened.attack
        watch = None if attack is None else Watch(attack, lambda name, payment: learner_of[name].would_serve(payment))
        await _go_through(course, learner_of, rounds, cadence, watch)
        if course.opened.asked:
            judgments = _answers(course.opened.asked, learner_of)
        privacy = None if settings is None else _privacy(settings, learner_of.values())
        for learner in set(learner_of.values()):
            learner.close()
            if refused := learner.refused():
                raise OwnFault(f"{learner.name} refused {refused} records of {course.data_set.name}: the features do not fit the data set")
    ran = Ran(judgments=judgments, immunity=None if watch is None else watch.immunity())
    if rounds is None:
        return ran
    return replace(
        ran,
        rounds=rounds.held,
        abandoned=rounds.abandoned,
        bytes_sent=rounds.bytes_sent(),
        model_digest=model_digest(rounds.model).hex(),
        privacy=privacy,
    )


async def _go_through(
    course: Course,
    learner_of: Mapping[str, Institution],
    rounds: PlainRounds | MaskedRounds | None,
    cadence: Cadence,
    watch: Watch | None,
) -> None:
    """Deliver every arrival to the learner of its institution, and hold every round that is due."""
    waiting: dict[Institution, list[Record]] = {learner: [] for learner in learner_of.values()}
    offsets: Counter[str] = Counter()
    beat = Beat(cadence, None if watch is None else (watch.attack.start_ms, ATTACK_CADENCE))
    if rounds is not None:
        await rounds.open()
    for arrival in course.arrivals():
        if beat.due(arrival):
            _deliver(waiting)
            if rounds is not None:
                await rounds.hold()
            if watch is not None:
                watch.ask(arrival.at_ms)
        if watch is not None:
            watch.see(arrival)
        learner = learner_of[arrival.institution]
        topic = arrival.topic.full_name(learner.name)
        waiting[learner].append(Record(topic, 0, offsets[topic], arrival.key, encode(arrival.message), arrival.at_ms))
        offsets[topic] += 1
        if len(waiting[learner]) == _TURN_RECORDS_MAX:
            _deliver({learner: waiting[learner]})
    _deliver(waiting)


def _deliver(waiting: Mapping[Institution, list[Record]]) -> None:
    for learner, records in waiting.items():
        learner.learn(records)
        records.clear()


def _answers(asked: Iterable[Arrival], learner_of: Mapping[str, Institution]) -> dict[str, Judgments]:
    """What is said of events that were held out, now that everything else has been learned."""
    answers = {name: Judgments(burn_in=0.0) for name in learner_of}
    for arrival in asked:
        if not isinstance(arrival.message, OutcomeObserved):
            said = learner_of[arrival.institution].study.learner.say(arrival.message)
            answers[arrival.institution].add(arrival.at_ms, said, positive=True)
    return answers


def _learner(course: Course, folder: Path, clock: SetClock, judgments: Mapping[str, Judgments], name: str) -> Institution:
    data_set, names = course.data_set, course.opened.institutions
    return Institution(
        name,
        folder,
        data_set.head,
        encoders=Encoders.shipped(),
        learning_rate=data_set.learning_rate,
        clock=clock,
        seed=course.seed,
        judgments_of=lambda customer: judgments[names[institution_of(customer)]],
    )


def _privacy(settings: CoordinatorSettings, learners: Iterable[Institution]) -> Privacy | None:
    parameters, learners = settings.parameters, list(learners)
    if settings.epsilon is None:
        return None
    spent = max(learner.study.ledger.spent_most(settings.lane.head) for learner in learners)
    return Privacy(
        epsilon=settings.epsilon,
        epsilon_spent=epsilon_of(spent, parameters.delta),
        delta=parameters.delta,
        participations_max=parameters.participations_max,
        noise_multiplier=noise_multiplier(parameters),
        exhausted=sum(learner.study.learner.counts.get(f"{Count.EXHAUSTED.value}.{settings.lane.head.value}", 0) for learner in learners),
    )


def _rounds(
    course: Course, variant: Variant, institutions: Sequence[Institution], settings: CoordinatorSettings, clock: SetClock
) -> PlainRounds | MaskedRounds:
    if variant.masked:
        return MaskedRounds(institutions, settings, clock=clock, seed=course.seed)
    if variant.grouped is not None:
        return GroupRounds(institutions, settings, variant.grouped, seed=course.seed)
    return PlainRounds(institutions, settings)


def _coordinator_settings(course: Course, variant: Variant) -> CoordinatorSettings:
    """As the aggregator's process makes them from its file."""
    head, rounds = course.data_set.head, course.data_set.rounds
    noise = {"noise_multiplier": variant.noise_multiplier} if variant.epsilon is None else {"epsilon": variant.epsilon}
    noised = HeadSettings.model_validate(rounds.model_dump(exclude={"noise_multiplier", "epsilon"}) | noise)
    process = AggregatorProcess(
        federation=FederationSettings(name="evaluation", bootstrap=_NOWHERE, ca_verify_key=_NOBODY),
        party=PartySettings(name=_AGGREGATOR, key_file=Path(os.devnull)),
        aggregator=AggregatorSettings(
            state_dir=Path(os.devnull),
            heads={head: noised},
        ),
    )
    return coordinator_settings(process, head, shipped_layout(head), (keys_of(course.seed, _AGGREGATOR).sealing_secret,))


def _scratch() -> Path | None:
    """Memory, where the system offers some as files: what is written here outlives nobody, and syncing it to a disk costs most of the time."""
    memory = Path("/dev/shm")  # noqa: S108 A folder of our own is made in it.
    return memory if os.access(memory, os.W_OK) else None
