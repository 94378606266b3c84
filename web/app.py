"""The aiohttp application: routes, error documents, security headers, request metrics.

Made by `web.wiring`.
Never answers an unexpected error with anything but a generic 500: the details go to the log."""

from __future__ import annotations

import time
from http import HTTPStatus
from importlib.resources import files
from typing import Final

import structlog
from aiohttp import web as http
from aiohttp.typedefs import Handler
from jinja2 import Environment, PackageLoader, StrictUndefined

from audit.auditor import AuditUnavailable
from streams import telemetry
from web.access import BARE
from web.guard import ACCESS, guarded, is_api
from web.problems import Problem
from web.rendering import NONCE, render
from web.routes import ROUTES
from web.state import WINDOW, Window

BODY_BYTES_MAX: Final = 16 * 1024
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # With none at all browsers would not name the origin of our own forms.
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HSTS: Final = f"max-age={2 * 365 * 24 * 3600}; includeSubDomains"
_log = structlog.get_logger(__name__)


def templates() -> Environment:
    """Jinja, escaping everything, refusing unknown names."""
    return Environment(loader=PackageLoader("web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@http.middleware
async def problems(request: http.Request, handler: Handler) -> http.StreamResponse:
    """Problem documents for what handlers refuse, for aiohttp's own refusals and, without details, for what nobody expected."""
    try:
        return await handler(request)
    except Problem as problem:
        return _shown(request, problem)
    except http.HTTPException as refused:
        if refused.status < HTTPStatus.BAD_REQUEST:
            raise
        response = _shown(request, Problem(HTTPStatus(refused.status), _SENTENCES.get(refused.status, refused.reason)))
        if isinstance(refused, http.HTTPMethodNotAllowed):
            response.headers["Allow"] = refused.headers["Allow"]
        return response
    except AuditUnavailable:
        return _shown(
            request,
            Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The audit takes no entries now, so nothing is changed. Try again.", retry_after_s=5),
        )
    except ConnectionResetError:  # The client went away in the middle of a stream.
        raise
    except Exception:  # noqa: BLE001 The last resort: a stack trace is for the log, never for the answer.
        _log.exception("request failed", method=request.method, route=_route(request))
        return _shown(request, Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something failed here; it has been logged. Try again later."))


_SENTENCES: Final = {404: "There is nothing at this address.", 405: "This address does not take that kind of request."}


def _shown(request: http.Request, problem: Problem) -> http.Response:
    """A page for a person, a problem document for a program."""
    if is_api(request) or "text/html" not in request.headers.get("Accept", ""):
        return problem.response()
    response = render(request, "problem.html", {"status": problem.status, "detail": problem.detail}, status=problem.status)
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    return response


@http.middleware
async def measured(request: http.Request, handler: Handler) -> http.StreamResponse:
    """Count and time every request by route, never by what is in it."""
    started = time.perf_counter()
    response = await handler(request)
    telemetry.HTTP_REQUESTS.labels(method=request.method, route=_route(request), status=str(response.status)).inc()
    telemetry.HTTP_SECONDS.labels(route=_route(request)).observe(time.perf_counter() - started)
    return response


def _route(request: http.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


def policy(nonce: str | None) -> str:
    """The content security policy of an answer: nothing from elsewhere, and of scripts only the page's own."""
    script = "'none'" if nonce is None else f"'nonce-{nonce}'"
    return (
        f"default-src 'none'; script-src {script}; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    )


async def _add_headers(request: http.Request, response: http.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    response.headers["Content-Security-Policy"] = policy(request.get(NONCE))
    if request.app[WINDOW].secure:
        response.headers["Strict-Transport-Security"] = _HSTS


def make_app(window: Window) -> http.Application:
    """The application around this window; whoever runs it runs the window's feeds beside it."""
    app = http.Application(middlewares=[measured, problems, guarded], client_max_size=BODY_BYTES_MAX)
    app[WINDOW] = window
    app[ACCESS] = {}
    for row in ROUTES:
        app[ACCESS][app.router.add_route(row.method, row.path, row.handler)] = row.access
    for route in app.router.add_static("/static", str(files("web") / "static")):
        app[ACCESS][route] = BARE
    app.on_response_prepare.append(_add_headers)
    return app
