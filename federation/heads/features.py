"""Feature schemas: how raw values become coordinates, declared in `schemas/features/*.toml`, the same for every institution.

Used by `credit`, `fraud` and `products`.
Never looks at events to choose a bin: an edge derived from one institution's customers would tell about them."""

from __future__ import annotations

import itertools
import math
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from federation.errors import require
from federation.heads.head import FeatureError
from federation.messages import HeadName

MISSING: Final = "missing"
OTHER: Final = "other"


@dataclass(frozen=True)
class Bins:
    """A numeric feature: bin i holds edges[i-1] <= value < edges[i]; a value outside [least, most] is refused."""

    name: str
    edges: tuple[float, ...]
    least: float
    most: float
    values: tuple[str, ...] = field(init=False)  # Bin labels in order, the missing bin last.

    def __post_init__(self) -> None:
        """Raise Broken unless the edges ascend strictly within the range."""
        require(
            all(low < high for low, high in zip((self.least, *self.edges), (*self.edges, math.inf), strict=True))
            and (not self.edges or self.edges[-1] <= self.most < math.inf),
            f"{self.name}: edges ascend strictly within least..most",
        )
        texts = [f"{edge:g}" for edge in self.edges]
        middle = [f"{low} to {high}" for low, high in itertools.pairwise(texts)]
        ends = (f"below {texts[0]}", f"from {texts[-1]}") if texts else ("any", "")
        object.__setattr__(self, "values", tuple(filter(None, (ends[0], *middle, ends[1], MISSING))))

    def bin_of(self, value: float) -> int:
        """The bin's number; FeatureError if the value is not a number within the range."""
        if not self.least <= value <= self.most:  # NaN fails both.
            raise FeatureError(f"{self.name} is {value:g}, outside {self.least:g} to {self.most:g}")
        return bisect_right(self.edges, value)


@dataclass(frozen=True)
class Choices:
    """A categorical feature: its known values, then "other" and "missing"."""

    name: str
    known: tuple[str, ...]
    values: tuple[str, ...] = field(init=False)
    numbers: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Raise Broken if a value is named twice."""
        object.__setattr__(self, "values", (*self.known, OTHER, MISSING))
        object.__setattr__(self, "numbers", {value: number for number, value in enumerate(self.known)})
        require(len(set(self.values)) == len(self.values), f"{self.name}: a value is named twice")

    def number_of(self, value: str) -> int:
        """The value's number; an unknown value is "other"."""
        return self.numbers.get(value, len(self.known))


@dataclass(frozen=True)
class FeatureSchema:
    """A parsed schema file: its version, features in the file's order, and whatever else the head declares."""

    head: HeadName
    version: int
    numbers: tuple[Bins, ...]
    categories: tuple[Choices, ...]
    pairs: tuple[tuple[str, str], ...]
    declared: dict[str, Any]

    @classmethod
    def parsed(cls, text: str) -> FeatureSchema:
        """From TOML text; Broken if it contradicts itself (the schema is ours, a bad one is a bug)."""
        declared = tomllib.loads(text)
        numbers = tuple(
            Bins(row["name"], tuple(map(float, row["edges"])), float(row["least"]), float(row["most"]))
            for row in declared.get("numbers", ())
        )
        categories = tuple(Choices(row["name"], tuple(row["known"])) for row in declared.get("categories", ()))
        names = [*(bins.name for bins in numbers), *(choices.name for choices in categories)]
        require(len(set(names)) == len(names), "a feature is declared twice")
        pairs = tuple((row["of"][0], row["of"][1]) for row in declared.get("pairs", ()))
        require(all(name in names for pair in pairs for name in pair), "a pair names an undeclared feature")
        return cls(HeadName(declared["head"]), int(declared["version"]), numbers, categories, pairs, declared)

    @classmethod
    def shipped(cls, head: HeadName) -> FeatureSchema:
        """The schema in the package `schemas`."""
        schema = cls.parsed((files("schemas") / "features" / f"{head.value}.toml").read_text(encoding="utf-8"))
        require(schema.head is head, f"{head.value}.toml is the schema of {schema.head.value}")
        return schema
