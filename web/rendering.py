"""Makes pages: what every template may use, and the answer with its headers.

Called by everything in `web.pages`.
Never puts a script of a page's own into it without the nonce of its answer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiohttp import web as http
from markupsafe import Markup, escape

from web.guard import caller, form_token_for, keep_visit
from web.identity.roles import TITLES, Role
from web.identity.sessions import Level, Session
from web.navigation import entries
from web.state import WINDOW

NONCE: Final = http.RequestKey("nonce", str)


def nonce_of(request: http.Request) -> str:
    """The nonce of this answer, the same in its header and in its page."""
    if NONCE not in request:
        request[NONCE] = secrets.token_urlsafe(16)
    return request[NONCE]


def zone_of(name: str) -> ZoneInfo:
    """A time zone by name; UTC for one that is not known any more."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def time_text(at_ms: int, zone: ZoneInfo) -> Markup:
    """A moment as its reader's clock shows it, with the zone, and exactly for machines."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    shown = at.astimezone(zone).strftime("%-d %b %Y, %H:%M %Z")
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), escape(shown))


def render(
    request: http.Request, template: str, context: Mapping[str, Any] | None = None, *, status: HTTPStatus = HTTPStatus.OK
) -> http.Response:
    """The page; not to be kept by any cache, since it is one person's."""
    window = request.app[WINDOW]
    found = caller(request)
    person = found.person if isinstance(found, Session) and found.level is Level.FULL else None
    zone = zone_of(person.zone if person else "UTC")
    known: dict[str, Any] = {
        "institution": window.institution.name if window.institution else "",
        "person": person,
        "session": found if isinstance(found, Session) else None,
        "role_titles": TITLES,
        "navigation": entries(person.role if person else None, request.path),
        "form_token": form_token_for(request),
        "nonce": nonce_of(request),
        "time": lambda at_ms: time_text(at_ms, zone),
        "zone": zone.key,
        "path": request.path,
        "Role": Role,
    }
    text = window.templates.get_template(template).render({**known, **(context or {})})
    response = http.Response(text=text, content_type="text/html", status=status.value)
    response.headers["Cache-Control"] = "no-store"
    keep_visit(request, response)
    return response
