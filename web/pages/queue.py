"""The officers' queue: filters in the address, take-next, several cases at once, saved views.

Named by `web.routes`.
Never says that something was done to a case when it was not: several at once have a line each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web as http

from web.cases.case import SLA_MS, Case, CaseError, Outcome
from web.cases.desk import Decision
from web.cases.filters import SORTS, STATES, Filters
from web.cases.priority import FORMULA, priority
from web.cases.store import PAGE_LENGTH
from web.guard import see_other, session_of
from web.identity.person import Person, Status
from web.identity.roles import Role
from web.pages.forms import choices, fields
from web.problems import Problem
from web.rendering import render
from web.state import WINDOW, Institution, Window
from web.views import TITLES, span_text

BULK_MAX: Final = PAGE_LENGTH
STATE_TITLES: Final = {
    "active": "To do", "open": "Open", "assigned": "Assigned", "snoozed": "Snoozed", "decided": "Needs a second officer",
    "closed": "Closed", "all": "All",
}  # fmt: skip


def office_of(request: http.Request) -> Institution:
    """The institution whose officers work here; the console has none."""
    institution = request.app[WINDOW].institution
    if institution is None:
        raise Problem(HTTPStatus.NOT_FOUND, "This is the operator's console, which sees no customer.")
    return institution


async def officers_of(window: Window) -> dict[str, Person]:
    """Who may be given a case, by id."""
    return {
        each.id: each for each in await window.identity.people.everybody() if each.role is Role.OFFICER and each.status is Status.ACTIVE
    }


async def officer_named(request: http.Request, person_id: str | None) -> str:
    """Their id; CaseError if it is no officer's who works here."""
    if person_id is None or person_id not in await officers_of(request.app[WINDOW]):
        raise CaseError("Choose an officer.")
    return person_id


def due_text(case: Case, now_ms: int) -> str:
    """How much time is left, or by how much it is late."""
    if case.closed_at_ms is not None:
        late_ms = case.closed_at_ms - case.due_at_ms
        return f"closed {span_text(late_ms)} late" if late_ms > 0 else "closed in time"
    left_ms = case.due_at_ms - now_ms
    return f"{span_text(left_ms)} left" if left_ms >= 0 else f"{span_text(-left_ms)} late"


def row_of(case: Case, names: dict[str, str], now_ms: int) -> dict[str, Any]:
    """A case as a line of a table."""
    return {
        "case": case,
        "head": TITLES[case.head],
        "risk": f"{case.risk:.0%}",
        "amount": f"{case.amount:,.2f}",
        "priority": f"{priority(case.risk, case.amount, case.opened_at_ms, case.due_at_ms, now_ms):,.0f}",
        "due": due_text(case, now_ms),
        "late": case.closed_at_ms is None and now_ms > case.due_at_ms,
        "assignee": names.get(case.assignee or "", ""),
    }


async def queue_page(request: http.Request) -> http.StreamResponse:
    """The cases that the address asks for."""
    return await _queue(request, Filters.of(request.query))


async def _queue(request: http.Request, filters: Filters, *, done: list[dict[str, Any]] | None = None, said: str = "") -> http.Response:
    window, me = request.app[WINDOW], session_of(request).person
    store, now_ms = office_of(request).desk.store, window.clock.now_ms()
    cases, many = await store.listed(filters, me.id, now_ms)
    officers = await officers_of(window)
    names = {each.id: each.name for each in await window.identity.people.everybody()}
    pages = max(1, -(-many // PAGE_LENGTH))
    context: dict[str, Any] = {
        "filters": filters,
        "rows": [row_of(case, names, now_ms) for case in cases],
        "many": many,
        "pages": pages,
        "states": [(state, STATE_TITLES[state]) for state in STATES],
        "heads": [(head.value, TITLES[head]) for head in SLA_MS],
        "sorts": SORTS,
        "formula": FORMULA,
        "officers": sorted(officers.values(), key=lambda each: each.name),
        "views": await store.views(me.id),
        "state_titles": STATE_TITLES,
        "done": done or [],
        "said": said,
        "here": filters.query(),
    }
    return render(request, "queue.html", context)


async def take_next(request: http.Request) -> http.StreamResponse:
    """The most urgent case that nobody has."""
    form = await fields(request)
    head = next((head for head in SLA_MS if head.value == form.get("head")), None)
    case = await office_of(request).desk.take_next(session_of(request).person.id, head)
    if case is None:
        return await _queue(request, Filters(head=head), said="There is no open case: everything is taken, snoozed or closed.")
    return see_other(f"/cases/{case.id}")


async def bulk(request: http.Request) -> http.StreamResponse:
    """The same to several cases; each succeeds or fails on its own."""
    form, ids = await fields(request), await choices(request, "case")
    back = Filters.of(dict(parse_qsl(form.get("here", ""))))
    if not ids or len(ids) > BULK_MAX:
        return await _queue(request, back, said=f"Choose 1 to {BULK_MAX} cases first.")
    done = []
    for case_id in dict.fromkeys(ids):
        case = await office_of(request).desk.store.find(case_id)
        if case is None:
            continue
        said = "Done."
        try:
            await _one(request, form, case)
        except CaseError as error:
            said = str(error)
        done.append({"id": case_id, "customer": case.customer, "fine": said == "Done.", "text": said})
    return await _queue(request, back, done=done)


async def _one(request: http.Request, form: Any, case: Case) -> None:
    desk, me = office_of(request).desk, session_of(request).person.id
    match form.get("do"):
        case "mine":
            await desk.assign(case, me, me)
        case "assign":
            await desk.assign(case, me, await officer_named(request, form.get("to")))
        case "release":
            await desk.release(case, me)
        case "snooze":
            await desk.snooze(case, me, 24, form.get("why", ""))
        case "false_positive":
            await desk.decide(case, me, Decision(Outcome.FALSE_POSITIVE, "other_false", form.get("why", "")))
        case _:
            raise CaseError("Choose what to do.")


async def save_view(request: http.Request) -> http.StreamResponse:
    """Keep this part of the queue under a name."""
    form = await fields(request)
    filters = Filters.of(dict(parse_qsl(form.get("here", ""))))
    name = " ".join(form.get("name", "").split())
    if not 0 < len(name) <= 60 or not name.isprintable():
        return await _queue(request, filters, said="A view's name has 1 to 60 characters.")
    await office_of(request).desk.store.add_view(session_of(request).person.id, name, filters.query(page=1), shared="shared" in form)
    return see_other(f"/cases?{filters.query()}")


async def drop_view(request: http.Request) -> http.StreamResponse:
    """Forget a view of one's own."""
    await office_of(request).desk.store.drop_view(session_of(request).person.id, request.match_info["view"])
    return see_other("/cases")
