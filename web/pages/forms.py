"""What was typed into a form.

Called by the pages that have one.
Never hands on a value that is longer than its field."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web as http

from web.problems import Problem

_LENGTH_MAX: Final = 1000


async def fields(request: http.Request) -> Mapping[str, str]:
    """The form's text fields, spaces around them kept; of a field given twice the first."""
    form = await request.post()
    found: dict[str, str] = {}
    for name, value in form.items():
        if not isinstance(value, str) or len(value) > _LENGTH_MAX:
            raise Problem(HTTPStatus.BAD_REQUEST, f"The field {name[:40]} is too long.")
        found.setdefault(name, value)
    return found


async def choices(request: http.Request, name: str) -> tuple[str, ...]:
    """Every value of a field that may be given several times."""
    return tuple(value for value in (await request.post()).getall(name, []) if isinstance(value, str))


def line(form: Mapping[str, str], name: str, title: str, length_max: int, *, needed: bool = True) -> str:
    """One line of text, trimmed; ValueError with a sentence."""
    text = " ".join(form.get(name, "").split())
    if needed and not text:
        raise ValueError(f"{title} is missing.")
    if len(text) > length_max or not text.isprintable():
        raise ValueError(f"{title} has {length_max} characters at most.")
    return text
