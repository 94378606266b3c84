"""Stories about the vertical partnerships' read model and their cards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.history import History
from federation import messages as m
from federation.errors import PeerFault
from web.app import templates
from web.readmodels.institutions import SILENT_AFTER_MS, Institutions
from web.readmodels.partnerships import Partnerships
from web.readmodels.rounds import Rounds
from web.views import live_context, partnership_cards

STATUS = m.VerticalStatus(
    bank="alder-bank", partner="tele-brook", institution="alder-bank", at_ms=1_000, phase="waiting for the table of scores", run=7, number=1,
    loss=0.52, gain=0.1, version=0, predictions=3, degraded=1, refused=0,
)  # fmt: skip


def test_each_pass_is_one_point_and_the_newest_status_counts():
    """The bank's loss of every pass, once; the partner knows no loss."""
    partnerships = Partnerships()
    for number, loss in ((1, 0.52), (1, 0.52), (2, 0.48)):
        partnerships.apply(replace(STATUS, number=number, loss=loss))
    partnerships.apply(replace(STATUS, institution="tele-brook", loss=-1.0, number=2, phase="idle", refused=2))

    assert list(partnerships.losses["alder-bank", "tele-brook"]) == [(7, 1, 0.52), (7, 2, 0.48)]
    (card,) = partnership_cards(partnerships, now_ms=1_500)
    assert (card["first_loss"], card["loss"], card["passes"], card["refused"]) == ("0.520", "0.480", 2, 2)
    assert (card["bank_phase"], card["partner_phase"]) == ("waiting for the table of scores", "idle")


def test_who_is_silent_is_shown_so():
    """A party that never spoke, and one that stopped."""
    partnerships = Partnerships()
    partnerships.apply(STATUS)
    (card,) = partnership_cards(partnerships, now_ms=1_001 + SILENT_AFTER_MS)

    assert card["bank_phase"].startswith("silent for")
    assert card["partner_phase"] == "not heard of"


def test_others_do_not_speak_of_a_partnership():
    """A third institution's word about the two is refused and named."""
    with pytest.raises(PeerFault, match="not_entitled by cedar-union"):
        Partnerships().apply(replace(STATUS, institution="cedar-union"))


def test_the_page_has_a_card_only_where_there_is_a_partnership():
    """And what it shows is escaped."""
    partnerships, page = Partnerships(), templates().get_template("live_main.html")
    none = page.render(
        **live_context(Rounds(), Institutions(), partnerships, History("f", lambda _: ()), now_ms=1_500, disconnected_since_ms=None)
    )
    partnerships.apply(replace(STATUS, phase="<b>bold</b>"))
    some = page.render(
        **live_context(Rounds(), Institutions(), partnerships, History("f", lambda _: ()), now_ms=1_500, disconnected_since_ms=None)
    )

    assert "Two parties" not in none
    assert "alder-bank and tele-brook" in some
    assert "<b>bold" not in some
