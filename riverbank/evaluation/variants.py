"""What is compared on a data set, and how a person names it.

Parsed by `command`, run by `course`.
Never runs anything."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from federation.errors import OwnFault
from federation.messages import GroupRule
from riverbank.evaluation.grouped import Grouped

USUAL: Final = "river-local,river-pooled,local,federated-plain,pooled"
_FEDERATED: Final = re.compile(
    r"federated(?P<masked>-masked)?(?:-plain|-noise=(?P<noise>[0-9.]+)|-dp=(?P<epsilon>[0-9.]+))?"
    r"(?:-groups=(?P<groups>\d+)-(?P<rule>mean|median|trimmed=(?P<trim>\d+)))?(?:-poisoned=(?P<poisoned>\d+))?"
)


class Who(StrEnum):
    """Who learns from whom."""

    LOCAL = "local"  # Everybody alone.
    FEDERATED = "federated"  # Everybody alone, and in rounds with the others.
    POOLED = "pooled"  # One learner sees all events: what nobody may do.
    RIVER_LOCAL = "river-local"  # As LOCAL, with a plain River pipeline.
    RIVER_POOLED = "river-pooled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to learn. Noise and masks are a federation's only."""

    name: str
    who: Who
    masked: bool = False  # The whole protocol, instead of the same sums in the open.
    noise_multiplier: float = 0.0  # As streams.settings.HeadSettings.
    epsilon: float | None = None  # Given, it makes the noise: what all contributions of a customer may cost, at the set's delta.
    grouped: Grouped | None = None  # Groups, or poisoners; in the open only.

    @classmethod
    def parsed(cls, text: str) -> Variant:
        """From its name; OwnFault says how names are written."""
        if text in set(Who) - {Who.FEDERATED}:
            return cls(name=text, who=Who(text))
        found = _FEDERATED.fullmatch(text)
        if found is None or text == "federated":
            raise OwnFault(
                f"{text!r} is no variant: write local, pooled, river-local, river-pooled, federated-plain, federated-masked, "
                "federated-noise=0.3, federated-dp=8, federated-masked-noise=0.3 or federated-masked-dp=8; in the open also with "
                "-groups=5-median, -groups=5-trimmed=1, -groups=5-mean or -poisoned=1 behind it, in this order"
            )
        noise, epsilon = (None if found[name] is None else _number(text, found[name]) for name in ("noise", "epsilon"))
        return cls(
            name=text,
            who=Who.FEDERATED,
            masked=found["masked"] is not None,
            noise_multiplier=noise or 0.0,
            epsilon=epsilon,
            grouped=_grouped(text, found),
        )


def _grouped(text: str, found: re.Match[str]) -> Grouped | None:
    if found["groups"] is None and found["poisoned"] is None:
        return None
    if found["masked"] is not None:
        raise OwnFault(f"{text!r}: groups and poisoners are evaluated in the open")
    rule = {"mean": GroupRule.MEAN, "median": GroupRule.MEDIAN}.get(found["rule"] or "mean", GroupRule.TRIMMED_MEAN)
    grouped = Grouped(groups=int(found["groups"] or 1), rule=rule, trim=int(found["trim"] or 0), poisoned=int(found["poisoned"] or 0))
    if grouped.groups < 1 or (rule is GroupRule.TRIMMED_MEAN) != (grouped.trim > 0):
        raise OwnFault(f"{text!r}: at least one group, and a trim of at least 1")
    return grouped


def _number(text: str, written: str) -> float:
    try:
        number = float(written)
    except ValueError:
        number = 0.0
    if not (math.isfinite(number) and number > 0):
        raise OwnFault(f"{text!r}: noise (a multiple of what one customer can change) and epsilon are numbers above 0")
    return number


def variants(text: str) -> tuple[Variant, ...]:
    """Comma-separated names; OwnFault for a name that is none, or one given twice."""
    found = tuple(Variant.parsed(name.strip()) for name in text.split(","))
    if len({variant.name for variant in found}) != len(found):
        raise OwnFault(f"{text!r} names a variant twice")
    return found
