"""People, sessions, invitations and keys over the API.

Named by `web.routes`.
Never does what the pages would not: both ask `web.identity`, and record first."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web as http

from federation.messages import ActionKind
from web.api import shapes
from web.api.operations import answered, taken
from web.guard import actor, caller, link_to, who
from web.identity.keys import ApiKey
from web.identity.people import PeopleError, normalised_email
from web.identity.person import Status
from web.identity.roles import Role, Scope, roles_of
from web.identity.sessions import Session
from web.pages.users import governed, person_named
from web.problems import Problem
from web.recording import record
from web.state import WINDOW

_DAY_MS = 24 * 3_600_000


async def me(request: http.Request) -> http.Response:
    """Who the caller is."""
    found = caller(request)
    if isinstance(found, Session):
        return answered(shapes.CallerShape(kind="person", name=found.person.name, role=found.person.role.value, scopes=[]))
    assert isinstance(found, ApiKey)  # noqa: S101 The guard lets nobody else in.
    return answered(shapes.CallerShape(kind="key", name=found.name, role=None, scopes=sorted(scope.value for scope in found.scopes)))


async def users(request: http.Request) -> http.Response:
    """Everybody."""
    everybody = await request.app[WINDOW].identity.people.everybody()
    return answered(shapes.UsersShape(users=[shapes.UserShape.of(person) for person in everybody]))


async def user(request: http.Request) -> http.Response:
    """One of them."""
    return answered(shapes.UserShape.of(await person_named(request)))


async def change_user(request: http.Request) -> http.Response:
    """Give a role, confirm, disable or enable."""
    change, other = await taken(request, shapes.UserChange), await person_named(request)
    role = None if change.role is None else _role(request, change.role)
    status = None if change.status is None else Status(change.status)
    try:
        return answered(shapes.UserShape.of(await governed(request, other, role, status)))
    except PeopleError as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from None


def _role(request: http.Request, name: str) -> Role:
    role = Role(name)
    if role not in roles_of(console=request.app[WINDOW].institution is None):
        raise Problem(HTTPStatus.BAD_REQUEST, f"role: there is no {name} here")
    return role


async def sessions(request: http.Request) -> http.Response:
    """Where somebody is logged in."""
    found = await request.app[WINDOW].identity.sessions.of(await person_named(request))
    return answered(shapes.SessionsShape(sessions=[shapes.SessionShape.of(session) for session in found]))


async def end_sessions(request: http.Request) -> http.Response:
    """Log somebody out everywhere."""
    other = await person_named(request)
    await record(request, ActionKind.ACCOUNT, "sessions_ended", {"person": other.id})
    await request.app[WINDOW].identity.sessions.end_all(other.id)
    return http.Response(status=HTTPStatus.NO_CONTENT)


async def end_session(request: http.Request) -> http.Response:
    """Log somebody out in one place."""
    other = await person_named(request)
    await record(request, ActionKind.ACCOUNT, "session_ended", {"person": other.id})
    if not await request.app[WINDOW].identity.sessions.end(other.id, request.match_info["session"]):
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such session.")
    return http.Response(status=HTTPStatus.NO_CONTENT)


async def invitations(request: http.Request) -> http.Response:
    """Open ones."""
    found = await request.app[WINDOW].identity.invitations.open()
    return answered(shapes.InvitationsShape(invitations=[shapes.InvitationShape.of(invitation) for invitation in found]))


async def invite(request: http.Request) -> http.Response:
    """A one-time link for somebody new."""
    asked = await taken(request, shapes.NewInvitation)
    role = _role(request, asked.role)
    try:
        email = None if asked.email is None else normalised_email(asked.email)
    except PeopleError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"email: {error}") from None
    await record(request, ActionKind.ACCOUNT, "invited", {"role": role.value})
    token = await request.app[WINDOW].identity.invitations.make(role, by=who(request), email=email)
    return answered(shapes.LinkShape(link=link_to(request, token)), HTTPStatus.CREATED)


async def withdraw(request: http.Request) -> http.Response:
    """Take an invitation back."""
    await record(request, ActionKind.ACCOUNT, "invitation_withdrawn")
    if not await request.app[WINDOW].identity.invitations.withdraw(request.match_info["invitation"]):
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such open invitation.")
    return http.Response(status=HTTPStatus.NO_CONTENT)


async def keys(request: http.Request) -> http.Response:
    """Every living key."""
    found = await request.app[WINDOW].identity.keys.all()
    return answered(shapes.KeysShape(keys=[shapes.KeyShape.of(key) for key in found]))


async def make_key(request: http.Request) -> http.Response:
    """A new key, shown once."""
    asked, window, found = await taken(request, shapes.NewKey), request.app[WINDOW], caller(request)
    scopes = {Scope(name) for name in asked.scopes}
    if isinstance(found, ApiKey) and not scopes <= found.scopes:
        raise Problem(HTTPStatus.FORBIDDEN, "A key makes keys with its own scopes only.")
    await record(request, ActionKind.ACCOUNT, "key_made", {"scopes": " ".join(sorted(scopes)), "by": actor(request)})
    ends_ms = window.clock.now_ms() + asked.days * _DAY_MS
    key_id, key = await window.identity.keys.make(asked.name, sorted(scopes), by=who(request), expires_at_ms=ends_ms)
    return answered(shapes.KeyMade(id=key_id, key=key), HTTPStatus.CREATED)


async def revoke_key(request: http.Request) -> http.Response:
    """End a key."""
    await record(request, ActionKind.ACCOUNT, "key_revoked")
    if not await request.app[WINDOW].identity.keys.revoke(request.match_info["key"]):
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such key.")
    return http.Response(status=HTTPStatus.NO_CONTENT)
