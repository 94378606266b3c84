"""Stories of the portal's API over the in-memory log: lookups, feedback, health, headers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from federation import messages as m
from federation.heads.products import Catalogue
from federation.ids import digest_of
from streams import topology
from streams.codec import decode, encode
from streams.memory import MemoryLog
from streams.parties import Parties
from streams.ports import LogUnavailable, Outgoing, Position
from streams.signed import seal_record, signed_bytes
from tests.credentials import Credentials, keys_of
from tests.web.people import people
from web.app import make_app
from web.identity.roles import Scope
from web.wiring import SystemClock, make_window

CATALOGUE = Catalogue.shipped()
BANK, OTHER = "alder-bank", "birch-bank"
CREDENTIALS = Credentials("test", [BANK, OTHER])


class FailingLog(MemoryLog):
    """A log that can be made unreachable for writers."""

    away = False

    async def append(self, records):
        if self.away:
            raise LogUnavailable("no Kafka broker answers at nowhere:9")
        return await super().append(records)


@dataclass
class Portal:
    client: TestClient
    own: FailingLog
    refused: Counter[str]

    async def put(self, row: topology.Topic, message: m.Message, key: str) -> None:
        value = encode(message)
        if row.signed:
            value = seal_record(message, sender=BANK, sign=CREDENTIALS.keys[BANK].sign, federation="test", topic=row)
        await self.put_value(row, value, key)

    async def put_value(self, row: topology.Topic, value: bytes, key: str) -> None:
        await self.own.append([Outgoing(row.full_name(BANK), 0, key.encode(), value)])
        await asyncio.sleep(0.3)


def serving_model(version: int, loving: str) -> m.ServingModel:
    vector = np.zeros(len(CATALOGUE.layout))
    vector[CATALOGUE.layout.index(f"{loving}=offered")] = 2.0
    return m.ServingModel(
        head=m.HeadName.PRODUCTS, version=version, epoch=1, round=version, layout_digest=CATALOGUE.layout.digest,
        vector=vector.astype("<f8").tobytes(), events_learned=1, saved_at_ms=1,
    )  # fmt: skip


@pytest_asyncio.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    federation = MemoryLog({row.full_name(): row.partitions for row in topology.FEDERATION_TOPICS})
    own = FailingLog({row.full_name(BANK): row.partitions for row in topology.OWN_TOPICS})
    await CREDENTIALS.publish(federation)
    parties = Parties(federation, federation="test", ca_verify_key=CREDENTIALS.ca_verify_key)
    async with people(tmp_path) as identity:
        window = make_window(parties, federation, (BANK, own), SystemClock(), identity)
        _, key = await identity.keys.make("test", list(Scope), by="test")
        feeds = [window.feed, window.institution.feed]
        tasks = [asyncio.create_task(feed.run()) for feed in feeds]
        async with TestClient(TestServer(make_app(window)), headers={"Authorization": f"Bearer {key}"}) as client:
            yield Portal(client, own, window.institution.feed.refused)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_customer_is_recommended_what_the_model_says(portal: Portal):
    """The model's favourite comes first, with its reasons; what the customer holds is not offered."""
    await portal.put(topology.SERVING_MODELS, serving_model(4, "securities"), "products")
    profile = m.CustomerProfile(customer="c-1", held=("current_account",), dismissed=(), updated_at_ms=1)
    await portal.put(topology.PROFILES, profile, "c-1")

    answer = await portal.client.get("/api/v1/recommendations/c-1?n=20")
    body = await answer.json()

    assert answer.status == 200
    assert (body["known"], body["model_version"], body["items"][0]["id"], body["degraded"]) == (True, 4, "securities", False)
    assert body["items"][0]["reasons"][0]["points"] == 2.0
    assert "current_account" not in [item["id"] for item in body["items"]]


def forged(sender: str, sign: Callable[[bytes], bytes], topic: str) -> bytes:
    """A model with `sender` on the envelope, signed for `topic`."""
    payload = encode(serving_model(9, "mortgage"))
    signature = sign(signed_bytes("test", topic, digest_of(payload)))
    return encode(m.SignedRecord(sender=sender, payload=payload, signature=signature, body=b""))


OURS, THEIRS = (topology.SERVING_MODELS.full_name(name) for name in (BANK, OTHER))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(encode(serving_model(9, "mortgage")), id="unsigned"),
        pytest.param(forged(BANK, keys_of("nobody").sign, OURS), id="signed with other keys"),
        pytest.param(forged(OTHER, CREDENTIALS.keys[OTHER].sign, THEIRS), id="another institution's own"),
        pytest.param(forged(BANK, CREDENTIALS.keys[OTHER].sign, OURS), id="another institution in our name"),
        pytest.param(forged(BANK, CREDENTIALS.keys[BANK].sign, THEIRS), id="ours for another topic"),
    ],
)
async def test_a_model_that_the_institutions_worker_did_not_sign_is_refused(portal: Portal, value: bytes):
    """The model before it stays, and the record is counted."""
    await portal.put(topology.SERVING_MODELS, serving_model(1, "securities"), "products")
    await portal.put_value(topology.SERVING_MODELS, value, "products")

    body = await (await portal.client.get("/api/v1/recommendations/nobody")).json()

    assert (body["model_version"], body["items"][0]["id"]) == (1, "securities")
    assert portal.refused[OURS] == 1


async def test_a_new_model_is_swapped_whole(portal: Portal):
    """The next answer after a new serving model names its version and its favourite, not a mixture."""
    await portal.put(topology.SERVING_MODELS, serving_model(1, "securities"), "products")
    await portal.put(topology.SERVING_MODELS, serving_model(2, "mortgage"), "products")

    body = await (await portal.client.get("/api/v1/recommendations/nobody")).json()

    assert (body["known"], body["model_version"], body["items"][0]["id"]) == (False, 2, "mortgage")


async def test_without_a_model_the_answer_is_503(portal: Portal):
    """No guess is made before there is a model; the client is told to come back."""
    answer = await portal.client.get("/api/v1/recommendations/c-1")

    assert (answer.status, answer.headers["Retry-After"], answer.content_type) == (503, "1", "application/problem+json")


@pytest.mark.parametrize("path", ["c%201", "c-1?n=0", "c-1?n=21", "c-1?n=x", "c-1?n=1e3", "c-1?n=00019999999", "x" * 65])
async def test_bad_lookups_are_named(portal: Portal, path: str):
    """A customer or a count that cannot be is a 400 that says what is allowed."""
    answer = await portal.client.get(f"/api/v1/recommendations/{path}")

    assert (answer.status, (await answer.json())["status"]) == (400, 400)


FEEDBACK = {"head": "products", "subject": "r1", "customer": "c-1", "product": "fund", "verdict": "accepted"}


async def test_feedback_is_in_the_log_before_it_is_accepted(portal: Portal):
    """202 means that the record is in the institution's own topic, with the key as its identity."""
    product = CATALOGUE.products[0].id
    answer = await portal.client.post("/api/v1/feedback", json=FEEDBACK | {"product": product}, headers={"Idempotency-Key": "k-1"})
    reader = await portal.own.reader([topology_start()])
    (record,) = await reader.poll(10, 100)
    given = decode(record.value, (m.FeedbackGiven,), 65536)

    assert (answer.status, await answer.json()) == (202, {"accepted": True, "duplicate": False, "event_id": "k-1"})
    assert (given.event_id, given.product, given.verdict) == ("k-1", product, m.Verdict.ACCEPTED)


def topology_start() -> Position:
    return Position(topology.FEEDBACK.full_name(BANK), 0, 0)


async def test_the_same_key_again_is_a_duplicate_and_another_body_a_conflict(portal: Portal):
    """A retry is answered as accepted without a second record; the key cannot be reused for something else."""
    body = FEEDBACK | {"product": CATALOGUE.products[0].id}
    headers = {"Idempotency-Key": "k-1"}
    await portal.client.post("/api/v1/feedback", json=body, headers=headers)
    again = await portal.client.post("/api/v1/feedback", json=body, headers=headers)
    other = await portal.client.post("/api/v1/feedback", json=body | {"verdict": "declined"}, headers=headers)
    reader = await portal.own.reader([topology_start()])

    assert (await again.json())["duplicate"] is True
    assert other.status == 409
    assert len(await reader.poll(10, 100)) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"head": "magic"}, "head is one of"),
        ({"verdict": "confirmed"}, "verdict for products"),
        ({"product": None}, "product goes with"),
        ({"customer": ""}, "customer"),
        ({"customer": "a\u0007b"}, "customer"),
        ({"extra": 1}, "extra"),
        ({"subject": 7}, "subject"),
    ],
)
async def test_bad_feedback_says_what_is_wrong(portal: Portal, change: dict, says: str):
    """Nothing is written, and the sentence names the field."""
    answer = await portal.client.post("/api/v1/feedback", json=FEEDBACK | change, headers={"Idempotency-Key": "k-1"})

    assert answer.status == 400
    assert says in (await answer.json())["detail"]


async def test_feedback_without_a_key_or_of_a_product_unknown_is_refused(portal: Portal):
    """Without a key a retry could count twice; a product must be of the catalogue."""
    keyless = await portal.client.post("/api/v1/feedback", json=FEEDBACK)
    unknown = await portal.client.post("/api/v1/feedback", json=FEEDBACK | {"product": "moon"}, headers={"Idempotency-Key": "k"})

    assert (keyless.status, unknown.status) == (400, 400)


async def test_feedback_is_not_accepted_while_the_log_is_away(portal: Portal):
    """503 and a request to try again with the same key: nothing is pretended."""
    portal.own.away = True
    body = FEEDBACK | {"product": CATALOGUE.products[0].id}
    answer = await portal.client.post("/api/v1/feedback", json=body, headers={"Idempotency-Key": "k-1"})
    portal.own.away = False
    later = await portal.client.post("/api/v1/feedback", json=body, headers={"Idempotency-Key": "k-1"})

    assert (answer.status, (await later.json())["duplicate"]) == (503, False)


async def test_oversized_feedback_is_refused(portal: Portal):
    """The body is bounded."""
    answer = await portal.client.post("/api/v1/feedback", data=b"x" * 20_000, headers={"Idempotency-Key": "k"})

    assert answer.status == 413


async def test_ready_only_with_a_model(portal: Portal):
    """Live at once, ready when the logs are read and there is something to score with."""
    live = await portal.client.get("/health/live")
    before = await portal.client.get("/health/ready")
    await portal.put(topology.SERVING_MODELS, serving_model(1, "securities"), "products")
    after = await portal.client.get("/health/ready")

    assert (live.status, before.status, (await before.json())["checks"]["model"], after.status) == (200, 503, False, 200)


async def test_every_answer_carries_the_security_headers(portal: Portal):
    """Pages, data, errors and files alike."""
    for path in ("/", "/api/v1/rounds", "/api/v1/institutions", "/nowhere", "/static/app.css", "/metrics"):
        answer = await portal.client.get(path)

        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_metrics_name_no_customer(portal: Portal):
    """Requests are counted by route, whatever customer they were about."""
    await portal.client.get("/api/v1/recommendations/very-secret-customer")
    text = await (await portal.client.get("/metrics")).text()

    assert 'route="/api/v1/recommendations/{customer}"' in text
    assert "very-secret-customer" not in text


async def test_who_refuses_recommendations_gets_none(portal: Portal):
    """From his statement on, whatever the worker does; the answer says why. A tombstone unsays it."""
    await portal.put(topology.SERVING_MODELS, serving_model(4, "securities"), "products")
    said = m.ConsentsStated(customer="c-1", permitted=(), refused=(m.Purpose.RECOMMENDATIONS,), stated_at_ms=1)
    await portal.put(topology.CONSENTS, said, "c-1")
    refused = await (await portal.client.get("/api/v1/recommendations/c-1")).json()
    other = await (await portal.client.get("/api/v1/recommendations/c-2")).json()
    await portal.own.append([Outgoing(topology.CONSENTS.full_name(BANK), 0, b"c-1", None)])
    await asyncio.sleep(0.3)
    unsaid = await (await portal.client.get("/api/v1/recommendations/c-1")).json()

    assert (refused["items"], refused["withheld"]) == ([], "The customer does not permit recommendations.")
    assert (len(other["items"]), other["withheld"]) == (len(unsaid["items"]), None)
    assert unsaid["items"]
