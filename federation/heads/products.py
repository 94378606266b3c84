"""Products as coordinates: a bias per offered product, one weight per (held, offered) pair and per (how many held, offered).

Called by the institution worker, which learns, and the portal, which ranks.
Never needs a customer's factor: a customer is the products held, which stay at the institution."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from federation.heads.features import FeatureSchema
from federation.heads.head import INTERCEPT, Active, FeatureError, Layout, Reason, Vector
from federation.heads.scoring import probability_of, reasons_of
from federation.messages import HeadName

NEGATIVES: Final = 8  # Sampled unheld products per acquisition.


@dataclass(frozen=True, slots=True)
class Product:
    """A row of the catalogue."""

    id: str
    family: str
    title: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A product to recommend, its probability against a sampled alternative, and why."""

    product: Product
    score: float
    reasons: tuple[Reason, ...]


class Catalogue:
    """All products, and the layout of the weights that rank them."""

    def __init__(self, schema: FeatureSchema) -> None:
        """Lay out biases, then pairs, then how many are held, each by offered product in the catalogue's order."""
        self.products: Final = tuple(Product(row["id"], row["family"], row["title"]) for row in schema.declared["products"])
        self._numbers = {product.id: number for number, product in enumerate(self.products)}
        self._holdings_most = int(schema.declared["holdings_most"])
        ids = [product.id for product in self.products]
        names = [INTERCEPT, *(f"{offered}=offered" for offered in ids)]
        names += [f"{offered}=held {held}" for held in ids for offered in ids]
        counts = [f"{count} held" for count in range(self._holdings_most)] + [f"{self._holdings_most} or more held"]
        names += [f"{offered}={count}" for count in counts for offered in ids]
        self.layout = Layout(schema.head, schema.version, tuple(names), schema.prior)

    @classmethod
    def shipped(cls) -> Catalogue:
        """The catalogue of schemas/features/products.toml."""
        return cls(FeatureSchema.shipped(HeadName.PRODUCTS))

    def _number(self, product: str) -> int:
        number = self._numbers.get(product)
        if number is None:
            raise FeatureError(f"{product} is not a product of the catalogue")
        return number

    def _rows(self, held: Collection[str]) -> list[int]:
        """Rows of the (1 + products + counts, products) weight table that apply to these holdings, ascending."""
        numbers = sorted({self._number(product) for product in held})
        return [0, *(1 + number for number in numbers), 1 + len(self.products) + min(len(numbers), self._holdings_most)]

    def encode(self, held: Collection[str], product: str) -> Active:
        """Coordinates of offering `product` to who holds `held`; FeatureError for a product not in the catalogue."""
        first = 1 + self._number(product)
        # A product is never its own reason: cancelled and taken again, it would explain itself.
        return tuple(first + row * len(self.products) for row in self._rows([other for other in held if other != product]))

    def scores(self, vector: Vector, held: Collection[str]) -> Vector:
        """Log-odds of every product of the catalogue, float64[products], held ones included."""
        return self._scored(vector, self._rows(held))

    def _scored(self, vector: Vector, rows: list[int]) -> Vector:
        table = vector[1:].reshape(-1, len(self.products))
        scores: Vector = table[rows].sum(axis=0) + (vector[0] + self.layout.prior)
        return scores

    def rank(self, vector: Vector, held: Collection[str], dismissed: Collection[str] = (), most: int = 3) -> tuple[Offer, ...]:
        """The `most` likeliest products neither held nor dismissed, likeliest first, equal ones in the catalogue's order."""
        rows = self._rows(held)
        scores = self._scored(vector, rows)
        excluded = {self._number(product) for product in (*held, *dismissed)}
        scores[list(excluded)] = -np.inf
        order = np.argsort(-scores, kind="stable")[: min(most, len(self.products) - len(excluded))]
        return tuple(self._offer(vector, rows, number, float(scores[number])) for number in order.tolist())

    def _offer(self, vector: Vector, rows: list[int], number: int, score: float) -> Offer:
        active = [1 + number + row * len(self.products) for row in rows]
        reasons = reasons_of(self.layout, zip(active, vector[active].tolist(), strict=True), most=5)
        return Offer(self.products[number], probability_of(score), reasons)

    def place_of(self, vector: Vector, held: Collection[str], product: str) -> float:
        """Expected place (1 is first) of `product` among the products not held, ties at random; for hit-rate@k."""
        scores = self.scores(vector, held)
        number = self._number(product)
        unheld = np.ones(len(self.products), dtype=bool)
        unheld[[self._number(other) for other in held if other != product]] = False
        rivals = scores[unheld]
        better = int((rivals > scores[number]).sum())
        equal = int((rivals == scores[number]).sum()) - 1
        return 1 + better + equal / 2

    def negatives(self, event_id: str, held: Collection[str], product: str, most: int = NEGATIVES) -> tuple[str, ...]:
        """Up to `most` products neither held nor taken, drawn by the event's id: a replay draws the same."""
        absent = [other.id for other in self.products if other.id not in held and other.id != product]
        return tuple(sorted(absent, key=lambda other: hashlib.blake2b(f"{event_id}\n{other}".encode(), digest_size=8).digest())[:most])

    def lessons(self, event_id: str, held: Sequence[str] | Collection[str], product: str) -> tuple[tuple[Active, bool], ...]:
        """What an acquisition teaches: the product taken, and sampled products not taken."""
        return (
            (self.encode(held, product), True),
            *((self.encode(held, other), False) for other in self.negatives(event_id, held, product)),
        )
