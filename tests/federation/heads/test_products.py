"""The catalogue: offers, places, lessons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.heads.head import FeatureError, Reason
from federation.heads.products import NEGATIVES, Catalogue
from federation.heads.scorecard import Scorecard

CATALOGUE = Catalogue.shipped()
IDS = [product.id for product in CATALOGUE.products]
HOLDINGS = st.lists(st.sampled_from(IDS), unique=True, max_size=len(IDS) - 1)
WEIGHTS = st.integers(0, 2**32 - 1).map(lambda seed: np.random.Generator(np.random.PCG64(seed)).normal(size=len(CATALOGUE.layout)))


def test_the_catalogue_is_the_banks():
    """23 products in five families, each with a title."""
    assert len(IDS) == 23
    assert {product.family for product in CATALOGUE.products} == {"loans", "cards", "savings", "investments", "accounts"}
    assert all(product.title for product in CATALOGUE.products)


def test_an_offer_is_a_bias_its_pairs_and_the_number_held():
    """Each holding speaks for or against the product; so does how many there are."""
    names = [CATALOGUE.layout.names[index] for index in CATALOGUE.encode(["payroll", "current_account"], "credit_card")]

    assert names == ["credit_card=offered", "credit_card=held current_account", "credit_card=held payroll", "credit_card=2 held"]
    assert CATALOGUE.layout.names[CATALOGUE.encode(IDS[:9], IDS[10])[-1]].endswith("=5 or more held")


def test_a_product_is_no_reason_for_itself():
    """Held and offered at once, it is offered as if not held."""
    assert CATALOGUE.encode(["payroll", "funds"], "funds") == CATALOGUE.encode(["payroll"], "funds")


@settings(derandomize=True, max_examples=50)
@given(WEIGHTS, HOLDINGS)
def test_all_scores_at_once_are_the_scores_one_by_one(vector, held):
    """The vectorised ranking agrees with the scorecard, product by product."""
    card = Scorecard(CATALOGUE.layout, learning_rate=0.1)
    card.from_vector(vector)
    scores = CATALOGUE.scores(vector, held)
    for number, product in enumerate(IDS):
        if product not in held:
            assert scores[number] == pytest.approx(card.log_odds(CATALOGUE.encode(held, product)))


@settings(derandomize=True, max_examples=50)
@given(WEIGHTS, HOLDINGS, HOLDINGS, st.integers(0, 30))
def test_offers_are_new_likeliest_first_and_explained(vector, held, dismissed, most):
    """Nothing held or dismissed is offered; reasons are those of the score."""
    offers = CATALOGUE.rank(vector, held, dismissed, most)

    assert len(offers) == min(most, len(set(IDS) - set(held) - set(dismissed)))
    assert not {offer.product.id for offer in offers} & {*held, *dismissed}
    assert [offer.score for offer in offers] == sorted((offer.score for offer in offers), reverse=True)
    for offer in offers:
        points = sum(reason.points for reason in offer.reasons) + vector[0] + CATALOGUE.layout.prior
        assert 1 / (1 + np.exp(-points)) == pytest.approx(offer.score)


def test_an_offer_says_because_of_what():
    """One strong pair: because payroll is held."""
    vector = np.zeros(len(CATALOGUE.layout))
    vector[CATALOGUE.layout.index("credit_card=held payroll")] = 2.0
    best = CATALOGUE.rank(vector, ["payroll"])[0]

    assert best.product.id == "credit_card"
    assert best.reasons == (Reason("credit_card", "held payroll", 2.0),)
    assert CATALOGUE.rank(vector, [])[0].product.id == IDS[0]


def test_the_place_of_a_product_is_expected_over_ties():
    """All alike: the middle; the best: first; held rivals do not count."""
    vector = np.zeros(len(CATALOGUE.layout))
    assert CATALOGUE.place_of(vector, [], "funds") == 12.0
    assert CATALOGUE.place_of(vector, IDS[:10], "funds") == 7.0
    vector[CATALOGUE.layout.index("funds=offered")] = 1.0
    assert CATALOGUE.place_of(vector, [], "funds") == 1.0
    assert CATALOGUE.place_of(vector, [], "taxes") == 12.5
    assert CATALOGUE.place_of(vector, ["funds"], "taxes") == 11.5


def test_what_is_not_in_the_catalogue_is_refused():
    """A product nobody offers, held or taken."""
    for held, product in (([], "yacht"), (["yacht"], "funds")):
        with pytest.raises(FeatureError, match="yacht is not a product"):
            CATALOGUE.encode(held, product)


@settings(derandomize=True, max_examples=50)
@given(st.text(max_size=20), HOLDINGS)
def test_negatives_are_drawn_by_the_events_id(event_id, held):
    """Not held, not taken, the same for a replay whatever the order of the holdings."""
    taken = next(product for product in IDS if product not in held)
    drawn = CATALOGUE.negatives(event_id, held, taken)

    assert len(drawn) == len(set(drawn)) == min(NEGATIVES, len(IDS) - len(held) - 1)
    assert not {*drawn} & {*held, taken}
    assert CATALOGUE.negatives(event_id, tuple(reversed(held)), taken) == drawn


def test_other_events_draw_other_negatives():
    """Over many events every absent product is drawn, about equally often."""
    counts = dict.fromkeys(IDS, 0)
    for number in range(1100):
        for product in CATALOGUE.negatives(f"take-{number}", [], "funds"):
            counts[product] += 1

    assert counts.pop("funds") == 0
    assert all(300 < count < 500 for count in counts.values())  # 1100 * 8 / 22 = 400.


def test_an_acquisition_teaches_the_pair():
    """Afterwards the product taken stands higher for who holds the same, and nothing was random."""
    card = Scorecard(CATALOGUE.layout, learning_rate=0.1)
    lessons = CATALOGUE.lessons("take-1", ["payroll"], "credit_card")
    for active, positive in lessons:
        card.learn(active, positive)

    assert [positive for _, positive in lessons] == [True] + [False] * NEGATIVES
    assert lessons[0][0] == CATALOGUE.encode(["payroll"], "credit_card")
    assert CATALOGUE.rank(card.to_vector(), ["payroll"])[0].product.id == "credit_card"
    assert CATALOGUE.lessons("take-1", ["payroll"], "credit_card") == lessons
