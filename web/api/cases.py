"""Cases over the API: the queue, one case with its explanation, taking the next and deciding.

Named by `web.routes`.
Never lets a system decide: keys may look, and only an officer's own session takes or decides."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web as http

from federation.messages import HeadName
from web.api import shapes
from web.api.operations import answered, taken
from web.cases.case import Case, CaseError, Outcome
from web.cases.desk import Decision
from web.cases.explaining import explained
from web.cases.filters import Filters
from web.cases.priority import priority
from web.guard import session_of
from web.pages.case import case_named
from web.pages.queue import office_of
from web.problems import Problem
from web.state import WINDOW


def _shape(request: http.Request, case: Case) -> shapes.CaseShape:
    now_ms = request.app[WINDOW].clock.now_ms()
    return shapes.CaseShape(
        id=case.id, head="fraud" if case.head is HeadName.FRAUD else "credit", customer=case.customer, state=case.state.value, version=case.version, risk=case.risk, amount=case.amount,
        priority=priority(case.risk, case.amount, case.opened_at_ms, case.due_at_ms, now_ms), opened_at_ms=case.opened_at_ms,
        due_at_ms=case.due_at_ms, assignee=case.assignee, outcome=None if case.outcome is None else case.outcome.value, reason=case.reason,
        closed_at_ms=case.closed_at_ms,
    )  # fmt: skip


async def cases(request: http.Request) -> http.Response:
    """The queue, with the filters of the page."""
    filters, now_ms = Filters.of(request.query), request.app[WINDOW].clock.now_ms()
    listed, many = await office_of(request).desk.store.listed(filters, "", now_ms)
    return answered(shapes.CasesShape(cases=[_shape(request, case) for case in listed], matching=many, page=filters.page))


async def case(request: http.Request) -> http.Response:
    """One case, and why each of its events was flagged."""
    found = await case_named(request)
    events = []
    for event in await office_of(request).desk.store.events_of(found.id):
        why = explained(event)
        points = [shapes.PointShape(feature=point.feature, value=point.value, points=point.points) for point in why.points]
        events.append(
            shapes.FlaggedShape(
                event_id=event.event_id,
                occurred_at_ms=max(0, event.occurred_at_ms),
                amount=event.amount,
                probability=why.probability,
                log_odds=why.log_odds,
                base=why.base,
                points=points,
                model_version=event.model_version,
                epoch=event.epoch,
                round=event.round,
            )
        )
    return answered(shapes.CaseDetailShape(case=_shape(request, found), events=events))


async def take_next(request: http.Request) -> http.Response:
    """The most urgent case that nobody has."""
    wanted = await taken(request, shapes.NextCase)
    found = await office_of(request).desk.take_next(session_of(request).person.id, None if wanted.head is None else HeadName(wanted.head))
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, "There is no open case.")
    return answered(_shape(request, found))


async def decide(request: http.Request) -> http.Response:
    """Decide about a case that one has, as one saw it."""
    wanted, found = await taken(request, shapes.NewDecision), await case_named(request)
    try:
        if wanted.version != found.version:
            raise CaseError("The case has changed since you looked at it.")  # noqa: TRY301 One answer for every conflict.
        decision = Decision(Outcome(wanted.outcome), wanted.reason, wanted.note)
        return answered(_shape(request, await office_of(request).desk.decide(found, session_of(request).person.id, decision)))
    except CaseError as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from None
