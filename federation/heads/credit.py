"""Credit applications as coordinates: one bin per feature, and products of declared pairs of features.

Called by the institution worker and the portal.
Never guesses: a name the schema does not know or a value outside its range is refused."""

from __future__ import annotations

from federation.heads.features import Bins, Choices, FeatureSchema
from federation.heads.head import INTERCEPT, Active, FeatureError, Layout
from federation.messages import CreditApplication, HeadName


class CreditEncoder:
    """Turns an application into the coordinates that are 1 for it: one per feature, one per declared pair."""

    def __init__(self, schema: FeatureSchema) -> None:
        """Lay out the schema's bins and values, in the schema's order."""
        self._numbers: dict[str, tuple[int, Bins]] = {}
        self._categories: dict[str, tuple[int, Choices]] = {}
        names = [INTERCEPT]
        spans: dict[str, tuple[int, tuple[str, ...]]] = {}  # feature -> first coordinate, values
        for bins in schema.numbers:
            self._numbers[bins.name] = (len(names), bins)
            spans[bins.name] = (len(names), bins.values)
            names += [f"{bins.name}={value}" for value in bins.values]
        for choices in schema.categories:
            self._categories[choices.name] = (len(names), choices)
            spans[choices.name] = (len(names), choices.values)
            names += [f"{choices.name}={value}" for value in choices.values]
        self._features = tuple((name, first + len(values) - 1) for name, (first, values) in spans.items())  # (name, missing)
        self._pairs: list[tuple[int, int, int, int, int]] = []  # positions of both features, their firsts, and base
        self._pair_widths: list[int] = []
        positions = {name: position for position, name in enumerate(spans)}
        for left, right in schema.pairs:
            (left_first, left_values), (right_first, right_values) = spans[left], spans[right]
            self._pairs.append((positions[left], positions[right], left_first, right_first, len(names)))
            self._pair_widths.append(len(right_values))
            names += [f"{left} and {right}={one} and {two}" for one in left_values for two in right_values]
        self.layout = Layout(schema.head, schema.version, tuple(names))

    @classmethod
    def shipped(cls) -> CreditEncoder:
        """The encoder of schemas/features/credit.toml."""
        return cls(FeatureSchema.shipped(HeadName.CREDIT))

    def encode(self, application: CreditApplication) -> Active:
        """Ascending coordinates; FeatureError for an unknown name or a value outside its range."""
        found: dict[str, int] = {}
        for name, number in application.numbers.items():
            if name not in self._numbers:
                raise FeatureError(f"{name} is not a numeric feature of the credit schema")
            first, bins = self._numbers[name]
            found[name] = first + bins.bin_of(number)
        for name, value in application.categories.items():
            if name not in self._categories:
                raise FeatureError(f"{name} is not a categorical feature of the credit schema")
            first, choices = self._categories[name]
            found[name] = first + choices.number_of(value)
        active = [found.get(name, missing) for name, missing in self._features]
        active += [
            base + (active[left] - left_first) * width + active[right] - right_first
            for (left, right, left_first, right_first, base), width in zip(self._pairs, self._pair_widths, strict=True)
        ]
        return tuple(active)
