"""The aiohttp application: routes, error documents, security headers, request metrics.

Made by `web.wiring`.
Never answers an unexpected error with anything but a generic 500: the details go to the log."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web as http
from aiohttp.typedefs import Handler
from jinja2 import Environment, PackageLoader, StrictUndefined

from streams import telemetry
from web.problems import Problem
from web.routes import routes
from web.state import WINDOW, Window

BODY_BYTES_MAX: Final = 16 * 1024
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
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
        return problem.response()
    except http.HTTPException as refused:
        if refused.status < HTTPStatus.BAD_REQUEST:
            raise
        return Problem(HTTPStatus(refused.status), refused.reason).response()
    except ConnectionResetError:  # The client went away in the middle of a stream.
        raise
    except Exception:  # noqa: BLE001 The last resort: a stack trace is for the log, never for the answer.
        _log.exception("request failed", method=request.method, route=_route(request))
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something failed here; it has been logged. Try again later.").response()


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


async def _add_headers(_request: http.Request, response: http.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def make_app(window: Window) -> http.Application:
    """The application around this window; whoever runs it runs the window's feeds beside it."""
    app = http.Application(middlewares=[measured, problems], client_max_size=BODY_BYTES_MAX)
    app[WINDOW] = window
    app.add_routes(routes())
    app.on_response_prepare.append(_add_headers)
    return app
