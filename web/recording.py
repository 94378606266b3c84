"""Records what people do, before it is done.

Called by pages and API.
Never lets anything be changed while the audit takes no entry: that is a 503 (ASVS 16.5.3)."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web as http

from federation.messages import ActionKind
from web.guard import actor
from web.state import WINDOW


async def record(request: http.Request, kind: ActionKind, action: str, detail: Mapping[str, str] | None = None) -> None:
    """In the caller's name; AuditUnavailable, which is answered with 503, if it cannot be."""
    await request.app[WINDOW].recorder.record(kind, action, actor=actor(request), detail=detail)
