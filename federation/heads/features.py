"""Feature schemas: how raw values become coordinates, declared in `schemas/features/*.toml`, the same for every institution.

Used by `credit`, `fraud` and `products`.
Never looks at events to choose a bin: an edge derived from one institution's customers would tell about them."""

from __future__ import annotations

import itertools
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from federation.errors import require
from federation.heads.head import FeatureError
from federation.messages import HeadName

OTHER: Final = "other"


@dataclass(frozen=True)
class Bins:
    """A numeric feature: bin i holds edges[i-1] <= value < edges[i]; a value outside [least, most] is refused.

    The bin of the value `usual` has no coordinate, so `values` and places count the other bins only.
    """

    name: str
    edges: tuple[float, ...]
    least: float
    most: float
    usual: float | None = None
    values: tuple[str, ...] = field(init=False)
    _places: tuple[int | None, ...] = field(init=False, repr=False)  # Bin -> place among those with a coordinate.

    def __post_init__(self) -> None:
        """Raise Broken unless the edges ascend strictly within the range and leave a bin that is not the usual one."""
        limits = (self.least, *self.edges, self.most)
        require(
            self.edges and all(low < high for low, high in itertools.pairwise(limits)), f"{self.name}: edges do not ascend within the range"
        )
        texts = [f"{edge:.12g}" for edge in self.edges]
        labels = [f"below {texts[0]}", *(f"{low} to {high}" for low, high in itertools.pairwise(texts)), f"from {texts[-1]}"]
        silent = None
        if self.usual is not None:
            require(self.least <= self.usual <= self.most, f"{self.name}: the usual value is outside the range")
            silent = bisect_right(self.edges, self.usual)
        scored = [number for number in range(len(labels)) if number != silent]
        places: list[int | None] = [None] * len(labels)
        for place, number in enumerate(scored):
            places[number] = place
        object.__setattr__(self, "values", tuple(labels[number] for number in scored))
        object.__setattr__(self, "_places", tuple(places))

    def place_of(self, value: float) -> int | None:
        """The place of the value's bin in `values`, None for the usual one; FeatureError unless it is a number in the range."""
        if not self.least <= value <= self.most:  # NaN is not.
            raise FeatureError(f"{self.name} is {value:g}, outside {self.least:g} to {self.most:g}")
        return self._places[bisect_right(self.edges, value)]


@dataclass(frozen=True)
class Choices:
    """A categorical feature: its known values, then "other"."""

    name: str
    known: tuple[str, ...]
    values: tuple[str, ...] = field(init=False)
    numbers: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Raise Broken if a value is named twice."""
        object.__setattr__(self, "values", (*self.known, OTHER))
        object.__setattr__(self, "numbers", {value: number for number, value in enumerate(self.known)})
        require(len(set(self.values)) == len(self.values), f"{self.name}: a value is named twice")

    def place_of(self, value: str) -> int:
        """The value's place in `values`; an unknown value is "other"."""
        return self.numbers.get(value, len(self.known))


@dataclass(frozen=True)
class FeatureSchema:
    """A parsed schema file: its version, features in the file's order, and whatever else the head declares."""

    head: HeadName
    version: int
    prior: float  # Log-odds before anything is learned.
    numbers: tuple[Bins, ...]
    categories: tuple[Choices, ...]
    pairs: tuple[tuple[str, str], ...]
    ignored: frozenset[str]  # Known names of features that have no coordinate.
    declared: dict[str, Any]

    @classmethod
    def parsed(cls, text: str) -> FeatureSchema:
        """From TOML text; Broken if it contradicts itself (the schema is ours, a bad one is a bug)."""
        declared = tomllib.loads(text)
        numbers = tuple(
            Bins(name, tuple(map(float, row["edges"])), float(row["least"]), float(row["most"]), row.get("usual"))
            for row in declared.get("numbers", ())
            for name in row["names"]
        )
        categories = tuple(Choices(row["name"], tuple(row["known"])) for row in declared.get("categories", ()))
        names = [*(bins.name for bins in numbers), *(choices.name for choices in categories)]
        require(len(set(names)) == len(names), "a feature is declared twice")
        pairs = tuple((row["of"][0], row["of"][1]) for row in declared.get("pairs", ()))
        require(all(name in names for pair in pairs for name in pair), "a pair names an undeclared feature")
        ignored = frozenset(name for kind in declared.get("ignored", {}).values() for name in kind)
        require(ignored.isdisjoint(names), "a feature is both declared and ignored")
        head, version, prior = HeadName(declared["head"]), int(declared["version"]), float(declared["prior_log_odds"])
        return cls(head, version, prior, numbers, categories, pairs, ignored, declared)

    @classmethod
    def shipped(cls, head: HeadName) -> FeatureSchema:
        """The schema in the package `schemas`."""
        schema = cls.parsed((files("schemas") / "features" / f"{head.value}.toml").read_text(encoding="utf-8"))
        require(schema.head is head, f"{head.value}.toml is the schema of {schema.head.value}")
        return schema
