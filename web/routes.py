"""The URL table.

Read by `web.app`; every path of the portal stands here and nowhere else.
Never holds logic: handlers do."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import web as http

from web import handlers, pages


def routes() -> list[http.AbstractRouteDef]:
    """Every route of portal and console."""
    return [
        http.get("/", pages.live_page),
        http.get("/events", pages.live_events),
        http.get("/api/v1/recommendations/{customer}", handlers.recommendations),
        http.post("/api/v1/feedback", handlers.feedback),
        http.get("/api/v1/rounds", handlers.rounds),
        http.get("/api/v1/institutions", handlers.institutions),
        http.get("/api/v1/partnerships", handlers.partnerships),
        http.get("/health/live", handlers.health_live),
        http.get("/health/ready", handlers.health_ready),
        http.get("/metrics", handlers.metrics),
        http.static("/static", str(files("web") / "static")),
    ]
