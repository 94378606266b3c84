"""Scores over HTTP, and that no score decides about who objects to that."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from federation import messages as m
from federation.heads.credit import CreditEncoder
from federation.heads.scoring import probability_of
from streams import topology
from streams.codec import decode
from streams.ports import Outgoing
from tests.web.test_api import BANK, Portal, portal  # noqa: F401 A fixture.

LAYOUT = CreditEncoder.shipped().layout
APPLICATION = {"event_id": "a-1", "customer": "c-1", "numbers": {"amount": 20_000.0}}


def model() -> m.ServingModel:
    vector = np.zeros(len(LAYOUT))
    vector[[index for index, name in enumerate(LAYOUT.names) if name.startswith("amount=")]] = 1.5
    return m.ServingModel(
        head=m.HeadName.CREDIT, version=4, epoch=1, round=4, layout_digest=LAYOUT.digest, vector=vector.astype("<f8").tobytes(),
        events_learned=1, saved_at_ms=1,
    )  # fmt: skip


async def said(portal: Portal, *, refused: bool):  # noqa: F811
    stated = m.ConsentsStated(
        customer="c-1", permitted=(), refused=(m.Purpose.AUTOMATED_DECISIONS,) if refused else (m.Purpose.LEARNING,), stated_at_ms=1
    )
    await portal.put(topology.CONSENTS, stated, "c-1")


def reviews(portal: Portal):  # noqa: F811
    return [decode(record.value, (m.ReviewAsked,), 10**5) for record in portal.own.records(topology.REVIEWS.full_name(BANK))]


async def test_a_score_comes_with_its_reasons(portal: Portal):  # noqa: F811
    """The probability is what the reasons add up to, with the prior."""
    await portal.put(topology.SERVING_MODELS, model(), "credit")
    answer = await portal.client.post("/api/v1/scores/credit", json=APPLICATION)
    body = await answer.json()

    assert (answer.status, body["decided_by"], body["why"], body["model_version"]) == (200, "model", None, 4)
    assert body["probability"] == pytest.approx(probability_of(LAYOUT.prior + sum(each["points"] for each in body["reasons"])), abs=1e-5)
    assert [each["points"] for each in body["reasons"]] == [1.5]
    assert reviews(portal) == []


async def test_about_who_objects_a_person_decides(portal: Portal):  # noqa: F811
    """No number is given; the queue has the event before the answer says so; unsaid, the model decides again."""
    await portal.put(topology.SERVING_MODELS, model(), "credit")
    await said(portal, refused=True)
    objected = await (await portal.client.post("/api/v1/scores/credit", json=APPLICATION)).json()
    other = await (await portal.client.post("/api/v1/scores/credit", json=APPLICATION | {"customer": "c-2"})).json()
    asked = reviews(portal)
    await said(portal, refused=False)
    again = await (await portal.client.post("/api/v1/scores/credit", json=APPLICATION)).json()

    assert (objected["decided_by"], objected["probability"], objected["reasons"]) == ("person", None, [])
    assert "art. 22" in objected["why"]
    assert [(each.head, each.event_id, each.reason) for each in asked] == [(m.HeadName.CREDIT, "a-1", "objection")]
    assert (other["decided_by"], again["decided_by"]) == ("model", "model")


async def test_while_nobody_can_be_asked_nothing_is_decided(portal: Portal):  # noqa: F811
    """The log is away: 503, and no score instead."""
    await portal.put(topology.SERVING_MODELS, model(), "credit")
    await said(portal, refused=True)
    portal.own.away = True
    answer = await portal.client.post("/api/v1/scores/credit", json=APPLICATION)

    assert answer.status == 503
    assert "probability" not in await answer.text()


@pytest.mark.parametrize(
    "body", [{}, APPLICATION | {"more": 1}, APPLICATION | {"numbers": {"age": "old"}}, APPLICATION | {"numbers": {"nonsense": 1.0}}]
)
async def test_what_is_no_application_is_named(portal: Portal, body):  # noqa: F811
    """A 400 that says what is wrong."""
    answer = await portal.client.post("/api/v1/scores/credit", json=body)

    assert answer.status == 400


async def test_without_a_model_nothing_is_guessed(portal: Portal):  # noqa: F811
    """503 until the worker has served one."""
    assert (await portal.client.post("/api/v1/scores/credit", json=APPLICATION)).status == 503


async def test_a_tombstone_unsays_the_objection(portal: Portal):  # noqa: F811
    """As for every purpose."""
    await portal.put(topology.SERVING_MODELS, model(), "credit")
    await said(portal, refused=True)
    await portal.own.append([Outgoing(topology.CONSENTS.full_name(BANK), 0, b"c-1", None)])
    await asyncio.sleep(0.3)

    assert (await (await portal.client.post("/api/v1/scores/credit", json=APPLICATION)).json())["decided_by"] == "model"
