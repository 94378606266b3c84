"""Joining: with an invitation's link, or by asking for an account that an administrator confirms.

Named by `web.routes`.
Never tells whether an address is known here already."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web as http

from federation.messages import ActionKind
from web.guard import see_other, visitor
from web.identity.people import PeopleError
from web.identity.roles import DUTIES, TITLES, Role, roles_of
from web.pages.forms import fields, line
from web.problems import Problem
from web.recording import record
from web.rendering import render
from web.state import WINDOW
from web.views import span_text


def _open_roles(request: http.Request) -> tuple[Role, ...]:
    """What a stranger may ask for; an administrator is only ever invited."""
    offered = roles_of(console=request.app[WINDOW].institution is None)
    return tuple(role for role in offered if role is not Role.ADMINISTRATOR)


def _asked_role(request: http.Request, form: dict[str, str]) -> Role:
    for role in _open_roles(request):
        if form.get("role") == role.value:
            return role
    raise ValueError("Choose what you will do here.")


def _page(
    request: http.Request, *, wrong: str | None = None, given: dict[str, str] | None = None, status: HTTPStatus = HTTPStatus.OK
) -> http.Response:
    window = request.app[WINDOW]
    context: dict[str, Any] = {
        "wrong": wrong,
        "given": given or {},
        "roles": [{"value": role.value, "title": TITLES[role], "duty": DUTIES[role]} for role in _open_roles(request)],
        "length_min": window.identity.passwords.length_min,
    }
    return render(request, "register.html", context, status=status)


async def register_page(request: http.Request) -> http.StreamResponse:
    """The form to ask for an account."""
    return _page(request)


async def register(request: http.Request) -> http.StreamResponse:
    """Ask for an account."""
    form = dict(await fields(request))
    window = request.app[WINDOW]
    await record(request, ActionKind.ACCOUNT, "account_asked")
    try:
        role = _asked_role(request, form)
        name = line(form, "name", "Your name", 120)
        wait_ms = await window.identity.registration.by_request(
            email=form.get("email", ""), name=name, role=role, password=form.get("password", ""), address=visitor(request).address
        )
    except (PeopleError, ValueError) as error:
        return _page(request, wrong=str(error), given=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    if wait_ms:
        return _page(request, wrong=f"Too many tries. Wait {span_text(wait_ms)}.", given=form, status=HTTPStatus.TOO_MANY_REQUESTS)
    return render(request, "register_done.html")


async def invitation_page(request: http.Request) -> http.StreamResponse:
    """The form behind an invitation's link; a spent link says so."""
    return await _invited(request, None, {})


async def invitation(request: http.Request) -> http.StreamResponse:
    """Use the invitation up."""
    form, token = dict(await fields(request)), request.match_info["token"]
    registration = request.app[WINDOW].identity.registration
    await record(request, ActionKind.ACCOUNT, "invitation_opened")
    try:
        found = await request.app[WINDOW].identity.invitations.find(token)
        if found is not None and found.person_id is not None:
            await registration.new_password(token, form.get("password", ""))
        else:
            name = line(form, "name", "Your name", 120)
            await registration.by_invitation(token, email=form.get("email", ""), name=name, password=form.get("password", ""))
    except (PeopleError, ValueError) as error:
        return await _invited(request, str(error), form)
    return see_other("/login?ended=changed")


async def _invited(request: http.Request, wrong: str | None, given: dict[str, str]) -> http.StreamResponse:
    window = request.app[WINDOW]
    found = await window.identity.invitations.find(request.match_info["token"])
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, "This link has been used, or is too old: ask for a new one.")
    context: dict[str, Any] = {
        "wrong": wrong,
        "given": given,
        "invitation": found,
        "title": TITLES[found.role],
        "duty": DUTIES[found.role],
        "length_min": window.identity.passwords.length_min,
    }
    return render(request, "invitation.html", context, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)
