"""The pages that anybody may read, and the one that everybody lands on.

Named by `web.routes`.
Never shows a figure of an institution to somebody who has not logged in."""

from __future__ import annotations

from typing import Any

from aiohttp import web as http

from web.guard import see_other, session_of
from web.identity.person import Status
from web.identity.roles import DUTIES, TITLES, Role, manages_people
from web.rendering import render
from web.state import WINDOW
from web.views import head_cards


async def home(request: http.Request) -> http.StreamResponse:
    """What federated learning does here."""
    return render(request, "home.html")


async def privacy(request: http.Request) -> http.StreamResponse:
    """The privacy policy."""
    return render(request, "privacy.html")


async def security(request: http.Request) -> http.StreamResponse:
    """Guidance: how to keep an account, and customers, safe."""
    return render(request, "security.html", {"length_min": request.app[WINDOW].identity.passwords.length_min})


async def components(request: http.Request) -> http.StreamResponse:
    """The design system: every part that pages are made of."""
    return render(request, "components.html", {"at_ms": request.app[WINDOW].clock.now_ms()})


async def dashboard(request: http.Request) -> http.StreamResponse:
    """What a role begins its day with."""
    window, person = request.app[WINDOW], session_of(request).person
    if person.profiled_at_ms is None:
        return see_other("/settings")
    context: dict[str, Any] = {
        "title": TITLES[person.role],
        "duty": DUTIES[person.role],
        "heads": head_cards(window.rounds, window.institutions),
    }
    context["degraded"] = window.degraded()
    if manages_people(person.role):
        everybody = await window.identity.people.everybody()
        context["pending"] = [other for other in everybody if other.status is Status.PENDING]
        context["people"] = len(everybody)
        context["without_code"] = sum(other.status is Status.ACTIVE and not other.has_code for other in everybody)
        context["invitations"] = len(await window.identity.invitations.open())
        context["keys"] = len(await window.identity.keys.all())
    if person.role is Role.OFFICER and window.institution is not None:
        context["work"] = await window.institution.desk.store.counts(person.id, window.clock.now_ms())
    return render(request, "dashboard.html", context)
