"""The yardstick: River's StandardScaler | LogisticRegression over the events' numbers, alone and over the merged stream.

Called by `course`; the figures stand beside ours under the same labels, delays and burn-in.
Never sees our layout: what an event says is given to the pipeline as it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, TypeAlias

from river.linear_model import LogisticRegression
from river.optim import SGD
from river.preprocessing import StandardScaler

from federation.errors import OwnFault
from federation.heads.behaviour import Behaviour
from federation.heads.fraud import QUANTITIES, quantities
from federation.messages import CardTransaction, CreditApplication, HeadName, OutcomeObserved
from riverbank.arrivals import Arrival
from riverbank.evaluation.judgments import Judgments

RIVER: Final = "river"
_LEARNING_RATE: Final = 0.01
_YES: Final = ("yes", "new", "rural")

Numbers: TypeAlias = dict[str, float]


class _Pipeline:
    """One learner and what it remembers of payments."""

    def __init__(self) -> None:
        self.model = StandardScaler() | LogisticRegression(optimizer=SGD(_LEARNING_RATE))
        self.behaviour = Behaviour()
        self.waiting: dict[str, tuple[str, int, Numbers, float, str]] = {}

    def event(self, institution: str, event: CardTransaction | CreditApplication) -> None:
        """Score an event as it happens."""
        if not event.consented:
            return
        numbers, terminal = self._numbers(event), ""
        if isinstance(event, CardTransaction):
            self.behaviour.observe(event.customer, event.terminal, event.amount, event.occurred_at_ms)
            terminal = event.terminal
        chance = min(max(self.model.predict_proba_one(numbers)[True], 1e-15), 1 - 1e-15)
        self.waiting[event.event_id] = (institution, event.occurred_at_ms, numbers, math.log(chance / (1 - chance)), terminal)

    def outcome(self, outcome: OutcomeObserved, judgments: dict[str, Judgments]) -> None:
        """Learn a label with the numbers as they were."""
        if outcome.subject in self.waiting:
            institution, at_ms, numbers, said, terminal = self.waiting.pop(outcome.subject)
            judgments.setdefault(institution, Judgments()).add(at_ms, {RIVER: said}, positive=outcome.positive)
            self.model.learn_one(numbers, outcome.positive)
            if terminal:
                self.behaviour.label(terminal, outcome.positive, outcome.occurred_at_ms)

    def _numbers(self, event: CardTransaction | CreditApplication) -> Numbers:
        """Money and counts as signed logarithms, what is missing as 0, yes and no as 1 and 0."""
        if isinstance(event, CardTransaction):
            found = dict(zip(QUANTITIES, quantities(event, self.behaviour), strict=True))
            return {name: _signed_log(value or 0.0) for name, value in found.items()}
        answers = {name: float(value in _YES) for name, value in event.categories.items()}
        return {name: _signed_log(value) for name, value in event.numbers.items()} | answers


def run(arrivals: Iterable[Arrival], head: HeadName, *, pooled: bool) -> dict[str, Judgments]:
    """Predictions by institution; OwnFault for products, where a pipeline of numbers has nothing to rank by."""
    if head is HeadName.PRODUCTS:
        raise OwnFault("the plain River pipeline scores risks: leave river-local and river-pooled out for products")
    pipelines: dict[str, _Pipeline] = {}
    judgments: dict[str, Judgments] = {}
    for arrival in arrivals:
        pipeline = pipelines.setdefault("" if pooled else arrival.institution, _Pipeline())
        if isinstance(arrival.message, OutcomeObserved):
            pipeline.outcome(arrival.message, judgments)
        elif isinstance(arrival.message, CardTransaction | CreditApplication):
            pipeline.event(arrival.institution, arrival.message)
    return judgments


def _signed_log(value: float) -> float:
    return math.copysign(math.log1p(abs(value)), value)
