"""What the portal recommends from: customers' profiles, the institution's serving models, feedback already given.

Fed by `web.feed` from the institution's own topics; asked by `web.handlers`.
Never leaves the portal's memory, and never mixes two model versions in one answer: a model is swapped whole."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np

from federation import messages as m
from federation.heads.credit import CreditEncoder
from federation.heads.head import Reason, Vector
from federation.heads.products import Catalogue, Offer
from federation.heads.scoring import explain, predict
from streams import topology
from streams.settings import PurposesSettings

FEEDBACK_REMEMBERED_MAX: Final = 100_000


@dataclass(frozen=True)
class LoadedModel:
    """A serving model, its vector ready to score with."""

    described: m.ServingModel
    vector: Vector


@dataclass(frozen=True)
class Recommendation:
    """An answer: offers, likeliest first, and what they rest on."""

    offers: tuple[Offer, ...]  # None for whom `withheld` says.
    model: m.ServingModel
    known: bool  # False: a customer never heard of, answered as one who holds nothing.
    withheld: bool = False  # The customer does not permit recommendations.


@dataclass(frozen=True)
class Score:
    """How likely an application ends in default, why, and by which model."""

    probability: float
    reasons: tuple[Reason, ...]
    model: m.ServingModel


class Customers:
    """Fold of profiles.v1, consents.v1, serving_models.v1 and feedback.v1 of one institution."""

    def __init__(self, catalogue: Catalogue, purposes: PurposesSettings) -> None:
        """`purposes`: what holds for a customer who has stated nothing."""
        self._catalogue = catalogue
        self._credit = CreditEncoder.shipped()
        self._purposes = purposes
        self._consents: dict[str, m.ConsentsStated] = {}
        self.products = frozenset(product.id for product in catalogue.products)
        self.profiles: dict[str, m.CustomerProfile] = {}
        self.models: dict[m.HeadName, LoadedModel] = {}
        self._feedback: OrderedDict[str, m.FeedbackGiven] = OrderedDict()

    def apply(self, message: m.Message) -> None:
        """Fold one message; a model of another layout is refused with ValueError."""
        if isinstance(message, m.CustomerProfile):
            self.profiles[message.customer] = message
        elif isinstance(message, m.ConsentsStated):
            self._consents[message.customer] = message
        elif isinstance(message, m.FeedbackGiven):
            self.remember(message)
        elif isinstance(message, m.ServingModel):
            ours = {m.HeadName.PRODUCTS: self._catalogue.layout, m.HeadName.CREDIT: self._credit.layout}.get(message.head)
            if ours is not None and message.layout_digest != ours.digest:
                raise ValueError("the serving model's layout is not this portal's: start worker and portal with the same version")
            self.models[message.head] = LoadedModel(message, np.frombuffer(message.vector, dtype="<f8"))

    def forget(self, topic: str, key: str) -> None:
        """A tombstone: the customer's profile is gone, or what he said of his data; with the profile, what feedback he gave."""
        if topic == topology.PROFILES.name:
            self.profiles.pop(key, None)
            for event_id in [event_id for event_id, given in self._feedback.items() if given.customer == key]:
                del self._feedback[event_id]
        elif topic == topology.CONSENTS.name:
            self._consents.pop(key, None)

    def permits(self, customer: str, purpose: m.Purpose) -> bool:
        """Whether a customer's data may be used for a purpose."""
        said = self._consents.get(customer)
        stated = None if said is None or purpose not in (*said.permitted, *said.refused) else purpose in said.permitted
        return self._purposes.of(purpose).permits(stated)

    def remember(self, feedback: m.FeedbackGiven) -> None:
        """Keep the feedback's key, so that the same key again is answered as a duplicate."""
        self._feedback[feedback.event_id] = feedback
        while len(self._feedback) > FEEDBACK_REMEMBERED_MAX:
            self._feedback.popitem(last=False)

    def feedback(self, event_id: str) -> m.FeedbackGiven | None:
        """The feedback given under this key, if any."""
        return self._feedback.get(event_id)

    def recommend(self, customer: str, most: int) -> Recommendation | None:
        """The `most` likeliest products for a customer; None while there is no model."""
        loaded = self.models.get(m.HeadName.PRODUCTS)
        if loaded is None:
            return None
        profile = self.profiles.get(customer)
        if not self.permits(customer, m.Purpose.RECOMMENDATIONS):
            return Recommendation((), loaded.described, profile is not None, withheld=True)
        held, dismissed = (profile.held, profile.dismissed) if profile else ((), ())
        return Recommendation(self._catalogue.rank(loaded.vector, held, dismissed, most), loaded.described, profile is not None)

    def score(self, application: m.CreditApplication) -> Score | None:
        """An application by the model served now, strongest reasons first; None while there is no model. FeatureError as the encoder says."""
        active = self._credit.encode(application)
        loaded = self.models.get(m.HeadName.CREDIT)
        if loaded is None:
            return None
        layout = self._credit.layout
        return Score(predict(layout, loaded.vector, active), explain(layout, loaded.vector, active), loaded.described)
