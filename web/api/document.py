"""The API's document (OpenAPI 3.1), written from the table of routes, and the page that shows it.

Served at /api/openapi.json and /api.
Never kept by hand: a route that declares an operation is in it, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web as http
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from streams.telemetry import SOFTWARE_VERSION
from web.api.operations import Operation
from web.api.shapes import ProblemShape
from web.rendering import render
from web.state import WINDOW

if TYPE_CHECKING:
    from web.routes import Route

_REF: Final = "#/components/schemas/{model}"
_ALWAYS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_WITH_BODY: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.SERVICE_UNAVAILABLE)
_PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": _REF.format(model=ProblemShape.__name__)}}}


def document(routes: Iterable[Route], *, console: bool) -> dict[str, Any]:
    """The whole document."""
    rows = [(route, route.api) for route in routes if route.api is not None]
    models: dict[type[BaseModel], None] = {ProblemShape: None}
    for _, operation in rows:
        models |= dict.fromkeys(model for model in (operation.answer, operation.body) if model is not None)
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in rows:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Riverbank, operator's console" if console else "Riverbank, an institution's portal",
            "version": SOFTWARE_VERSION,
            "description": "Systems send a key; people's browsers send their session, and with changes the header X-Form-Token.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key with the operation's scope."}},
        },
    }


def _operation(route: Route, operation: Operation) -> dict[str, Any]:
    named = {parameter.name for parameter in operation.parameters}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PATH_PARAMETER.findall(route.path)
        if name not in named
    ]
    parameters += [
        {"name": each.name, "in": each.where, "required": each.needed, "schema": each.schema, "description": each.says}
        for each in operation.parameters
    ]
    written: dict[str, Any] = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "summary": operation.summary,
        "parameters": parameters,
        "responses": _responses(route, operation),
        "security": [{"key": [route.access.scope.value] if route.access.scope else []}],
    }
    if operation.body is not None:
        schema = {"$ref": _REF.format(model=operation.body.__name__)}
        written["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return written


def _responses(route: Route, operation: Operation) -> Mapping[str, Any]:
    done: dict[str, Any] = {"description": operation.status.phrase}
    if operation.answer is not None:
        done["content"] = {"application/json": {"schema": {"$ref": _REF.format(model=operation.answer.__name__)}}}
    expected = {*_ALWAYS, *operation.problems}
    if operation.body is not None or route.method != "GET":
        expected |= set(_WITH_BODY)
    if "{" in route.path:
        expected.add(HTTPStatus.NOT_FOUND)
    return {str(operation.status.value): done} | {
        str(status.value): {"description": status.phrase, "content": _PROBLEM} for status in sorted(expected)
    }


def _of(request: http.Request) -> dict[str, Any]:
    from web.routes import ROUTES  # noqa: PLC0415 The table names this handler.

    return document(ROUTES, console=request.app[WINDOW].institution is None)


async def openapi(request: http.Request) -> http.Response:
    """The document."""
    return http.json_response(_of(request))


async def openapi_page(request: http.Request) -> http.StreamResponse:
    """The document for people."""
    return render(request, "api.html", {"api": _of(request)})
