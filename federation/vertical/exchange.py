"""The one primitive: the owner's numbers go under encryption, the helper adds up those it chooses, the sums are for the helper alone.

Called by `bank` and `partner`, each in both roles.
Never shows the owner what was chosen or summed, nor the helper anything but the sums of its columns.

The owner has, for every row, a number in each of several sets; the helper chooses for every row a mean of one or two of them and
wants, for each of its columns (sets of rows), the sum over its rows.

1. Owner: for each set, the numbers of k rows go into the slots of one Paillier plaintext (row s of the k at slot s), encrypted.
2. Helper: for each column and slot s, multiply the chosen ciphertexts of the rows that lie in slot s; shift that product by k-1-s
   slots; multiply over s. So slot k-1 holds the column's sum; the other 2k-2 slots hold sums of no meaning. Add an integer uniform over
   all slots and STATISTICAL_BITS beyond, re-randomise, send.
3. Owner: decrypt, and give back slot k-1 alone. To the owner it is uniform, as is every other bit, up to 2^-128.
4. Helper: subtract its own blinding.

The blinding has no lowest bit in slot k-1, and sums are doubled, so a carry from the slots below touches only that bit, which the
owner drops: the sums are exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault, PeerFault
from federation.secagg.bigint import power, product, shifted_sums
from federation.secagg.keys import Entropy, drawn
from federation.secagg.paillier import numbers_from_bytes, numbers_to_bytes
from federation.vertical.encryption import HeldKey, PeerKey
from federation.vertical.fixed_point import (
    NUMBER_MAX,
    PARTS,
    ROWS_MAX,
    SLOT_BITS,
    STATISTICAL_BITS,
    Numbers,
    rows_per_integer,
    slots_in,
)

COLUMNS_MAX: Final = 4096
VALUE_BYTES: Final = 5  # SLOT_BITS - 1 bits.

Column = NDArray[np.intp]
"""The rows of a column, ascending."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Per row: PARTS - above parts of the number in set `low`, `above` parts of that in set `low + 1`."""

    low: Numbers
    above: Numbers


@dataclass(frozen=True, slots=True)
class Blinded:
    """What the helper sends, and what it must remember to read the answer."""

    ciphertexts: bytes = field(repr=False)
    blinds: tuple[int, ...] = field(repr=False)


def encrypt_numbers(key: HeldKey, numbers: Numbers, *, entropy: Entropy) -> bytes:
    """Owner, step 1: `numbers` int64[sets, rows], each 0 to NUMBER_MAX, up to ROWS_MAX rows; the ciphertexts, set after set."""
    sets, rows = numbers.shape
    if not 1 <= rows <= ROWS_MAX or sets < 1 or numbers.min() < 0 or numbers.max() > NUMBER_MAX:
        raise OwnFault("the numbers of an exchange are out of their bounds")
    width = _width(key.bits, rows)
    plains = (_packed(one[first : first + width].tolist()) for one in numbers for first in range(0, rows, width))
    return numbers_to_bytes(key, [key.encrypt(plain, entropy=entropy) for plain in plains])


def sum_columns(
    peer: PeerKey, ciphertexts: bytes, sets: int, choice: Choice, columns: Sequence[Column], *, entropy: Entropy, accused: str
) -> Blinded:
    """Helper, step 2; PeerFault "bad_ciphertext" for another number of ciphertexts than sets and rows make, or what is none.

    Every column has at least one row, and all rows of `choice` belong to this exchange.
    """
    rows = len(choice.low)
    if not 1 <= len(columns) <= COLUMNS_MAX or any(not len(column) for column in columns):
        raise OwnFault(f"an exchange has 1 to {COLUMNS_MAX} columns, none of them empty")
    key = peer.key
    width = _width(key.bits, rows)
    groups = -(-rows // width)
    packed = numbers_from_bytes(key, ciphertexts, sets * groups, accused=accused)
    chosen = _chosen(packed, groups, width, choice, key.square)
    slots = 2 * width - 1
    sums, blinds = [], []
    for column in columns:
        by_slot: defaultdict[int, list[int]] = defaultdict(list)
        for row in column.tolist():
            by_slot[row % width].append(chosen[row])
        blind = _blind(slots * SLOT_BITS + STATISTICAL_BITS, entropy) & ~(1 << (width - 1) * SLOT_BITS)
        total = shifted_sums((by_slot[slot] for slot in range(width)), SLOT_BITS, key.square)
        sums.append(peer.rerandomised(total, blind, entropy=entropy))
        blinds.append(_slot(blind, width))
    return Blinded(numbers_to_bytes(key, sums), tuple(blinds))


def open_sums(key: HeldKey, ciphertexts: bytes, rows: int, *, accused: str) -> bytes:
    """Owner, step 3: the blinded sums, VALUE_BYTES each; PeerFault "bad_ciphertext" for what is no ciphertext."""
    count, rest = divmod(len(ciphertexts), key.ciphertext_bytes)
    if rest or not 1 <= count <= COLUMNS_MAX:
        raise PeerFault("bad_ciphertext", f"{len(ciphertexts)} bytes where 1 to {COLUMNS_MAX} ciphertexts were due", accused=accused)
    width = _width(key.bits, rows)
    opened = (key.decrypt(one) for one in numbers_from_bytes(key, ciphertexts, count, accused=accused))
    return b"".join(_slot(plain, width).to_bytes(VALUE_BYTES, "little") for plain in opened)


def read_sums(values: bytes, blinds: Sequence[int], columns: Sequence[int], *, accused: str) -> list[int]:
    """Helper, step 4: the sums of the numbers, times PARTS; `columns` has each column's rows.

    PeerFault "bad_sum" for values of another length, or a sum that such a column cannot have.
    """
    if len(values) != VALUE_BYTES * len(blinds):
        raise PeerFault("bad_sum", f"{len(values)} bytes where {VALUE_BYTES * len(blinds)} were due", accused=accused)
    sums = []
    for index, (blind, rows) in enumerate(zip(blinds, columns, strict=True)):
        opened = int.from_bytes(values[VALUE_BYTES * index : VALUE_BYTES * (index + 1)], "little")
        total = (opened - blind) % (1 << (SLOT_BITS - 1))
        if opened >> (SLOT_BITS - 1) or total > rows * PARTS * NUMBER_MAX:
            raise PeerFault("bad_sum", "a sum is beyond what its rows can add up to", accused=accused)
        sums.append(total)
    return sums


def plain_sums(numbers: Numbers, choice: Choice, columns: Sequence[Column]) -> list[int]:
    """What the four steps give, computed without encryption: for rehearsals and as the tests' oracle."""
    rows = np.arange(len(choice.low))
    above = np.minimum(choice.low + 1, len(numbers) - 1)
    means = (PARTS - choice.above) * numbers[choice.low, rows] + choice.above * numbers[above, rows]
    return [int(means[column].sum()) for column in columns]


def _width(bits: int, rows: int) -> int:
    """Rows per ciphertext."""
    if slots_in(bits) < 1:
        raise OwnFault(f"a modulus of {bits} bits has no room for a slot")
    return min(rows_per_integer(bits), rows)


def _blind(bits: int, entropy: Entropy) -> int:
    return int.from_bytes(drawn(entropy, (bits + 7) // 8), "little") % (1 << bits)


def _packed(numbers: Sequence[int]) -> int:
    return sum(2 * number << (SLOT_BITS * slot) for slot, number in enumerate(numbers))


def _slot(plain: int, width: int) -> int:
    """The slot of the sum, without its guard bit."""
    return (plain >> (SLOT_BITS * (width - 1))) % (1 << SLOT_BITS) >> 1


def _chosen(packed: Sequence[int], groups: int, width: int, choice: Choice, square: int) -> list[int]:
    """Per row a ciphertext that holds, in the row's slot, PARTS times the mean it chose."""
    made: dict[tuple[int, int, int], int] = {}
    chosen = []
    for row, (low, above) in enumerate(zip(choice.low.tolist(), choice.above.tolist(), strict=True)):
        wanted = (row // width, low, above)
        if wanted not in made:
            at = low * groups + row // width
            parts = [power(packed[at], PARTS - above, square)] if above < PARTS else []
            parts += [power(packed[at + groups], above, square)] if above else []
            made[wanted] = product(parts, square)
        chosen.append(made[wanted])
    return chosen
