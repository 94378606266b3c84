"""Who is found to be one person by encodings alone, and what encodings do not tell."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.linkage import errors, mistyped, people
from federation import messages as m
from federation.errors import OwnFault
from federation.secagg.keys import Secret
from federation.vertical.effects import Aligned
from federation.vertical.linkage import ENCODING_BYTES, encoded, named, paired, setting
from tests.federation.vertical.conftest import Two, seeded

FIELDS = ("given_name", "family_name", "born", "postcode")
KEY, OTHER_KEY = Secret(b"k" * 32), Secret(b"o" * 32)
NOVAK, KRAL = ("Jan", "Novák", "1970-03-12", "11000"), ("Eva", "Králová", "1985-11-30", "60200")


def encoding_of(*person, key=KEY):
    return encoded([person], FIELDS, key)[0]


def similarity(one, other):
    bits = [np.unpackbits(np.frombuffer(each, dtype=np.uint8)).astype(int) for each in (one, other)]
    return 2 * (bits[0] @ bits[1]) / (bits[0].sum() + bits[1].sum())


def test_spelling_that_says_nothing_does_not_count():
    """Accents, case, hyphens and blanks: the encodings are the same bytes."""
    assert encoding_of(*NOVAK) == encoding_of(" JAN", "Novak", "1970 03 12", "110 00")


@pytest.mark.parametrize("typo", [("Jan", "Nowák"), ("Jan", "Novk"), ("Jna", "Novák"), ("Jan", "Novváák")])
def test_a_typo_is_forgiven(typo):
    """Above the threshold, and so paired, where exact names are not."""
    bank, partner = [encoding_of(*KRAL), encoding_of(*NOVAK)], [encoding_of(*typo, *NOVAK[2:])]

    assert bank[1] != partner[0]
    assert paired(bank, partner, threshold=0.8) == [(1, 0)]
    assert paired(bank, partner, threshold=1.0) == []


def test_strangers_are_not_paired():
    """Not two others, nor a name whose parts are in the wrong fields: each field has a salt of its own."""
    swapped = ("Novák", "Jan", *NOVAK[2:])

    assert paired([encoding_of(*NOVAK)], [encoding_of(*KRAL)], threshold=0.6) == []
    assert similarity(encoding_of(*NOVAK), encoding_of(*swapped)) < similarity(encoding_of(*NOVAK), encoding_of("Jan", "Nowák", *NOVAK[2:]))
    assert paired([encoding_of(*NOVAK)], [encoding_of(*swapped)], threshold=0.8) == []


def test_without_the_key_nothing_is_recognised():
    """One person under two keys is as a stranger; the marks of key and fields differ, so a unit refuses to compare them."""
    strangers = [encoding_of(*person) for person in people(40, random.Random(1))]
    alike = max(similarity(encoding_of(*NOVAK), stranger) for stranger in strangers)

    assert similarity(encoding_of(*NOVAK), encoding_of(*NOVAK, key=OTHER_KEY)) < max(alike, 0.45)
    assert len({setting(KEY, FIELDS), setting(OTHER_KEY, FIELDS), setting(KEY, FIELDS[:3])}) == 3


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12))
def test_nobody_is_paired_twice(seed, ours, theirs):
    """Each place at most once, in lists of people who share names and dates; and whoever lists first, the pairs are the same."""
    draw = random.Random(seed)
    few = [tuple(draw.choice(values) for values in (("jan", "jana"), ("novak", "nowak"), ("1970", "1971"))) for _ in range(ours + theirs)]
    encodings = encoded(few, FIELDS[:3], KEY)
    bank, partner = encodings[:ours], encodings[ours:]
    pairs = paired(bank, partner, threshold=0.6)

    assert len({mine for mine, _ in pairs}) == len({yours for _, yours in pairs}) == len(pairs)
    assert sorted((mine, yours) for yours, mine in paired(partner, bank, threshold=0.6)) == sorted(pairs)


def test_large_lists_are_compared_piece_by_piece(monkeypatch):
    """The pairs are those found in one piece, ties across pieces included."""
    draw = random.Random(3)
    bank = people(30, draw)
    partner = [mistyped(person, 1, draw) for person in bank[::2]] + people(10, draw)
    lists = encoded([*bank, bank[0]], FIELDS, KEY), encoded(partner, FIELDS, KEY)
    whole = paired(*lists, threshold=0.8)
    monkeypatch.setattr("federation.vertical.linkage._CELLS_MAX", 3 * len(partner))

    assert paired(*lists, threshold=0.8) == whole
    assert (0, 0) not in whole  # The bank lists its first customer twice: which one is meant?
    assert (2, 1) in whole


def test_pairs_are_common_ids_for_the_exact_intersection():
    """Everybody has an id, two of one person the same; the intersection then keeps its policy."""
    bank, partner = [NOVAK, KRAL], [("Petr", "Malý", "1960-01-01", "30100"), ("Jan", "Nowák", *NOVAK[2:])]
    pairs = paired(encoded(bank, FIELDS, KEY), encoded(partner, FIELDS, KEY), threshold=0.8)
    ids = named(pairs, 2, 2, entropy=seeded("ids"))
    two = Two()
    two.intersect(ids.bank, ids.partner, m.OverlapPolicy.SHOWN)

    assert len({*ids.bank, *ids.partner}) == 3
    assert [aligned.names for aligned in two.of("partner", Aligned)] == [(ids.bank[0],)]
    assert ids.partner[1] == ids.bank[0]


def test_error_rates_are_those_documented():
    """As in docs/vertical.md, on fewer people: one typo costs few at 0.8, none of the pairs is wrong; exact names cost none."""
    (none,), (one,) = (errors(300, typos, (0.8,), 1) for typos in (0, 1))

    assert none == (0, 0)
    assert one[0] < 0.02
    assert one[1] < 0.01


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda: encoded([("Jan",)], FIELDS, KEY), "identifiers instead of 4"),
        (lambda: encoded([("", "-", " ", "")], FIELDS, KEY), "letter or digit"),
        (lambda: encoded([NOVAK], (), KEY), "different names"),
        (lambda: encoded([NOVAK], FIELDS, Secret(b"short" * 4)), "32 bytes"),
        (lambda: paired([], [bytes(ENCODING_BYTES)], threshold=0.8), "a list has"),
        (lambda: paired([b"1"], [bytes(ENCODING_BYTES)], threshold=0.8), "128 bytes"),
        (lambda: paired([bytes(ENCODING_BYTES)], [bytes(ENCODING_BYTES)], threshold=0.8), "empty"),
        (lambda: paired([encoding_of(*NOVAK)], [encoding_of(*NOVAK)], threshold=0.4), "threshold"),
        (lambda: paired([encoding_of(*NOVAK)], [encoding_of(*NOVAK)], threshold=float("nan")), "threshold"),
    ],
)
def test_what_cannot_be_linked_is_refused(asked, said):
    """With what is wrong."""
    with pytest.raises(OwnFault, match=said):
        asked()
