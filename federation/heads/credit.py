"""Credit applications as coordinates: one bin per feature, and products of declared pairs of features.

Called by the institution worker and the portal.
Never guesses: a name the schema does not know or a value outside its range is refused."""

from __future__ import annotations

from federation.heads.features import Bins, Choices, FeatureSchema
from federation.heads.head import INTERCEPT, Active, FeatureError, Layout
from federation.messages import AttributesObserved, CreditApplication, HeadName


class CreditEncoder:
    """Turns an application into the coordinates that are 1 for it: one per feature given, one per declared pair given.

    A missing feature has no coordinate: it scores like the average, and does not learn as a second intercept.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        """Lay out the schema's bins and values, in the schema's order."""
        self._numbers = {bins.name: bins for bins in schema.numbers}
        self._categories = {choices.name: choices for choices in schema.categories}
        self._ignored = schema.ignored
        names = [INTERCEPT]
        spans: dict[str, tuple[int, tuple[str, ...]]] = {}  # feature -> first coordinate, values with a coordinate
        features: tuple[Bins | Choices, ...] = (*schema.numbers, *schema.categories)
        for feature in features:
            spans[feature.name] = (len(names), feature.values)
            names += [f"{feature.name}={value}" for value in feature.values]
        self._pairs: list[tuple[str, str, int, int]] = []  # Names, first coordinate, number of the second's values.
        for left, right in schema.pairs:
            (_, left_values), (_, right_values) = spans[left], spans[right]
            self._pairs.append((left, right, len(names), len(right_values)))
            names += [f"{left} and {right}={one} and {two}" for one in left_values for two in right_values]
        self._firsts = {name: first for name, (first, _) in spans.items()}
        self.layout = Layout(schema.head, schema.version, tuple(names), schema.prior)

    @classmethod
    def shipped(cls) -> CreditEncoder:
        """The encoder of schemas/features/credit.toml."""
        return cls(FeatureSchema.shipped(HeadName.CREDIT))

    def encode(self, application: CreditApplication | AttributesObserved) -> Active:
        """Ascending coordinates; FeatureError for an unknown name or a value outside its range."""
        found: dict[str, int | None] = {}  # feature -> place of its bin or value
        for name, number in application.numbers.items():
            bins = self._numbers.get(name)
            if bins is not None:
                found[name] = bins.place_of(number)
            elif name not in self._ignored:
                raise FeatureError(f"{name} is not a numeric feature of the credit schema")
        for name, value in application.categories.items():
            choices = self._categories.get(name)
            if choices is not None:
                found[name] = choices.place_of(value)
            elif name not in self._ignored:
                raise FeatureError(f"{name} is not a categorical feature of the credit schema")
        active = [self._firsts[name] + place for name, place in found.items() if place is not None]
        for left, right, first, width in self._pairs:
            one, two = found.get(left), found.get(right)
            if one is not None and two is not None:
                active.append(first + one * width + two)
        return tuple(sorted(active))
