"""Stands before every handler: who asks, whether they may, and whether a form was really ours.

A middleware of `web.app`; what it finds is at `caller(request)`.
Never passes a request on to a handler whose route declares no access, and never believes a cookie for a change without the form's token."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

from aiohttp import web as http
from aiohttp.typedefs import Handler

from web.access import Access, Caller, Refusal, refusal
from web.identity.keys import ApiKey
from web.identity.login import Visitor
from web.identity.secrets import form_token, new_token, same
from web.identity.sessions import ABSOLUTE_MS, Level, Session
from web.problems import Problem
from web.state import WINDOW, Window

ACCESS: Final = http.AppKey("access", dict[http.AbstractRoute, Access])
FORM_FIELD: Final = "form_token"
FORM_HEADER: Final = "X-Form-Token"
_CALLER: Final[http.RequestKey[ApiKey | Session]] = http.RequestKey("caller")
_VISIT: Final = http.RequestKey("visit", str)
_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_TOKEN_LENGTH: Final = 43


def caller(request: http.Request) -> Caller:
    """Who asks."""
    return request.get(_CALLER)


def session_of(request: http.Request) -> Session:
    """The session of a route that only people use."""
    found = caller(request)
    if not isinstance(found, Session):
        raise Problem(HTTPStatus.FORBIDDEN, "This is for people who have logged in.")
    return found


def visitor(request: http.Request) -> Visitor:
    """Where the request comes from."""
    agent = request.headers.get("User-Agent", "unknown").encode("ascii", "replace").decode()
    return Visitor(request.remote or "unknown", "".join(letter for letter in agent if letter.isprintable()))


def who(request: http.Request) -> str:
    """The caller's name for people to read: an address, or a key's name."""
    found = caller(request)
    if isinstance(found, Session):
        return found.person.email
    return "nobody" if found is None else f"key {found.name}"


def actor(request: http.Request) -> str:
    """The caller in the audit: a person's id, or a key's."""
    found = caller(request)
    if isinstance(found, Session):
        return found.person.id
    return "nobody" if found is None else f"key:{found.id}"


def is_api(request: http.Request) -> bool:
    """Whether a program asks, which wants problem documents and no redirects."""
    return request.path.startswith("/api/") or request.path == "/metrics"


@http.middleware
async def guarded(request: http.Request, handler: Handler) -> http.StreamResponse:
    """Find the caller, decide, check the form, go on."""
    route = request.match_info.route
    access = request.app[ACCESS].get(route)
    if access is None:
        if request.match_info.http_exception is not None:  # No such path or method.
            return await handler(request)
        raise Problem(HTTPStatus.FORBIDDEN, "Nobody may use this.")
    if not all(part.isprintable() for part in request.match_info.values()):  # No database, log or page has a use for it.
        raise Problem(HTTPStatus.NOT_FOUND, "There is nothing at this address.")
    if not access.anonymous:
        found = await _find(request, access)
        if found is not None:
            request[_CALLER] = found
        why = refusal(access, caller(request), request.app[WINDOW].clock.now_ms())
        if why is not None:
            return _refuse(request, why)
        if request.method in _CHANGING and not isinstance(caller(request), ApiKey):
            await _require_our_form(request)
    return await handler(request)


async def _find(request: http.Request, access: Access) -> Caller:
    identity = request.app[WINDOW].identity
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        found = await identity.keys.find(key) if scheme.lower() == "bearer" and len(key) < 100 else None
        if found is None and not access.public:
            raise Problem(HTTPStatus.UNAUTHORIZED, "The API key is unknown, has expired or was revoked.")
        return found
    token = request.cookies.get(cookie_name(request.app[WINDOW]), "")
    # A page that loads itself again (it says so) is not a person.
    renews = access.renews and "again" not in request.query
    return await identity.sessions.find(token, renews=renews) if len(token) == _TOKEN_LENGTH else None


async def still_there(request: http.Request) -> bool:
    """For an answer that lasts: whether its session is alive still."""
    token = request.cookies.get(cookie_name(request.app[WINDOW]), "")
    return await request.app[WINDOW].identity.sessions.find(token, renews=False) is not None


def _refuse(request: http.Request, why: Refusal) -> http.StreamResponse:
    if is_api(request):
        if why is Refusal.UNKNOWN:
            raise Problem(HTTPStatus.UNAUTHORIZED, "Send an API key: Authorization: Bearer KEY.")
        if why is Refusal.CONFIRM:
            raise Problem(HTTPStatus.FORBIDDEN, "Confirm first, at /confirm, that it is you.")
        raise Problem(HTTPStatus.FORBIDDEN, "This key or role may not do this.")
    if why is Refusal.FORBIDDEN:
        raise Problem(HTTPStatus.FORBIDDEN, "Your role has no access to this page. An administrator can change your role.")
    if why is Refusal.UNFINISHED:
        found = session_of(request)
        return see_other({Level.HALF: "/login/code", Level.ENROL: "/settings/app"}.get(found.level, "/dashboard"))
    back = request.path_qs if request.method == "GET" else "/dashboard"
    return see_other(f"{'/login' if why is Refusal.UNKNOWN else '/confirm'}?next={quote(back, safe='')}")


async def _require_our_form(request: http.Request) -> None:
    """ASVS 3.5.1: the browser must say that our own page sent it, and the page must have known the cookie's form token."""
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    ours = origin is None or urlsplit(origin).netloc == request.host
    given = request.headers.get(FORM_HEADER, "")
    if not given and request.content_type == "application/x-www-form-urlencoded":
        given = str((await request.post()).get(FORM_FIELD, ""))
    expected = held_form_token(request)
    if not ours or site not in ("same-origin", "none") or expected is None or not same(given, expected):
        raise Problem(HTTPStatus.FORBIDDEN, "This form is too old, or was not made here. Go back, load the page again and send it again.")


def cookie_name(window: Window) -> str:
    """Named by the portal, since browsers send one port's cookies to another's; __Host- binds it to a host that speaks TLS."""
    place = window.institution.name if window.institution else "console"
    return f"{'__Host-' if window.secure else ''}riverbank-{place}"


def _visit_cookie(request: http.Request) -> str:
    return f"{cookie_name(request.app[WINDOW])}-visit"


def held_form_token(request: http.Request) -> str | None:
    """The form token of this browser's cookie: of its session, or before that of its visit."""
    names = cookie_name(request.app[WINDOW]) if caller(request) is not None else _visit_cookie(request)
    token = request.get(_VISIT) or request.cookies.get(names, "")
    return form_token(token) if len(token) == _TOKEN_LENGTH else None


def form_token_for(request: http.Request) -> str:
    """For a form in the page that is being made; begins a visit if there is neither session nor visit."""
    held = held_form_token(request)
    if held is None:
        request[_VISIT] = new_token(request.app[WINDOW].entropy)
        held = form_token(request[_VISIT])
    return held


def keep_visit(request: http.Request, response: http.StreamResponse) -> None:
    """Give the cookie of a visit that began with this page."""
    if _VISIT in request:
        _set(request, response, _visit_cookie(request), request[_VISIT])


def keep_session(request: http.Request, response: http.StreamResponse, token: str) -> None:
    """Give the cookie of a new session."""
    _set(request, response, cookie_name(request.app[WINDOW]), token)


def drop_session(request: http.Request, response: http.StreamResponse) -> None:
    """Take the cookie away; the session itself must have been ended before."""
    response.del_cookie(cookie_name(request.app[WINDOW]), path="/", secure=request.app[WINDOW].secure, httponly=True, samesite="Strict")


def _set(request: http.Request, response: http.StreamResponse, name: str, token: str) -> None:
    secure = request.app[WINDOW].secure
    response.set_cookie(name, token, max_age=ABSOLUTE_MS // 1000, path="/", secure=secure, httponly=True, samesite="Strict")


def see_other(path: str) -> http.Response:
    """Go there, by GET."""
    return http.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": path, "Cache-Control": "no-store"})


def link_to(request: http.Request, token: str) -> str:
    """The address of an invitation, as browsers reach it."""
    origin = request.app[WINDOW].origin or f"{request.scheme}://{request.host}"
    return f"{origin}/invitation/{token}"


def local_path(text: str) -> str:
    r"""A path of our own to go back to; anything else becomes the dashboard.

    >>> [local_path(text) for text in ("/settings?x=1", "//evil.example", "https://evil.example", "/\\\\\\\\evil.example")]
    ['/settings?x=1', '/dashboard', '/dashboard', '/dashboard']
    """
    fine = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if fine else "/dashboard"
