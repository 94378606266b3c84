"""One head as this institution learns it: the federated and the local-only model, what they rest on, how good they are.

Taught by `learner`, rebased by `participation`, read by `preparation` and by what the portal is served.
Never sees an event: coordinates, labels and vectors only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from federation.errors import Broken
from federation.heads.head import Active, Layout, Lesson, Vector
from federation.heads.prequential import PrequentialAuc, PrequentialHitRate
from federation.heads.scorecard import Scorecard
from federation.heads.scoring import checked_vector
from federation.messages import HeadName
from federation.rounds.effects import model_digest

LOSS_MEMORY: Final = 1000  # Labels after which a past loss counts 1/e in the mixture.

FEDERATED: Final = "federated"
LOCAL: Final = "local"
BASE: Final = "base"
CONTRIBUTED: Final = "contributed"


@dataclass(frozen=True, slots=True)
class Basis:
    """The global model that the federated model rests on; version 0 is the zero vector, which nobody published."""

    version: int = 0
    epoch: int = 0
    round: int = 0


@dataclass
class Pupil:
    """The learning state of one head. Its vectors and counts are its whole state: saved and restored, it goes on bit for bit."""

    layout: Layout
    federated: Scorecard
    local: Scorecard
    _apart: Scorecard = field(repr=False)  # Holds the global model while customers' updates are made; no state of its own.
    quality: Mapping[str, PrequentialAuc | PrequentialHitRate]  # By FEDERATED and LOCAL.
    basis: Basis = Basis()
    base: Vector = field(init=False, repr=False)  # What the federated model was when the federation had last heard all of it.
    contributed: Vector | None = field(default=None, repr=False)  # What it was when the last contribution was made.
    contributed_to: tuple[int, int] = (0, 0)  # Epoch and round of the last contribution.
    learned: int = 0  # Ever.
    clipped: int = 0  # Customers' updates whose norm was cut.
    losses: tuple[float, float] = (0.0, 0.0)  # Fading log losses, federated and local, in nats.

    def __post_init__(self) -> None:
        """Rest on version 0."""
        self.base = np.zeros(len(self.layout))

    @classmethod
    def new(cls, layout: Layout, *, learning_rate: float) -> Pupil:
        """A pupil that has learned nothing."""
        measure = PrequentialHitRate if layout.head is HeadName.PRODUCTS else PrequentialAuc
        federated, local, apart = (Scorecard(layout, learning_rate=learning_rate) for _ in range(3))
        return cls(layout, federated, local, apart, {FEDERATED: measure(), LOCAL: measure()})

    @property
    def head(self) -> HeadName:
        """Which head."""
        return self.layout.head

    @property
    def base_digest(self) -> bytes:
        """Digest of the global model it rests on, as RoundOpened names it; no model's between `acknowledge` and `adopt`."""
        return model_digest(self.base)

    def teach(self, active: Active, positive: bool) -> None:
        """Both models take one gradient step."""
        self.federated.learn(active, positive)
        self.local.learn(active, positive)

    def count_example(self) -> None:
        """One more event was learned from, however many steps it took."""
        self.learned += 1

    def log_odds(self, active: Active) -> dict[str, float]:
        """Of an event, by FEDERATED and LOCAL."""
        return {FEDERATED: self.federated.log_odds(active), LOCAL: self.local.log_odds(active)}

    def models(self) -> dict[str, Vector]:
        """The weights, by FEDERATED and LOCAL."""
        return {FEDERATED: self.federated.to_vector(), LOCAL: self.local.to_vector()}

    def note_losses(self, federated: float, local: float, positive: bool) -> None:
        """Let past losses fade and add those of two log-odds, given before the label was learned."""
        kept = math.exp(-1 / LOSS_MEMORY)
        sign = -1.0 if positive else 1.0
        self.losses = (self.losses[0] * kept + _softplus(sign * federated), self.losses[1] * kept + _softplus(sign * local))

    # --- rounds -------------------------------------------------------------------------------------------------
    def updates(self, customers: Iterable[Iterable[Lesson]]) -> list[dict[int, float]]:
        """What each customer's lessons alone change in the global model rested on: coordinate -> difference, one per customer.

        Each starts at the global model, not at what the customer before has taught: else nobody could say how much of a
        contribution is his, and how much of it to hide.
        """
        self._apart.from_vector(self.base)
        return [self._apart.learn_apart(lessons) for lessons in customers]

    def contribute(self, epoch: int, round_: int) -> None:
        """Remember that what has been learned until now was said in this round."""
        self.contributed = self.federated.to_vector()
        self.contributed_to = (epoch, round_)

    def acknowledge(self, epoch: int, round_: int, *, included: bool) -> None:
        """A round ended in a model: from now on `base` is as much of our learning as the federation has.

        Included: what it was when we contributed. Not included: as before. Broken if a model is said to include what this
        pupil never contributed.
        """
        if included:
            if self.contributed is None or self.contributed_to != (epoch, round_):
                raise Broken(f"the {self.head.value} model of round {round_} includes a contribution that is not ours")
            self.base = self.contributed
        self.contributed, self.contributed_to = None, (0, 0)

    def adopt(self, model: Vector, basis: Basis) -> None:
        """Rest on a global model and keep on top of it what the federation does not have: new + (now - base).

        Several models may be acknowledged before the newest is adopted. ValueError for a model of another length or not finite.
        """
        adopted = checked_vector(model, self.layout)
        self.federated.from_vector(adopted + (self.federated.to_vector() - self.base))
        self.base, self.basis = adopted, basis

    # --- serving ------------------------------------------------------------------------------------------------
    def trust(self) -> float:
        """Weight of the federated model in what is served: its recent likelihood over the sum of both.

        Dynamic model averaging with forgetting (Raftery, Karny and Ettler, Technometrics 2010): where the federation does not
        help, an institution falls back on its own model.
        """
        return 1.0 / (1.0 + math.exp(min(self.losses[0] - self.losses[1], 700.0)))

    def serving(self) -> Vector:
        """The mixture the portal scores with, float64[len(layout)]: log-odds are mixed, so points still add up."""
        weight = self.trust()
        return weight * self.federated.to_vector() + (1.0 - weight) * self.local.to_vector()

    def quality_of(self, kind: str) -> float:
        """Prequential AUC or HR@3 of the FEDERATED or LOCAL model; -1 until defined."""
        measure = self.quality[kind]
        return measure.auc if isinstance(measure, PrequentialAuc) else measure.rate

    # --- state --------------------------------------------------------------------------------------------------
    def vectors(self) -> dict[str, Vector | None]:
        """What to save, by kind."""
        return {FEDERATED: self.federated.to_vector(), LOCAL: self.local.to_vector(), BASE: self.base, CONTRIBUTED: self.contributed}

    def numbers(self) -> list[float]:
        """What to save besides vectors and qualities. Counts are exact up to 2^53."""
        b = self.basis
        return [b.version, b.epoch, b.round, *self.contributed_to, self.learned, self.clipped, *self.losses]

    def restore(self, vectors: Mapping[str, Vector | None], numbers: list[float]) -> None:
        """Take what `vectors` and `numbers` gave; ValueError if it belongs to another layout."""
        federated, local, base = (vectors[kind] for kind in (FEDERATED, LOCAL, BASE))
        if federated is None or local is None or base is None or len(numbers) != 9:
            raise ValueError("the saved state is not whole")
        self.federated.from_vector(federated)
        self.local.from_vector(local)
        self.base = checked_vector(base, self.layout)
        contributed = vectors.get(CONTRIBUTED)
        self.contributed = None if contributed is None else checked_vector(contributed, self.layout)
        self.basis = Basis(*map(int, numbers[:3]))
        self.contributed_to = (int(numbers[3]), int(numbers[4]))
        self.learned, self.clipped = map(int, numbers[5:7])
        self.losses = (numbers[7], numbers[8])


def _softplus(margin: float) -> float:
    """ln(1 + e^margin), without overflow."""
    return max(margin, 0.0) + math.log1p(math.exp(-abs(margin)))
