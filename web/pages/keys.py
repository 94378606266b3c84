"""API keys for the institution's other systems.

Named by `web.routes`.
Never shows a key twice."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web as http

from federation.messages import ActionKind
from web.guard import see_other, who
from web.identity.roles import SCOPE_TITLES, Scope
from web.pages.forms import choices, fields, line
from web.recording import record
from web.rendering import render
from web.state import WINDOW

DAYS: Final = (30, 90, 365)
DAY_MS: Final = 24 * 3_600_000


async def keys_page(request: http.Request) -> http.StreamResponse:
    """Every living key, and the form for a new one."""
    return await _keys(request, None)


async def _keys(request: http.Request, wrong: str | None) -> http.Response:
    context: dict[str, Any] = {
        "wrong": wrong,
        "keys": await request.app[WINDOW].identity.keys.all(),
        "scopes": SCOPE_TITLES,
        "days": DAYS,
        "now_ms": request.app[WINDOW].clock.now_ms(),
    }
    return render(request, "keys.html", context, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


async def make_key(request: http.Request) -> http.StreamResponse:
    """A new key, shown once."""
    form, window = await fields(request), request.app[WINDOW]
    scopes = [Scope(scope) for scope in await choices(request, "scope") if scope in list(Scope)]
    try:
        name = line(form, "name", "The system's name", 120)
    except ValueError as error:
        return await _keys(request, str(error))
    if not scopes:
        return await _keys(request, "Choose what the key is for.")
    days = next((days for days in DAYS if str(days) == form.get("days")), DAYS[0])
    await record(request, ActionKind.ACCOUNT, "key_made", {"scopes": " ".join(sorted(scopes))})
    _, key = await window.identity.keys.make(name, scopes, by=who(request), expires_at_ms=window.clock.now_ms() + days * DAY_MS)
    sentence = f"Give this key to {name}, in a way that nobody else can read: Authorization: Bearer KEY."
    return render(request, "link.html", {"secret": key, "sentence": sentence, "what": "API key", "back": "/keys"})


async def revoke_key(request: http.Request) -> http.StreamResponse:
    """End a key."""
    await record(request, ActionKind.ACCOUNT, "key_revoked", {"key": request.match_info["key"][:40]})
    await request.app[WINDOW].identity.keys.revoke(request.match_info["key"])
    return see_other("/keys")
