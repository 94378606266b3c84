"""Lots: a fair partition that everybody can work out and nobody can choose."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation import messages as m
from federation.errors import OwnFault
from federation.ids import digest_of
from federation.limits import COHORT_MIN
from federation.rounds.lots import commitment, drawing_seed, drawn_groups, groups_possible

CREDIT = m.HeadName.CREDIT
NAMES = st.lists(st.text("abcdefghij", min_size=1, max_size=6), unique=True, min_size=3, max_size=40)


@settings(derandomize=True)
@given(NAMES, st.integers(1, 12), st.binary(min_size=32, max_size=32))
def test_everybody_is_in_one_group(names: list[str], groups: int, seed: bytes):
    """Groups are a partition, nearly equal, none below the least; the order in which institutions are named does not matter."""
    count = groups_possible(len(names), groups)
    drawn = drawn_groups(names, count, seed)
    sizes = [len(group) for group in drawn]

    assert sorted(name for group in drawn for name in group) == sorted(names)
    assert len(drawn) == count <= groups
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= COHORT_MIN
    assert drawn == drawn_groups(names[::-1], count, seed)


def test_groups_too_small_are_not_drawn():
    """Eight institutions are enough for two groups; a third would have two members, and nobody is drawn twice."""
    names = "abcdefgh"
    assert groups_possible(8, 3) == 2
    assert groups_possible(2, 1) == 0
    for wrong in (
        lambda: drawn_groups(names, 3, bytes(32)),
        lambda: drawn_groups("aabbcc", 2, bytes(32)),
        lambda: drawn_groups("", 0, bytes(32)),
    ):
        with pytest.raises(OwnFault):
            wrong()


def test_every_pair_meets_equally_often():
    """Over 6,000 seeds, two of nine institutions are in one group of three a quarter of the time, whoever they are."""
    together: Counter[tuple[str, str]] = Counter()
    for number in range(6_000):
        for group in drawn_groups("abcdefghi", 3, digest_of(number.to_bytes(4, "little"))):
            together.update(combinations(group, 2))

    # 2 of the 8 others: 1,500 times, with a standard deviation of 34.
    assert len(together) == 36
    assert all(abs(count - 1_500) < 150 for count in together.values()), together


def test_one_unknown_lot_is_enough():
    """Whatever the others are, one lot that changes changes who is with whom; the seed binds federation, head, drawing and names."""
    lots = {name: bytes([index]) * 32 for index, name in enumerate("abcdefghi")}
    seeds = {drawing_seed({**lots, "a": digest_of(bytes([number]))}, federation="f", head=CREDIT, epoch=1) for number in range(50)}
    base = {"federation": "f", "head": CREDIT, "epoch": 1}
    others = [{**base, "federation": "g"}, {**base, "head": m.HeadName.FRAUD}, {**base, "epoch": 2}]

    assert len({drawn_groups("abcdefghi", 3, seed) for seed in seeds}) > 40
    assert len({drawing_seed(lots, **base), *(drawing_seed(lots, **other) for other in others)}) == 4
    renamed = {name.upper(): lot for name, lot in lots.items()}
    assert drawing_seed(renamed, **base) != drawing_seed(lots, **base)


def test_a_copied_commitment_opens_for_nobody_else():
    """The commitment is to the name, too: who copies it cannot show the same lot as its own."""
    where = {"federation": "f", "head": CREDIT, "epoch": 1}

    assert commitment(bytes(32), institution="a", **where) != commitment(bytes(32), institution="b", **where)
