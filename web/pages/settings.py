"""A person's own settings: profile, contact, notices, how they log in, where they are logged in, what they may.

Named by `web.routes`.
Never changes anybody else's."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from zoneinfo import available_timezones

from aiohttp import web as http

from federation.messages import ActionKind
from web.guard import see_other, session_of
from web.identity.person import NOTICES, Profile
from web.identity.roles import DUTIES, TITLES
from web.navigation import entries
from web.pages.forms import choices, fields, line
from web.recording import record
from web.rendering import render
from web.state import WINDOW

_SAVED = {
    "profile": "Your profile is saved.",
    "password": "Your password is changed; your other sessions have ended.",
    "sessions": "Ended.",
}


def zones() -> list[str]:
    """Every time zone that has a name people know."""
    named = (zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "SystemV/", "posix/", "right/")))
    return ["UTC", *sorted(named)]


async def settings_page(request: http.Request) -> http.StreamResponse:
    """All of it."""
    return await _settings(request, None)


async def _settings(request: http.Request, wrong: str | None) -> http.Response:
    identity, session = request.app[WINDOW].identity, session_of(request)
    context: dict[str, Any] = {
        "wrong": wrong,
        "said": _SAVED.get(request.query.get("saved", "")),
        "zones": zones(),
        "notices": NOTICES,
        "sessions": await identity.sessions.of(session.person),
        "codes_left": await identity.factors.codes_left(session.person),
        "code_needed": identity.factors.code_needed,
        "title": TITLES[session.person.role],
        "duty": DUTIES[session.person.role],
        "pages": entries(session.person.role, ""),
    }
    return render(request, "settings.html", context, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


def _zone(name: str) -> str:
    if name not in zones():
        raise ValueError("Choose a time zone from the list.")
    return name


async def save_profile(request: http.Request) -> http.StreamResponse:
    """Keep what the person says of themselves."""
    form = await fields(request)
    try:
        profile = Profile(
            name=line(form, "name", "Your name", 120),
            job=line(form, "job", "Your position", 120, needed=False),
            phone=line(form, "phone", "Your telephone number", 40, needed=False),
            zone=_zone(form.get("zone", "")),
            notify=tuple(notice for notice in await choices(request, "notify") if notice in NOTICES),
        )
    except ValueError as error:
        return await _settings(request, str(error))
    person = session_of(request).person
    await record(request, ActionKind.ACCOUNT, "profile_saved")
    await request.app[WINDOW].identity.people.save_profile(person.id, profile)
    return see_other("/settings?saved=profile" if person.profiled_at_ms is not None else "/dashboard")


async def end_session(request: http.Request) -> http.StreamResponse:
    """End one of one's own sessions."""
    person = session_of(request).person
    await record(request, ActionKind.LOGIN, "session_ended")
    await request.app[WINDOW].identity.sessions.end(person.id, request.match_info["session"])
    return see_other("/settings?saved=sessions#sessions")


async def end_others(request: http.Request) -> http.StreamResponse:
    """End all but this one."""
    session = session_of(request)
    await record(request, ActionKind.LOGIN, "other_sessions_ended")
    await request.app[WINDOW].identity.sessions.end_all(session.person.id, but=session)
    return see_other("/settings?saved=sessions#sessions")
