"""Reals as small whole numbers, many in the slots of one big integer; every bound, and the error of every step.

Read by `exchange` and `tables`.
Never rounds, wraps or cuts silently: what does not fit is refused, and that sums fit is proved at import.

A table gives a real for each of KNOTS scores; between two knots the chooser takes their weighted mean in steps of 1/PARTS. A number
is round((value + shift) * per_unit), between 0 and NUMBER_MAX. The error of one row's residual is at most
    interpolation    STEP^2/8 * max|sigma''|        = 0.01203   (max |sigma''| = 1 / (6 sqrt 3))
  + rounded scores   STEP/(2 PARTS) * max|sigma'|   = 0.00196
  + rounded numbers  2^-17                          < 0.00001
and of one row's loss 0.03125 (always upward) + 0.00782 + 2^-13. Adding numbers up is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault, require

Numbers = NDArray[np.int64]
Reals = NDArray[np.float64]

SCORE_MAX: Final = 8.0  # In log-odds; beyond it, default is certain or excluded to one in three thousand.
STEP: Final = 1.0
KNOTS: Final = 17
PARTS: Final = 64  # Between two knots.
NUMBER_MAX: Final = 1 << 17
ROWS_MAX: Final = 1 << 16  # Of one exchange.
SLOT_BITS: Final = 41
STATISTICAL_BITS: Final = 128  # How much longer than what it hides a blinding integer is.

require((KNOTS - 1) * STEP == 2 * SCORE_MAX, "the knots do not span the scores")
# A slot holds twice the sum: the lowest bit stands guard against a carry from the slots below.
require(2 * ROWS_MAX * PARTS * NUMBER_MAX < 1 << SLOT_BITS, "the longest column overflows a slot")

RESIDUAL_ERROR_MAX: Final = STEP**2 / 8 / (6 * math.sqrt(3)) + STEP / (2 * PARTS) / 4 + 2.0**-17


@dataclass(frozen=True, slots=True)
class Scale:
    """How a table's reals become numbers: -shift is the least real."""

    shift: float
    per_unit: int

    def numbers(self, reals: Reals) -> Numbers:
        """round((real + shift) * per_unit); OwnFault for a real that is not finite or does not fit."""
        numbers = np.rint((reals + self.shift) * self.per_unit)
        if not np.all((numbers >= 0) & (numbers <= NUMBER_MAX)):  # NaN is not.
            raise OwnFault("a value does not fit its fixed-point number")
        return numbers.astype(np.int64)

    def real(self, total: int, rows: int) -> float:
        """The sum of `rows` reals whose numbers, times PARTS, add up to `total`."""
        return (total - rows * PARTS * round(self.shift * self.per_unit)) / (PARTS * self.per_unit)


RESIDUALS: Final = Scale(shift=1.0, per_unit=1 << 16)  # Reals from -1 to 1.
LOSSES: Final = Scale(shift=0.0, per_unit=1 << 12)  # From 0 to 32; a loss is at most 2 SCORE_MAX + log 2.

require(2 * RESIDUALS.shift * RESIDUALS.per_unit <= NUMBER_MAX, "a residual does not fit a number")
require((2 * SCORE_MAX + math.log(2)) * LOSSES.per_unit < NUMBER_MAX, "a loss does not fit a number")


def slots_in(modulus_bits: int) -> int:
    """How many slots, with the integer that blinds them, fit below any modulus of that many bits."""
    return (modulus_bits - 2 - STATISTICAL_BITS) // SLOT_BITS


def rows_per_integer(modulus_bits: int) -> int:
    """How many rows one ciphertext carries: a column's sum needs nearly twice as many slots (see `exchange`)."""
    return (slots_in(modulus_bits) + 1) // 2


def knots_of(scores: Reals) -> tuple[Numbers, Numbers]:
    """Per score the knot below it, and how many PARTS of the step it lies above; OwnFault beyond SCORE_MAX."""
    if not np.all(np.abs(scores) <= SCORE_MAX):
        raise OwnFault(f"a score is beyond {SCORE_MAX:g}: its half must be kept within by smaller steps")
    parts = np.rint((scores + SCORE_MAX) * (PARTS / STEP)).astype(np.int64)
    knot = np.minimum(parts // PARTS, KNOTS - 2)
    return knot, parts - knot * PARTS


def knot_scores() -> Reals:
    """The score at each knot."""
    return np.arange(KNOTS, dtype=np.float64) * STEP - SCORE_MAX
