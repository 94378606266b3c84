"""What a vertical partnership is worth: the bank alone, both trained apart, and the same scorecard on the joined table.

Called by `riverbank vertical evaluate` and `riverbank evaluate --vertical` (docs/vertical.md).
Never draws from the machine's entropy: a set, a seed and the options are the whole input; the encrypted run's keys come from the seed too."""

from __future__ import annotations

import hashlib
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np

from federation.errors import OwnFault
from federation.heads.credit import CreditEncoder
from federation.heads.features import FeatureSchema
from federation.messages import CreditApplication, OutcomeObserved, TrainingAsked
from federation.vertical import bank, partner
from federation.vertical.effects import Heard, Learned, Parties, Say, StartTraining, Table
from federation.vertical.fixed_point import Reals
from federation.vertical.phases import BankPhase, PartnerPhase
from federation.vertical.rehearsal import rehearse
from federation.vertical.run import State
from federation.vertical.scorecard import Half, Lesson, Rows
from federation.vertical.training import begun
from riverbank.arrivals import Arrival
from riverbank.datasets import berka, taiwan
from riverbank.evaluation.judgments import roc_auc

RIDGE: Final = 1.0
ROWS_MIN: Final = 10
PASSES_MAX: Final = 30
LEARNED: Final = 0.7  # Of all rows; the others are the test.
HELD_OUT: Final = 0.2  # Of those learned from.


@dataclass(frozen=True, slots=True)
class Split:
    """A data set whose columns lie apart: its rows come from `arrivals(folder, refused, names)`."""

    name: str
    folder: str
    about: str
    arrivals: Callable[[Path, Counter[str], tuple[str, ...]], Iterator[Arrival]]
    needs: str  # A feature of the partner's without which a row is not shared.
    splits: int  # How many random divisions into learned and test: few rows need many.


SPLITS: Final = {
    "taiwan": Split(
        "taiwan", "credit_taiwan", "bank: limit, demographics, label; partner: payment history", taiwan.arrivals, "payment_status_1", 3
    ),
    "berka": Split(
        "berka", "berka", "bank: loan, district, label; partner: the account's transactions", berka.credit_arrivals, "balance_mean", 20
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """AUC on the test rows, of one division or the mean of several."""

    bank_alone: float
    vertical: float
    joined: float  # The same scorecard, logistic regression to convergence, on the joined table.
    passes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A data set: means over its divisions, and each of them."""

    data_set: str
    about: str
    seed: int
    rows: int
    positives: int
    bank_columns: int
    partner_columns: int
    mean: Compared
    gain: float  # Vertical over the bank alone.
    to_joined: float  # Vertical minus joined.
    to_joined_spread: float  # Standard deviation of that over the divisions.
    divisions: tuple[Compared, ...]
    encrypted_equal: bool | None  # Whether the encrypted first division gave the same bits; None if it was not run.


@dataclass(frozen=True, slots=True)
class _Joined:
    """All shared rows: both sides' coordinates and the labels."""

    ours: tuple[tuple[int, ...], ...]
    theirs: tuple[tuple[int, ...], ...]
    labels: tuple[int, ...]
    widths: tuple[int, int]


def evaluate(data: Path, names: Sequence[str], *, seed: int, encrypted: bool, said: Callable[[str], None]) -> list[Result]:
    """A result per named set; OwnFault for an unknown one or a missing file."""
    unknown = [name for name in names if name not in SPLITS]
    if unknown:
        raise OwnFault(f"there is no vertical data set {unknown[0]}, only {', '.join(SPLITS)}")
    return [_evaluated(SPLITS[name], data, seed, encrypted, said) for name in names]


def as_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A line per set, for a table."""
    return [
        {
            "set": result.data_set,
            "rows": result.rows,
            "bank alone": f"{result.mean.bank_alone:.4f}",
            "vertical": f"{result.mean.vertical:.4f}",
            "joined table": f"{result.mean.joined:.4f}",
            "gain": f"{result.gain:+.4f}",
            "to joined": f"{result.to_joined:+.4f} ± {result.to_joined_spread:.4f}",
            "passes": f"{result.mean.passes:.1f}",
            "divisions": len(result.divisions),
            "encrypted": {None: "not run", True: "the same bits", False: "OTHER BITS"}[result.encrypted_equal],
        }
        for result in results
    ]


def as_dicts(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Everything, for JSON."""
    return [asdict(result) for result in results]


def _evaluated(split: Split, data: Path, seed: int, encrypted: bool, said: Callable[[str], None]) -> Result:
    joined = _joined(split, data)
    divisions, equal = [], None
    for number in range(split.splits):
        order = np.random.Generator(np.random.PCG64([seed, number])).permutation(len(joined.labels)).tolist()
        compared, halves = _compared(joined, order)
        divisions.append(compared)
        said(f"{split.name}: division {number + 1} of {split.splits}: {compared.vertical:.4f}, joined {compared.joined:.4f}")
        if encrypted and number == 0:
            under = _encrypted(joined, order, seed)
            equal = all(np.array_equal(one.weights, other.weights) for one, other in zip(halves, under, strict=True))
            said(f"{split.name}: under encryption {'the same bits' if equal else 'OTHER BITS'}")
    mean = Compared(**{name: statistics.mean(getattr(each, name) for each in divisions) for name in Compared.__slots__})
    apart = [each.vertical - each.joined for each in divisions]
    return Result(
        data_set=split.name,
        about=split.about,
        seed=seed,
        rows=len(joined.labels),
        positives=sum(joined.labels),
        bank_columns=joined.widths[0],
        partner_columns=joined.widths[1],
        mean=mean,
        gain=mean.vertical - mean.bank_alone,
        to_joined=mean.vertical - mean.joined,
        to_joined_spread=statistics.stdev(apart) if len(apart) > 1 else 0.0,
        divisions=tuple(divisions),
        encrypted_equal=equal,
    )


def _joined(split: Split, data: Path) -> _Joined:
    applications: dict[str, CreditApplication] = {}
    labels: dict[str, bool] = {}
    for arrival in split.arrivals(data / split.folder, Counter(), ("everybody",)):
        message = arrival.message
        if isinstance(message, CreditApplication):
            applications[message.event_id] = message
        elif isinstance(message, OutcomeObserved):
            labels[message.subject] = message.positive
    shared = [each for each in applications.values() if split.needs in each.numbers and each.event_id in labels]
    encoders = [_Columns.shipped(f"{split.name}_{side}") for side in ("bank", "partner")]
    ours, theirs = (tuple(columns.encode(each) for each in shared) for columns in encoders)
    widths = len(encoders[0].encoder.layout), len(encoders[1].encoder.layout)
    return _Joined(ours, theirs, tuple(int(labels[each.event_id]) for each in shared), widths)


@dataclass(frozen=True, slots=True)
class _Columns:
    """One side's columns of a joined application."""

    encoder: CreditEncoder
    names: frozenset[str]

    @classmethod
    def shipped(cls, name: str) -> _Columns:
        schema = FeatureSchema.parsed((files("schemas") / "features" / "vertical" / f"{name}.toml").read_text(encoding="utf-8"))
        return cls(CreditEncoder(schema), frozenset({each.name for each in schema.numbers} | {each.name for each in schema.categories}))

    def encode(self, application: CreditApplication) -> tuple[int, ...]:
        numbers = {name: value for name, value in application.numbers.items() if name in self.names}
        categories = {name: value for name, value in application.categories.items() if name in self.names}
        own = CreditApplication(
            event_id=application.event_id, customer=application.customer, occurred_at_ms=application.occurred_at_ms, consented=True,
            numbers=numbers, categories=categories,
        )  # fmt: skip
        return self.encoder.encode(own)


# --- one division -------------------------------------------------------------------------------------------------
def _divided(joined: _Joined, order: Sequence[int]) -> tuple[Table, Table, bytes, int, float]:
    """(bank's table, partner's, labels, how many held out, prior) of the learned rows."""
    learned = order[: int(LEARNED * len(order))]
    held_out = int(HELD_OUT * len(learned))
    labels = bytes(joined.labels[index] for index in learned)
    rate = sum(labels[: len(learned) - held_out]) / (len(learned) - held_out)
    ours, theirs = (
        Table(Rows.of(side[index] for index in learned), width, ROWS_MIN)
        for side, width in zip((joined.ours, joined.theirs), joined.widths, strict=True)
    )
    return ours, theirs, labels, held_out, math.log(rate / (1 - rate))


def _compared(joined: _Joined, order: Sequence[int]) -> tuple[Compared, tuple[Half, Half]]:
    ours, theirs, labels, held_out, prior = _divided(joined, order)
    started = [Half.untaught(width, ridge=RIDGE) for width in joined.widths]
    rehearsed = rehearse(
        begun(ours, started[0], held_out=held_out, passes_max=PASSES_MAX, labels=labels, offset=prior),
        begun(theirs, started[1], held_out=held_out, passes_max=PASSES_MAX),
    )
    test = order[int(LEARNED * len(order)) :]
    truth = np.array([joined.labels[index] for index in test], dtype=np.bool_)
    learned_from = len(labels) - held_out
    known = np.frombuffer(labels, dtype=np.uint8)[:learned_from].astype(np.float64)

    def converged(rows: Rows, width: int) -> Half:
        part = rows.part(0, learned_from)
        return Lesson.of(Half.untaught(width, ridge=RIDGE), part, rows_min=ROWS_MIN).converged(part, known, prior)

    def points(side: Sequence[tuple[int, ...]], half: Half) -> Reals:
        return Rows.of(side[index] for index in test).points(half.weights)

    width = joined.widths[0] + joined.widths[1] - 1
    both = [(*one, *(index + joined.widths[0] - 1 for index in other)) for one, other in zip(joined.ours, joined.theirs, strict=True)]
    table = Rows.of(both[index] for index in order[: len(labels)])
    alone, whole = converged(ours.rows, joined.widths[0]), converged(table, width)
    compared = Compared(
        bank_alone=roc_auc(points(joined.ours, alone), truth),
        vertical=roc_auc(points(joined.ours, rehearsed.bank) + points(joined.theirs, rehearsed.partner), truth),
        joined=roc_auc(points(both, whole), truth),
        passes=len(rehearsed.losses),
    )
    return compared, (rehearsed.bank, rehearsed.partner)


def _encrypted(joined: _Joined, order: Sequence[int], seed: int) -> tuple[Half, Half]:
    """The same training by the two cores, with keys of the size that production demands."""
    ours, theirs, labels, held_out, prior = _divided(joined, order)
    parties = Parties("evaluation", "bank", "partner")
    states = {"bank": State(parties, BankPhase.IDLE), "partner": State(parties, PartnerPhase.IDLE)}
    numbers = itertools.count()
    halves: dict[str, Half] = {}

    def entropy(count: int) -> bytes:
        return hashlib.shake_256(f"{seed}/{next(numbers)}".encode()).digest(count)

    start = StartTraining(1, ours, labels, b"", 0, held_out, PASSES_MAX, warm=False, ridge=RIDGE, prior=prior)
    waiting: list[tuple[str, Heard | StartTraining]] = [("bank", start)]
    while waiting:
        name, event = waiting.pop(0)
        if name == "bank":
            states[name], effects = bank.step(states[name], event, entropy=entropy, answer_by_ms=1)
        else:
            states[name], effects = partner.step(states[name], event, entropy=entropy, answer_by_ms=1, ridge=RIDGE)
        for effect in effects:
            if isinstance(effect, Say):
                own = theirs if isinstance(effect.message, TrainingAsked) else None
                waiting.append(("partner" if name == "bank" else "bank", Heard(effect.run, effect.sequence, effect.message, own)))
            elif isinstance(effect, Learned):
                halves[name] = effect.half
    return halves["bank"], halves["partner"]
