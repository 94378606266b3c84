"""One case: why it was flagged, who the customer is, what was like it, and what to do.

Named by `web.routes`.
Never acts on a case that changed since its page was loaded: the form says which version it shows."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web as http

from federation.messages import Verdict
from web.cases.case import REASONS, Case, CaseError, Outcome, State, Step
from web.cases.desk import Decision
from web.cases.explaining import explained, similar
from web.guard import see_other, session_of
from web.pages.forms import fields
from web.pages.queue import STATE_TITLES, office_of, officer_named, officers_of, row_of
from web.problems import Problem
from web.rendering import render
from web.state import WINDOW
from web.views import TITLES

_SNOOZES = {4: "4 hours", 24: "1 day", 72: "3 days", 168: "7 days"}
_STEPS = {Step.VALIDATED: "Data validated", Step.REVIEWED: "Transaction reviewed", Step.CONTACTED: "Client contacted"}
_OUTCOMES = {Outcome.CONFIRMED: "Confirmed", Outcome.FALSE_POSITIVE: "False positive", Outcome.INCONCLUSIVE: "Inconclusive"}
_MOVES = {
    "flag": "Flagged by the model", "claim": "Taken", "assign": "Assigned", "release": "Given back", "snooze": "Snoozed", "wake": "Woke up",
    "step": "Step", "decide": "Decided", "approve": "Agreed to", "send_back": "Sent back",
}  # fmt: skip
_CLOSED_LOOKED_AT = 500


async def case_named(request: http.Request) -> Case:
    """The case that the path names; 404 if there is none."""
    case = await office_of(request).desk.store.find(request.match_info["case"])
    if case is None:
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such case.")
    return case


async def case_page(request: http.Request) -> http.StreamResponse:
    """Everything about it."""
    return await _page(request, await case_named(request), None)


async def _page(request: http.Request, case: Case, wrong: str | None) -> http.Response:
    window, institution, me = request.app[WINDOW], office_of(request), session_of(request).person
    store, now_ms = institution.desk.store, window.clock.now_ms()
    events = await store.events_of(case.id)
    officers = await officers_of(window)
    names = {each.id: each.name for each in await window.identity.people.everybody()}
    closed = await store.closed_events(case.head, most=_CLOSED_LOOKED_AT)
    answered = {row.product: row for row in await store.told_of(case.id) if row.product is not None}
    offers = institution.customers.recommend(case.customer, 3)
    profile = institution.customers.profiles.get(case.customer)
    context: dict[str, Any] = {
        "case": case,
        "row": row_of(case, names, now_ms),
        "title": TITLES[case.head],
        "state_title": STATE_TITLES[case.state],
        "events": [(event, explained(event)) for event in events],
        "history": await store.history_of(case.id),
        "told": [row for row in await store.told_of(case.id) if row.product is None],
        "earlier": [row_of(other, names, now_ms) for other in await store.of_customer(case.customer) if other.id != case.id],
        "similar": [(row_of(other, names, now_ms), share) for other, share in similar(events[0].active if events else (), closed, case.id)],
        "offers": offers,
        "answered": answered,
        "profile": profile,
        "names": names,
        "moves": _MOVES,
        "steps": _STEPS,
        "outcomes": _OUTCOMES,
        "reasons": {outcome: REASONS[case.head][outcome] for outcome in _OUTCOMES},
        "reason_title": next((titles[case.reason] for titles in REASONS[case.head].values() if case.reason in titles), "")
        if case.reason
        else "",
        "snoozes": _SNOOZES,
        "officers": sorted(officers.values(), key=lambda each: each.name),
        "mine": case.state is State.ASSIGNED and case.assignee == me.id,
        "me": me.id,
        "State": State,
        "four_eyes_from": institution.desk.four_eyes_from,
        "needs_two": case.amount >= institution.desk.four_eyes_from,
        "wrong": wrong,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
    return render(request, "case.html", context, status=status)


async def act(request: http.Request) -> http.StreamResponse:
    """Do what the form says to the case as the page showed it."""
    case, form, me = await case_named(request), await fields(request), session_of(request).person.id
    try:
        _require_current(case, form)
        await _act(request, case, me, form)
    except CaseError as error:
        return await _page(request, await case_named(request), str(error))
    return see_other(f"/cases/{case.id}")


def _require_current(case: Case, form: Mapping[str, str]) -> None:
    if form.get("version") != str(case.version):
        raise CaseError("The case has changed since you loaded the page. This is how it is now.")


async def _act(request: http.Request, case: Case, me: str, form: Mapping[str, str]) -> None:
    desk = office_of(request).desk
    note = form.get("note", "").strip()
    match form.get("do"):
        case "claim":
            await desk.claim(case, me)
        case "assign":
            await desk.assign(case, me, await officer_named(request, form.get("to")))
        case "release":
            await desk.release(case, me)
        case "snooze":
            hours = form.get("hours", "")
            await desk.snooze(case, me, int(hours) if hours.isdigit() and len(hours) < 4 else 0, note)
        case "step":
            await desk.step(case, me, _one(Step, form.get("step"), "Choose what you did."), note)
        case "decide":
            outcome, _, reason = form.get("decision", "").partition(":")
            await desk.decide(case, me, Decision(_one(Outcome, outcome, "Choose an outcome."), reason, note))
        case "approve":
            await desk.approve(case, me)
        case "send_back":
            await desk.send_back(case, me, note)
        case _:
            raise CaseError("Choose what to do.")


def _one(kind: Any, text: str | None, sentence: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise CaseError(sentence) from None


async def answer(request: http.Request) -> http.StreamResponse:
    """What the client said to a recommended product."""
    case, form = await case_named(request), await fields(request)
    institution, product = office_of(request), form.get("product", "")
    if product not in institution.customers.products or form.get("verdict") not in (Verdict.ACCEPTED.value, Verdict.DECLINED.value):
        return await _page(request, case, "Choose a product, and whether it was accepted or declined.")
    await institution.desk.answer_offer(case, session_of(request).person.id, product, Verdict(form["verdict"]))
    return see_other(f"/cases/{case.id}#offers")
