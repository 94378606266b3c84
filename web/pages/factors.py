"""Setting up an authenticator app, recovery codes, and a new password.

Named by `web.routes`.
Never shows a recovery code twice."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import segno
from aiohttp import web as http
from markupsafe import Markup

from federation.messages import ActionKind
from web.guard import keep_session, see_other, session_of
from web.identity import totp
from web.identity.people import PeopleError
from web.pages.forms import fields
from web.recording import record
from web.rendering import render
from web.state import WINDOW
from web.views import span_text


def _qr(link: str) -> Markup:
    """The link as an inline SVG; segno writes nothing but paths and numbers."""
    drawn = segno.make(link, error="m").svg_inline(scale=4, dark="#000", light="#fff", border=4, omitsize=True)
    return Markup(drawn.replace("<svg ", '<svg role="img" aria-label="QR code for your authenticator app" ', 1))  # noqa: S704 Made here.


async def app_page(request: http.Request) -> http.StreamResponse:
    """A new secret, as a picture and in letters."""
    factors, person = request.app[WINDOW].identity.factors, session_of(request).person
    secret, sealed = factors.offer(person)
    return _offer(request, secret, sealed, None)


def _offer(request: http.Request, secret: bytes, sealed: str, wrong: str | None) -> http.Response:
    window, person = request.app[WINDOW], session_of(request).person
    place = window.institution.name if window.institution else "console"
    letters = totp.base32(secret)
    context: dict[str, Any] = {
        "qr": _qr(totp.app_link(secret, account=person.email, issuer=f"Riverbank {place}")),
        "letters": " ".join(letters[at : at + 4] for at in range(0, len(letters), 4)),
        "sealed": sealed,
        "wrong": wrong,
    }
    return render(request, "app.html", context, status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK)


async def app(request: http.Request) -> http.StreamResponse:
    """Adopt it, once the app has shown a right code."""
    form, factors, session = await fields(request), request.app[WINDOW].identity.factors, session_of(request)
    sealed = form.get("sealed", "")
    try:
        secret = factors.offered(session.person, sealed)
    except PeopleError:
        return see_other("/settings/app")
    await record(request, ActionKind.ACCOUNT, "app_offered")
    try:
        token, codes = await factors.adopt(session, secret, form.get("code", ""))
    except PeopleError as error:
        return _offer(request, secret, sealed, str(error))
    response = render(request, "codes.html", {"codes": codes})
    keep_session(request, response, token)
    return response


async def give_up_app(request: http.Request) -> http.StreamResponse:
    """Log in without the app from now on."""
    await record(request, ActionKind.ACCOUNT, "app_removed")
    try:
        token = await request.app[WINDOW].identity.factors.give_up(session_of(request))
    except PeopleError as error:
        return render(request, "problem.html", {"status": HTTPStatus.CONFLICT, "detail": str(error)}, status=HTTPStatus.CONFLICT)
    response = see_other("/settings")
    keep_session(request, response, token)
    return response


async def codes(request: http.Request) -> http.StreamResponse:
    """New recovery codes, in place of the old ones."""
    await record(request, ActionKind.ACCOUNT, "recovery_codes_made")
    return render(request, "codes.html", {"codes": await request.app[WINDOW].identity.factors.renew_codes(session_of(request).person)})


async def password(request: http.Request) -> http.StreamResponse:
    """Change the password; the current one counts as a try like any other."""
    form, session, identity = await fields(request), session_of(request), request.app[WINDOW].identity
    confirmed = await identity.login.confirm(session, form.get("current", ""))
    if confirmed.wait_ms:
        return _password(request, f"Too many tries. Wait {span_text(confirmed.wait_ms)}.", HTTPStatus.TOO_MANY_REQUESTS)
    if confirmed.level is None:
        return _password(request, "The current password is not right.", HTTPStatus.UNPROCESSABLE_ENTITY)
    await record(request, ActionKind.ACCOUNT, "password_given")
    try:
        token = await identity.factors.change_password(session, form.get("password", ""))
    except PeopleError as error:
        return _password(request, str(error), HTTPStatus.UNPROCESSABLE_ENTITY)
    response = see_other("/settings?saved=password")
    keep_session(request, response, token)
    return response


async def password_page(request: http.Request) -> http.StreamResponse:
    """The form for it."""
    return _password(request, None, HTTPStatus.OK)


def _password(request: http.Request, wrong: str | None, status: HTTPStatus) -> http.Response:
    context = {"wrong": wrong, "length_min": request.app[WINDOW].identity.passwords.length_min}
    return render(request, "password.html", context, status=status)
