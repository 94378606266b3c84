"""The API: recommendation lookups, feedback, rounds and institutions as JSON, health and metrics.

Named by `web.routes`.
Never waits for the log to answer a lookup, and never accepts feedback before the log has acknowledged it."""

from __future__ import annotations

import re
import uuid
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web as http
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from federation import messages as m
from federation.heads.products import Offer
from federation.limits import NAME_LENGTH_MAX
from streams import telemetry
from streams.ports import LogUnavailable
from web.problems import Problem
from web.recording import record
from web.state import WINDOW, Institution
from web.views import institution_rows, partnership_cards, round_rows

OFFERS_DEFAULT: Final = 3
OFFERS_MAX: Final = 20
KEY: Final = re.compile(rf"^[A-Za-z0-9._:-]{{1,{NAME_LENGTH_MAX}}}$")


def institution_of(request: http.Request) -> Institution:
    """The portal's institution; a 404 at the console."""
    institution = request.app[WINDOW].institution
    if institution is None:
        raise Problem(HTTPStatus.NOT_FOUND, "This is the operator's console, which has no customers; ask an institution's portal.")
    return institution


def _offer(offer: Offer) -> dict[str, Any]:
    return {
        "id": offer.product.id,
        "title": offer.product.title,
        "family": offer.product.family,
        "score": round(offer.score, 6),
        "reasons": [{"because": f"{reason.feature}: {reason.value}", "points": round(reason.points, 4)} for reason in offer.reasons],
    }


async def recommendations(request: http.Request) -> http.Response:
    """The likeliest products for a customer, with reasons; from memory."""
    customer, wanted = request.match_info["customer"], request.query.get("n", str(OFFERS_DEFAULT))
    if not KEY.fullmatch(customer):
        raise Problem(HTTPStatus.BAD_REQUEST, f"A customer has 1 to {NAME_LENGTH_MAX} characters of A-Z a-z 0-9 . _ : -")
    if not re.fullmatch(r"[0-9]{1,4}", wanted) or not 1 <= int(wanted) <= OFFERS_MAX:
        raise Problem(HTTPStatus.BAD_REQUEST, f"n is a whole number from 1 to {OFFERS_MAX}")
    window, institution = request.app[WINDOW], institution_of(request)
    with telemetry.SCORE_SECONDS.labels(head=m.HeadName.PRODUCTS.value).time():
        found = institution.customers.recommend(customer, int(wanted))
    if found is None:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "There is no model yet; the institution's worker publishes one at its start.", retry_after_s=1
        )
    return http.json_response(
        {
            "recommendation_id": uuid.uuid4().hex,
            "institution": institution.name,
            "customer": customer,
            "known": found.known,
            "model_version": found.model.version,
            "round": found.model.round,
            "epoch": found.model.epoch,
            "generated_at_ms": window.clock.now_ms(),
            "degraded": window.degraded(),
            "items": [_offer(offer) for offer in found.offers],
            "withheld": "The customer does not permit recommendations." if found.withheld else None,
        }
    )


class FeedbackBody(BaseModel):
    """What POST /api/v1/feedback takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    head: str
    subject: str = Field(pattern=KEY.pattern, max_length=NAME_LENGTH_MAX, description="event_id of the decision, or the recommendation_id")
    customer: str = Field(pattern=KEY.pattern, max_length=NAME_LENGTH_MAX)
    product: str | None = Field(default=None, min_length=1, max_length=NAME_LENGTH_MAX)
    verdict: str

    def message(self, event_id: str, now_ms: int) -> m.FeedbackGiven:
        """The message; ValueError with a sentence when head, verdict and product do not fit together."""
        if self.head not in list(m.HeadName):
            raise ValueError(f"head is one of {', '.join(m.HeadName)}")
        head = m.HeadName(self.head)
        allowed = (
            (m.Verdict.ACCEPTED, m.Verdict.DECLINED) if head is m.HeadName.PRODUCTS else (m.Verdict.CONFIRMED, m.Verdict.FALSE_POSITIVE)
        )
        if self.verdict not in allowed:
            raise ValueError(f"verdict for {self.head} is one of {', '.join(allowed)}")
        if (self.product is None) == (head is m.HeadName.PRODUCTS):
            raise ValueError("product goes with head products, and only with it")
        return m.FeedbackGiven(
            event_id=event_id, head=head, subject=self.subject, customer=self.customer,
            product=self.product, verdict=m.Verdict(self.verdict), occurred_at_ms=now_ms,
        )  # fmt: skip


async def feedback(request: http.Request) -> http.Response:
    """Take a person's feedback: 202 once it is safe in the institution's log."""
    window, institution = request.app[WINDOW], institution_of(request)
    key = request.headers.get("Idempotency-Key", "")
    if not KEY.fullmatch(key):
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"The header Idempotency-Key is needed: 1 to {NAME_LENGTH_MAX} characters of A-Z a-z 0-9 . _ : -"
        )
    try:
        message = FeedbackBody.model_validate_json(await request.read()).message(key, window.clock.now_ms())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Problem(HTTPStatus.BAD_REQUEST, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from None
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
    if message.product is not None and message.product not in institution.customers.products:
        raise Problem(HTTPStatus.BAD_REQUEST, f"product is one of {', '.join(sorted(institution.customers.products))}")
    earlier = institution.customers.feedback(key)
    if earlier is not None:
        if asdict(earlier) | {"occurred_at_ms": 0} != asdict(message) | {"occurred_at_ms": 0}:
            raise Problem(HTTPStatus.CONFLICT, "This Idempotency-Key was used for another feedback; take a new one.")
        return http.json_response({"accepted": True, "duplicate": True, "event_id": key}, status=HTTPStatus.ACCEPTED)
    detail = {"head": message.head.value, "verdict": message.verdict.value, "event": key}
    await record(request, m.ActionKind.FEEDBACK, "given", detail)
    try:
        await institution.send_feedback(message)
    except LogUnavailable:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "The log did not acknowledge; send the same again with the same key.", retry_after_s=2
        ) from None
    institution.customers.remember(message)
    return http.json_response({"accepted": True, "duplicate": False, "event_id": key}, status=HTTPStatus.ACCEPTED)


async def rounds(request: http.Request) -> http.Response:
    """The newest rounds, newest first."""
    return http.json_response({"rounds": round_rows(request.app[WINDOW].rounds)})


async def institutions(request: http.Request) -> http.Response:
    """Every institution's lag and quality per head."""
    window = request.app[WINDOW]
    return http.json_response({"institutions": institution_rows(window.rounds, window.institutions, window.clock.now_ms())})


async def partnerships(request: http.Request) -> http.Response:
    """Every vertical partnership: what either party last said of it."""
    window = request.app[WINDOW]
    return http.json_response({"partnerships": partnership_cards(window.partnerships, window.clock.now_ms())})


async def health_live(_request: http.Request) -> http.Response:
    """200 as long as the loop turns."""
    return http.json_response({"status": "live"})


async def health_ready(request: http.Request) -> http.Response:
    """200 when every check holds, else 503; a JSON of the checks either way."""
    checks = request.app[WINDOW].checks()
    ready = all(checks.values())
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return http.json_response({"status": "ready" if ready else "not ready", "checks": checks}, status=status)


async def metrics(_request: http.Request) -> http.Response:
    """Prometheus text."""
    return http.Response(body=telemetry.rendered_metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
