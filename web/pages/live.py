"""The live page, and the events that keep it current.

Named by `web.routes`.
Never sends a page more often than once a second, however busy the log is."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from aiohttp import web as http

from web.guard import still_there
from web.rendering import render
from web.state import WINDOW, Window
from web.views import clock_text, live_context

_REFRESH_S: Final = 1.0


def _context(window: Window) -> dict[str, Any]:
    now_ms = window.clock.now_ms()
    feeds = [window.feed, *([window.institution.feed] if window.institution else [])]
    lost = [feed.disconnected_since_ms for feed in feeds if feed.disconnected_since_ms is not None]
    return {
        **live_context(
            window.rounds,
            window.institutions,
            window.partnerships,
            window.checkpoints,
            now_ms=now_ms,
            disconnected_since_ms=min(lost, default=None),
        ),
        "clock": clock_text(now_ms),
    }


async def live_page(request: http.Request) -> http.Response:
    """Rounds, lag per institution and quality per head, as of now."""
    return render(request, "live.html", _context(request.app[WINDOW]))


async def live_events(request: http.Request) -> http.StreamResponse:
    """Server-sent events "main": the live page's main part, whenever something changed and at least every five seconds."""
    window = request.app[WINDOW]
    response = http.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    template = window.templates.get_template("live_main.html")
    sent = ""
    quiet_s = 0.0
    while await still_there(request):
        context = _context(window)
        html = template.render(context)
        if html != sent or quiet_s >= 5:
            payload = json.dumps({"clock": context["clock"], "html": html})
            await response.write(f"event: main\ndata: {payload}\n\n".encode())
            sent, quiet_s = html, 0.0
        await asyncio.sleep(_REFRESH_S)
        quiet_s += _REFRESH_S
    return response
