"""What came of a data set's variants, as plain data: qualities by institution, their means, and how much of the gap was closed.

Made by `command`, shown by `tables`, written as JSON.
Never holds a time, a path or a machine's name: run again with the same seed, it is the same to the last digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from federation.messages import HeadName
from institution_workers.pupil import FEDERATED, LOCAL
from riverbank.evaluation.course import Course, Privacy, Ran
from riverbank.evaluation.immunity import Immunity
from riverbank.evaluation.institution import SERVED
from riverbank.evaluation.judgments import Quality, in_parts, together
from riverbank.evaluation.plain_river import RIVER
from riverbank.evaluation.variants import Variant, Who
from streams.telemetry import SOFTWARE_VERSION

MEASURES: Final[Mapping[HeadName, tuple[str, ...]]] = {
    HeadName.CREDIT: ("auc", "ap", "log_loss"),
    HeadName.FRAUD: ("auc", "ap", "log_loss"),
    HeadName.PRODUCTS: ("hr3", "ndcg5", "ndcg10"),
}
"""Head -> its measures, the leading one first; all but log_loss are the better the larger."""

_SAID: Final[Mapping[Who, tuple[str, ...]]] = {
    Who.LOCAL: (LOCAL,),
    Who.FEDERATED: (FEDERATED, SERVED),
    Who.POOLED: (LOCAL,),
    Who.RIVER_LOCAL: (RIVER,),
    Who.RIVER_POOLED: (RIVER,),
}
"""Whose predictions count; a federation's are those of its federated model, and of the mixture it serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the comparison. Means are over institutions whose quality is defined, each counting alike."""

    variant: str
    model: str  # Which of the variant's models.
    round_every: str | None  # None: no rounds.
    means: Quality
    institutions: dict[str, Quality]
    together: Quality  # Of all institutions' rows together, each row counting alike.
    in_parts: list[Quality]  # The same from the first to the last part of the stream, burn-in included.
    gap_closed: Quality  # By measure: (this - local) / (pooled - local); None without these two, or where pooling does not help.
    rounds: int
    abandoned: int
    bytes_sent: int | None
    model_digest: str | None
    immunity: Immunity | None
    privacy: Privacy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A data set, how it was gone through, and one row or two per variant."""

    data_set: str
    about: str
    head: str
    seed: int
    events: int | None
    labels: str
    learning_rate: float
    rounds: dict[str, Any]  # streams.settings.HeadSettings, noise and epsilon excepted.
    software: str
    rows: list[Row]

    def to_json(self) -> dict[str, Any]:
        """As nested dictionaries."""
        return asdict(self)


def result_of(course: Course, ran: Sequence[tuple[Variant, str | None, Ran]]) -> Result:
    """Measure everything: variants, how far apart their rounds were, and what came of them."""
    head = course.data_set.head
    rows = [_row(variant, every, model, each, head) for variant, every, each in ran for model in _SAID[variant.who] if _says(each, model)]
    local, pooled = (next((row for row in rows if row.variant == who.value), None) for who in (Who.LOCAL, Who.POOLED))
    return Result(
        data_set=course.data_set.name,
        about=course.data_set.about,
        head=head.value,
        seed=course.seed,
        events=course.events,
        labels="at once" if course.labels_at_once else "as declared",
        learning_rate=course.data_set.learning_rate,
        rounds=course.data_set.rounds.model_dump(exclude={"noise_multiplier", "epsilon"}),
        software=SOFTWARE_VERSION,
        rows=[_with_gap(row, local, pooled, MEASURES[head]) for row in rows],
    )


def _says(ran: Ran, model: str) -> bool:
    return any(model in judgments.names() for judgments in ran.judgments.values())


def _row(variant: Variant, round_every: str | None, model: str, ran: Ran, head: HeadName) -> Row:
    filled = {name: judgments for name, judgments in ran.judgments.items() if len(judgments)}
    institutions = {name: judgments.rows(model).quality(head) for name, judgments in filled.items()}
    return Row(
        variant=variant.name,
        model=model,
        round_every=round_every,
        means={measure: _mean([quality[measure] for quality in institutions.values()]) for measure in MEASURES[head]},
        institutions=institutions,
        together=together(judgments.rows(model) for judgments in filled.values()).quality(head),
        in_parts=in_parts(together(judgments.rows(model, burnt_in=False) for judgments in filled.values()), head),
        gap_closed={},
        rounds=ran.rounds,
        abandoned=ran.abandoned,
        bytes_sent=ran.bytes_sent,
        model_digest=ran.model_digest,
        privacy=ran.privacy,
        immunity=ran.immunity if model in {LOCAL, SERVED} else None,
    )


def _with_gap(row: Row, local: Row | None, pooled: Row | None, measures: Sequence[str]) -> Row:
    if local is None or pooled is None:
        return row
    return replace(
        row, gap_closed={measure: _closed(row.means[measure], local.means[measure], pooled.means[measure]) for measure in measures}
    )


def _closed(this: float | None, local: float | None, pooled: float | None) -> float | None:
    if this is None or local is None or pooled is None or pooled == local:
        return None
    return (this - local) / (pooled - local)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
