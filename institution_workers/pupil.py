"""One head as this institution learns it: the federated and the local-only model, what they rest on, how good they are.

Taught by `learner`, rebased by `participation`, read by `preparation` and by what the portal is served.
Never sees an event: coordinates, labels and vectors only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from federation.errors import Broken
from federation.heads.head import Active, Layout, Vector
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
    quality: Mapping[str, PrequentialAuc | PrequentialHitRate]  # By FEDERATED and LOCAL.
    basis: Basis = Basis()
    base: Vector = field(init=False, repr=False)
    contributed: Vector | None = field(default=None, repr=False)  # The federated model when the last contribution was made.
    examples: int = 0  # Learned since the last contribution that was included, or since the start.
    examples_contributed: int = 0  # Of these, in the last contribution.
    learned: int = 0  # Ever.
    clipped: int = 0  # Contributions whose norm was cut.
    losses: tuple[float, float] = (0.0, 0.0)  # Fading log losses, federated and local, in nats.

    def __post_init__(self) -> None:
        """Rest on version 0."""
        self.base = np.zeros(len(self.layout))

    @classmethod
    def new(cls, layout: Layout, *, learning_rate: float) -> Pupil:
        """A pupil that has learned nothing."""
        measure = PrequentialHitRate if layout.head is HeadName.PRODUCTS else PrequentialAuc
        cards = (Scorecard(layout, learning_rate=learning_rate), Scorecard(layout, learning_rate=learning_rate))
        return cls(layout, *cards, {FEDERATED: measure(), LOCAL: measure()})

    @property
    def head(self) -> HeadName:
        """Which head."""
        return self.layout.head

    @property
    def base_digest(self) -> bytes:
        """Digest of the global model it rests on, as RoundOpened names it."""
        return model_digest(self.base)

    def teach(self, active: Active, positive: bool) -> None:
        """Both models take one gradient step."""
        self.federated.learn(active, positive)
        self.local.learn(active, positive)

    def count_example(self) -> None:
        """One more event was learned from, however many steps it took."""
        self.examples += 1
        self.learned += 1

    def note_losses(self, federated: float, local: float, positive: bool) -> None:
        """Let past losses fade and add those of two log-odds, given before the label was learned."""
        kept = math.exp(-1 / LOSS_MEMORY)
        sign = -1.0 if positive else 1.0
        self.losses = (self.losses[0] * kept + _softplus(sign * federated), self.losses[1] * kept + _softplus(sign * local))

    # --- rounds -------------------------------------------------------------------------------------------------
    def contribute(self) -> tuple[Vector, int]:
        """(federated model - base, examples behind it), and remember that this much has been said."""
        self.contributed = self.federated.to_vector()
        self.examples_contributed = self.examples
        return self.contributed - self.base, self.examples

    def rebase(self, model: Vector, basis: Basis, *, included: bool) -> None:
        """Rest on a new global model and keep, on top of it, what it does not contain.

        Included: new + (now - as contributed), because the sum has the rest. Not included: new + (now - old base).
        ValueError for a model of another length or not finite.
        """
        adopted = checked_vector(model, self.layout)
        known = self.contributed if included else self.base
        if known is None:
            raise Broken("a model includes a contribution that was never made")
        self.federated.from_vector(adopted + (self.federated.to_vector() - known))
        if included:
            self.examples -= self.examples_contributed
        self.base = adopted
        self.basis = basis
        self.contributed, self.examples_contributed = None, 0

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
        return [b.version, b.epoch, b.round, self.examples, self.examples_contributed, self.learned, self.clipped, *self.losses]

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
        version, epoch, round_, self.examples, self.examples_contributed, self.learned, self.clipped = map(int, numbers[:7])
        self.basis = Basis(version, epoch, round_)
        self.losses = (numbers[7], numbers[8])


def _softplus(margin: float) -> float:
    """ln(1 + e^margin), without overflow."""
    return max(margin, 0.0) + math.log1p(math.exp(-abs(margin)))
