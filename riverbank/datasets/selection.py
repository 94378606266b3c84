"""Which data set feeds which head, how much of it, and what the institutions are called.

Called by `riverbank.feed` and by the demo, which need the names before anything is read.
Never opens a file before a stream is asked for, except to learn the lenders' names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from federation.messages import HeadName
from riverbank.arrivals import INSTITUTIONS, Arrival, Source
from riverbank.datasets import berka, handbook, santander, sba, taiwan

FOLDERS: Final = {
    "berka": "berka",
    "sba": "credit_sba",
    "taiwan": "credit_taiwan",
    "handbook": "fraud_handbook",
    "santander": "rec_santander",
    "ml100k": "rec_ml100k",
}


class Credit(StrEnum):
    """Where credit applications come from."""

    SBA = "sba"
    TAIWAN = "taiwan"
    BERKA = "berka"


class Products(StrEnum):
    """Where product acquisitions come from."""

    SANTANDER = "santander"
    BERKA = "berka"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A choice of data sets under `folder` (`--data`); the defaults are a slice that replays in a minute or two (docs/data.md)."""

    folder: Path
    credit: Credit = Credit.SBA
    products: Products = Products.SANTANDER
    seed: int = 1  # Orders what the files leave unordered.
    institutions: int = len(INSTITUTIONS)
    fraud_days: int | None = 42
    fraud_payments: int | None = 60_000
    # The file's own delays are years: all 2004 to 2006 applications come before all their outcomes, and nothing is learned in time.
    sba_outcome_days_max: int | None = 30
    sba_with_term: bool = True

    def names(self) -> tuple[str, ...]:
        """The institutions: the largest lenders where the credit data name them, invented ones otherwise; largest first."""
        if self.credit is Credit.SBA:
            return tuple(sba.lenders(self.folder / FOLDERS["sba"], self.institutions).values())
        return tuple(INSTITUTIONS[n] if n < len(INSTITUTIONS) else f"institution-{n + 1}" for n in range(self.institutions))

    def sources(self) -> dict[HeadName, Source]:
        """A stream per head; OwnFault, with a sentence, if a file is missing."""
        names = self.names()

        def credit(refused: Counter[str]) -> Iterator[Arrival]:
            folder = self.folder / FOLDERS[self.credit.value]
            if self.credit is Credit.SBA:
                lenders = sba.lenders(folder, self.institutions)
                return sba.arrivals(folder, refused, lenders, outcome_days_max=self.sba_outcome_days_max, with_term=self.sba_with_term)
            adapter = taiwan.arrivals if self.credit is Credit.TAIWAN else berka.credit_arrivals
            return adapter(folder, refused, names)

        def fraud(refused: Counter[str]) -> Iterator[Arrival]:
            folder = self.folder / FOLDERS["handbook"]
            return handbook.arrivals(folder, refused, names, days=self.fraud_days, payments=self.fraud_payments)

        def products(refused: Counter[str]) -> Iterator[Arrival]:
            adapter = santander.arrivals if self.products is Products.SANTANDER else berka.product_arrivals
            return adapter(self.folder / FOLDERS[self.products.value], refused, names, seed=self.seed)

        return {HeadName.CREDIT: credit, HeadName.FRAUD: fraud, HeadName.PRODUCTS: products}
