"""What a route of the API takes and answers: the part of a row of `web.routes` that its document is written from.

Read by `web.api.document`; `answered` and `taken` are how handlers keep to it.
Never lets an answer out that its declared shape does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from aiohttp import web as http
from pydantic import BaseModel, ValidationError

from web.problems import Problem

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Parameter:
    """One that is not in the path's pattern alone; `where` as OpenAPI has it."""

    name: str
    where: str
    schema: dict[str, Any]
    needed: bool = False
    says: str = ""


@dataclass(frozen=True)
class Operation:
    """One operation: its answer's shape (None: no content), the body it takes, and the problems it answers with beside the usual ones."""

    summary: str
    answer: type[BaseModel] | None
    status: HTTPStatus = HTTPStatus.OK
    body: type[BaseModel] | None = None
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[HTTPStatus, ...] = ()


async def taken(request: http.Request, shape: type[T]) -> T:
    """The request's body; a 400 that names the first field that is wrong."""
    try:
        return shape.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Problem(HTTPStatus.BAD_REQUEST, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from None


def answered(shape: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> http.Response:
    """The answer; not for caches, since much of it is about people."""
    return http.Response(
        text=shape.model_dump_json(), status=status.value, content_type="application/json", headers={"Cache-Control": "no-store"}
    )
