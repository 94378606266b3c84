"""People and their access, for those who manage it.

Named by `web.routes`.
Never lets a manager act on themselves, and never shows a link twice."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web as http

from federation.messages import ActionKind
from web.guard import actor, link_to, see_other, session_of, who
from web.identity.people import PeopleError, normalised_email
from web.identity.person import Person, Status
from web.identity.roles import DUTIES, TITLES, Role, roles_of
from web.pages.forms import fields
from web.problems import Problem
from web.recording import record
from web.rendering import render
from web.state import WINDOW, Window


def role_choices(window: Window) -> list[dict[str, str]]:
    """The roles there are here, for a form."""
    return [{"value": role.value, "title": TITLES[role], "duty": DUTIES[role]} for role in roles_of(console=window.institution is None)]


def role_named(window: Window, text: str) -> Role:
    """The role of this name; PeopleError if there is none here."""
    for role in roles_of(console=window.institution is None):
        if role.value == text:
            return role
    raise PeopleError("Choose one of the roles.")


async def person_named(request: http.Request) -> Person:
    """The person that the path names; 404 if there is none."""
    found = await request.app[WINDOW].identity.people.find(request.match_info["person"])
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such person here.")
    return found


async def users_page(request: http.Request) -> http.StreamResponse:
    """Everybody, who waits for confirmation, and open invitations."""
    return await _users(request, None)


async def _users(request: http.Request, wrong: str | None) -> http.Response:
    window = request.app[WINDOW]
    everybody = await window.identity.people.everybody()
    context: dict[str, Any] = {
        "wrong": wrong,
        "pending": [person for person in everybody if person.status is Status.PENDING],
        "people": [person for person in everybody if person.status is not Status.PENDING],
        "invitations": await window.identity.invitations.open(),
        "roles": role_choices(window),
        "me": session_of(request).person.id,
    }
    return render(request, "users.html", context, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


async def person_page(request: http.Request) -> http.StreamResponse:
    """One person: role, access, sessions."""
    return await _person(request, await person_named(request), None)


async def _person(request: http.Request, other: Person, wrong: str | None) -> http.Response:
    window = request.app[WINDOW]
    context: dict[str, Any] = {
        "other": other,
        "wrong": wrong,
        "roles": role_choices(window),
        "sessions": await window.identity.sessions.of(other),
        "codes_left": await window.identity.factors.codes_left(other),
        "oneself": other.id == session_of(request).person.id,
    }
    return render(request, "user.html", context, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


async def govern(request: http.Request) -> http.StreamResponse:
    """Give a role, confirm, disable or enable: whichever the form names."""
    form, other, window = await fields(request), await person_named(request), request.app[WINDOW]
    back = "/users" if other.status is Status.PENDING else f"/users/{other.id}"
    try:
        role = role_named(window, form["role"]) if "role" in form else None
        status = Status(form["status"]) if form.get("status") in (Status.ACTIVE.value, Status.DISABLED.value) else None
        await governed(request, other, role, status)
    except PeopleError as error:
        return await _person(request, other, str(error))
    return see_other(back)


async def governed(request: http.Request, other: Person, role: Role | None, status: Status | None) -> Person:
    """Record it, then do it; PeopleError if it may not be."""
    me = actor(request)
    if other.id == me:
        raise PeopleError("Nobody changes their own role or access: ask another administrator.")
    detail = {"person": other.id} | ({} if role is None else {"role": role.value}) | ({} if status is None else {"status": status.value})
    await record(request, ActionKind.ACCOUNT, "access_changed", detail)
    return await request.app[WINDOW].identity.people.govern(other.id, by=me, role=role, status=status)


async def reset_app(request: http.Request) -> http.StreamResponse:
    """Let somebody set up a new authenticator app at their next log-in."""
    other = await person_named(request)
    if other.id == session_of(request).person.id:
        return await _person(request, other, "Set up your own new app in your settings.")
    await record(request, ActionKind.ACCOUNT, "app_reset", {"person": other.id})
    await request.app[WINDOW].identity.factors.reset(other.id)
    return see_other(f"/users/{other.id}")


async def password_link(request: http.Request) -> http.StreamResponse:
    """A one-time link for a new password."""
    other = await person_named(request)
    await record(request, ActionKind.ACCOUNT, "password_link_made", {"person": other.id})
    token = await request.app[WINDOW].identity.invitations.make(other.role, by=who(request), email=other.email, person_id=other.id)
    return _link(request, token, f"Give this link to {other.name}, whom you know to be {other.name}.")


async def end_sessions(request: http.Request) -> http.StreamResponse:
    """Log somebody out everywhere."""
    other = await person_named(request)
    await record(request, ActionKind.ACCOUNT, "sessions_ended", {"person": other.id})
    await request.app[WINDOW].identity.sessions.end_all(other.id)
    return see_other(f"/users/{other.id}")


async def invite(request: http.Request) -> http.StreamResponse:
    """A one-time link for somebody new."""
    form, window = await fields(request), request.app[WINDOW]
    try:
        role = role_named(window, form.get("role", ""))
        email = normalised_email(form["email"]) if form.get("email", "").strip() else None
    except PeopleError as error:
        return await _users(request, str(error))
    await record(request, ActionKind.ACCOUNT, "invited", {"role": role.value})
    token = await window.identity.invitations.make(role, by=who(request), email=email)
    return _link(request, token, f"Send this link to the new {TITLES[role].lower()}, in a way that only they can read.")


async def withdraw(request: http.Request) -> http.StreamResponse:
    """Take an invitation back."""
    await record(request, ActionKind.ACCOUNT, "invitation_withdrawn", {"invitation": request.match_info["invitation"][:40]})
    await request.app[WINDOW].identity.invitations.withdraw(request.match_info["invitation"])
    return see_other("/users")


def _link(request: http.Request, token: str, sentence: str) -> http.Response:
    return render(
        request, "link.html", {"secret": link_to(request, token), "sentence": sentence, "what": "One-time link", "back": "/users"}
    )
