"""The score of a credit application over HTTP, with its reasons; for who objects to automated decisions, a person instead of a score.

Named by `web.routes`.
Never gives a number about a customer about whom no number may decide, and never says that a person will decide before the queue has it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web as http
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from federation import messages as m
from federation.heads.head import FeatureError
from federation.limits import NAME_LENGTH_MAX
from streams import telemetry
from streams.ports import LogUnavailable
from web.handlers import KEY, institution_of
from web.problems import Problem
from web.state import WINDOW

OBJECTION: Final = "The customer objects to automated decisions (GDPR art. 22): a person decides, and has been asked."
_HEAD: Final = m.HeadName.CREDIT


class ApplicationBody(BaseModel):
    """What POST /api/v1/scores/credit takes."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    event_id: str = Field(pattern=KEY.pattern, max_length=NAME_LENGTH_MAX, description="of the application, as in events.applications.v1")
    customer: str = Field(pattern=KEY.pattern, max_length=NAME_LENGTH_MAX)
    numbers: dict[str, float] = {}
    categories: dict[str, str] = {}


async def credit(request: http.Request) -> http.Response:
    """How likely an application ends in default, and why; from memory, but for who objects."""
    window, institution = request.app[WINDOW], institution_of(request)
    try:
        body = ApplicationBody.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Problem(HTTPStatus.BAD_REQUEST, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from None
    now_ms = window.clock.now_ms()
    answer: dict[str, Any] = {"event_id": body.event_id, "customer": body.customer, "head": _HEAD.value, "generated_at_ms": now_ms}
    if not institution.customers.permits(body.customer, m.Purpose.AUTOMATED_DECISIONS):
        try:
            await institution.ask_review(m.ReviewAsked(head=_HEAD, event_id=body.event_id, reason="objection", asked_at_ms=now_ms))
        except LogUnavailable:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The log did not acknowledge the request for a person; send the same again.",
                retry_after_s=2,
            ) from None
        return http.json_response(answer | {"decided_by": "person", "why": OBJECTION, "probability": None, "reasons": []})
    application = m.CreditApplication(
        event_id=body.event_id,
        customer=body.customer,
        occurred_at_ms=now_ms,
        consented=False,
        numbers=body.numbers,
        categories=body.categories,
    )
    try:
        with telemetry.SCORE_SECONDS.labels(head=_HEAD.value).time():
            score = institution.customers.score(application)
    except FeatureError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
    if score is None:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "There is no model yet; the institution's worker publishes one at its start.", retry_after_s=1
        )
    return http.json_response(
        answer
        | {
            "decided_by": "model",
            "why": None,
            "probability": round(score.probability, 6),
            "reasons": [{"because": f"{each.feature}: {each.value}", "points": round(each.points, 4)} for each in score.reasons],
            "model_version": score.model.version,
            "degraded": window.degraded(),
        }
    )
