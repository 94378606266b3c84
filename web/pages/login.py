"""Log-in, its second step, confirmation before something grave, and log-out.

Named by `web.routes`.
Never says which part of a log-in was wrong."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from aiohttp import web as http

from audit.auditor import AuditUnavailable
from federation.messages import ActionKind
from web.guard import caller, drop_session, keep_session, local_path, see_other, session_of, visitor
from web.identity.login import Answer
from web.identity.sessions import Level, Session
from web.pages.forms import fields
from web.rendering import render
from web.state import WINDOW
from web.views import span_text

_WRONG: Final = "The e-mail address or the password is wrong, or the account is not active."
_WRONG_CODE: Final = "The code is wrong, or was used already. After five wrong ones you start again with your password."
_NEXT: Final = {Level.HALF: "/login/code", Level.ENROL: "/settings/app"}
_ENDED: Final = {
    "idle": "You were logged out after 15 minutes without activity.",
    "out": "You have logged out.",
    "changed": "Log in again with what is new.",
}


async def login_page(request: http.Request) -> http.StreamResponse:
    """The form."""
    found = caller(request)
    if isinstance(found, Session):
        return see_other(_NEXT.get(found.level, "/dashboard"))
    said = _ENDED.get(request.query.get("ended", ""))
    return render(request, "login.html", {"next": local_path(request.query.get("next", "")), "said": said, "wrong": None, "email": ""})


async def login(request: http.Request) -> http.StreamResponse:
    """The first step."""
    form, window = await fields(request), request.app[WINDOW]
    email, back = form.get("email", ""), local_path(form.get("next", ""))
    answer = await window.identity.login.password(email, form.get("password", ""), visitor(request))
    if answer.token is None or answer.level is None:
        return _refused(request, "login.html", answer, _WRONG, {"next": back, "said": None, "email": email})
    earlier = caller(request)
    if isinstance(earlier, Session):
        await window.identity.sessions.end(earlier.person.id, earlier.id)
    # Not further than the second step yet: it will ask for where to go again.
    return _entered(request, answer.token, f"{_NEXT[answer.level]}?next={quote(back, safe='')}" if answer.level in _NEXT else back)


async def code_page(request: http.Request) -> http.StreamResponse:
    """The second step's form."""
    return render(request, "login_code.html", {"next": local_path(request.query.get("next", "")), "wrong": None})


async def code(request: http.Request) -> http.StreamResponse:
    """The second step."""
    form = await fields(request)
    back = local_path(form.get("next", ""))
    answer = await request.app[WINDOW].identity.login.code(session_of(request), form.get("code", ""), visitor(request))
    if answer.token is None:
        return _refused(request, "login_code.html", answer, _WRONG_CODE, {"next": back})
    return _entered(request, answer.token, back)


async def confirm_page(request: http.Request) -> http.StreamResponse:
    """Asks for the password again."""
    return render(request, "confirm.html", {"next": local_path(request.query.get("next", "")), "wrong": None})


async def confirm(request: http.Request) -> http.StreamResponse:
    """Takes the password again."""
    form = await fields(request)
    back = local_path(form.get("next", ""))
    answer = await request.app[WINDOW].identity.login.confirm(session_of(request), form.get("password", ""))
    if answer.level is None:
        return _refused(request, "confirm.html", answer, "The password is not right.", {"next": back})
    return see_other(back)


async def logout(request: http.Request) -> http.StreamResponse:
    """End this session, here and on the server."""
    session = session_of(request)
    window = request.app[WINDOW]
    await window.identity.sessions.end(session.person.id, session.id)
    with contextlib.suppress(AuditUnavailable):  # Whoever wants to leave is let go.
        await window.recorder.note(ActionKind.LOGIN, "logged_out", actor=session.person.id)
    response = see_other("/login?ended=out")
    drop_session(request, response)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


async def stay(request: http.Request) -> http.StreamResponse:
    """Somebody is still there: the guard has renewed the session; the page stays as it is."""
    session_of(request)
    return http.Response(status=HTTPStatus.NO_CONTENT)


def _refused(request: http.Request, template: str, answer: Answer, sentence: str, context: dict[str, str | None]) -> http.Response:
    """The form again. Waiting looks the same for every address, known or not."""
    if answer.wait_ms:
        sentence = f"Too many tries. Wait {span_text(answer.wait_ms)}, then try again."
    status = HTTPStatus.TOO_MANY_REQUESTS if answer.wait_ms else HTTPStatus.UNPROCESSABLE_ENTITY
    response = render(request, template, {**context, "wrong": sentence}, status=status)
    if answer.wait_ms:
        response.headers["Retry-After"] = str(-(-answer.wait_ms // 1000))
    return response


def _entered(request: http.Request, token: str, to: str) -> http.StreamResponse:
    response = see_other(to)
    keep_session(request, response, token)
    return response
