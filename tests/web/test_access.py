"""Who may use what, enumerated: every route for every role, level, scope and institution; and what every answer carries."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from audit.auditor import AuditUnavailable
from tests.web.people import PASSWORD, VISITOR, TestClock, empty_window, people, signed_in, somebody
from web.access import Refusal, refusal
from web.app import make_app
from web.guard import cookie_name, local_path
from web.identity.house import Identity
from web.identity.keys import ApiKey
from web.identity.roles import Role, Scope
from web.identity.secrets import form_token
from web.identity.sessions import Level
from web.routes import ROUTES, Route

A, O, M, P = Role.ADMINISTRATOR, Role.OFFICER, Role.ML_ENGINEER, Role.OPERATOR  # noqa: E741
ALL = {A, O, M, P}
MANAGES = {A, P}
PUBLIC = "public"

# By hand, on purpose: who changes who may do something changes it here too. Path -> roles, and the scope of keys.
EXPECTED: Mapping[str, tuple[object, Scope | str | None]] = {
    "GET /": (PUBLIC, None),
    "GET /privacy": (PUBLIC, None),
    "GET /security": (PUBLIC, None),
    "GET /components": (PUBLIC, None),
    "GET /health/live": (PUBLIC, None),
    "GET /health/ready": (PUBLIC, None),
    "GET /register": (PUBLIC, None),
    "POST /register": (PUBLIC, None),
    "GET /invitation/{token}": (PUBLIC, None),
    "POST /invitation/{token}": (PUBLIC, None),
    "GET /login": (PUBLIC, None),
    "POST /login": (PUBLIC, None),
    "GET /login/code": (ALL, None),
    "POST /login/code": (ALL, None),
    "POST /logout": (ALL, None),
    "POST /stay": (ALL, None),
    "GET /confirm": (ALL, None),
    "POST /confirm": (ALL, None),
    "GET /dashboard": (ALL, None),
    "GET /live": (ALL, None),
    "GET /api/v1/cases": ({O}, Scope.CASES_READ),
    "GET /api/v1/cases/{case}": ({O}, Scope.CASES_READ),
    "POST /api/v1/cases/next": ({O}, None),
    "POST /api/v1/cases/{case}/decision": ({O}, None),
    "GET /models": ({M}, None),
    "GET /models/{head}": ({M}, None),
    "GET /cases": ({O}, None),
    "POST /cases/next": ({O}, None),
    "POST /cases/bulk": ({O}, None),
    "POST /cases/views": ({O}, None),
    "POST /cases/views/{view}/remove": ({O}, None),
    "GET /cases/{case}": ({O}, None),
    "POST /cases/{case}": ({O}, None),
    "POST /cases/{case}/offers": ({O}, None),
    "GET /events": (ALL, None),
    "GET /settings": (ALL, None),
    "POST /settings/profile": (ALL, None),
    "POST /settings/sessions/{session}/end": (ALL, None),
    "POST /settings/sessions/end-others": (ALL, None),
    "GET /settings/app": (ALL, None),
    "POST /settings/app": (ALL, None),
    "POST /settings/app/remove": (ALL, None),
    "POST /settings/codes": (ALL, None),
    "GET /settings/password": (ALL, None),
    "POST /settings/password": (ALL, None),
    "GET /users": (MANAGES, None),
    "GET /users/{person}": (MANAGES, None),
    "POST /users/{person}": (MANAGES, None),
    "POST /users/{person}/app/reset": (MANAGES, None),
    "POST /users/{person}/password-link": (MANAGES, None),
    "POST /users/{person}/sessions/end": (MANAGES, None),
    "POST /invitations": (MANAGES, None),
    "POST /invitations/{invitation}/withdraw": (MANAGES, None),
    "GET /keys": (MANAGES, None),
    "POST /keys": (MANAGES, None),
    "POST /keys/{key}/revoke": (MANAGES, None),
    "GET /api": (ALL, None),
    "GET /api/openapi.json": (PUBLIC, None),
    "GET /api/v1/me": (ALL, "any"),
    "GET /api/v1/recommendations/{customer}": ({O}, Scope.RECOMMENDATIONS_READ),
    "POST /api/v1/scores/credit": ({O}, Scope.SCORES_READ),
    "POST /api/v1/feedback": ({O}, Scope.FEEDBACK_WRITE),
    "GET /api/v1/rounds": (ALL, Scope.ROUNDS_READ),
    "GET /api/v1/institutions": (ALL, Scope.ROUNDS_READ),
    "GET /api/v1/partnerships": (ALL, Scope.ROUNDS_READ),
    "GET /api/v1/users": (MANAGES, Scope.USERS_READ),
    "GET /api/v1/users/{person}": (MANAGES, Scope.USERS_READ),
    "PATCH /api/v1/users/{person}": (MANAGES, Scope.USERS_WRITE),
    "GET /api/v1/users/{person}/sessions": (MANAGES, Scope.USERS_READ),
    "DELETE /api/v1/users/{person}/sessions": (MANAGES, Scope.USERS_WRITE),
    "DELETE /api/v1/users/{person}/sessions/{session}": (MANAGES, Scope.USERS_WRITE),
    "GET /api/v1/invitations": (MANAGES, Scope.USERS_READ),
    "POST /api/v1/invitations": (MANAGES, Scope.USERS_WRITE),
    "DELETE /api/v1/invitations/{invitation}": (MANAGES, Scope.USERS_WRITE),
    "GET /api/v1/keys": (MANAGES, Scope.KEYS_WRITE),
    "POST /api/v1/keys": (MANAGES, Scope.KEYS_WRITE),
    "DELETE /api/v1/keys/{key}": (MANAGES, Scope.KEYS_WRITE),
    "GET /metrics": (set(), Scope.METRICS_READ),
}
# Where who has got half way belongs.
HALF_WAY = {
    Level.HALF: {"GET /login/code", "POST /login/code", "POST /logout", "POST /stay"},
    Level.ENROL: {"GET /settings/app", "POST /settings/app", "GET /confirm", "POST /confirm", "POST /logout", "POST /stay"},
}
NOT_FOR_COMPLETE = {"GET /login/code", "POST /login/code"}
# Only after the password was given again.
RECENT = {
    "GET /settings/app", "POST /settings/app", "POST /settings/app/remove", "POST /settings/codes",
    *(name for name, (roles, _) in EXPECTED.items() if roles == MANAGES and not name.startswith("GET /")), "GET /api/v1/keys",
}  # fmt: skip


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_every_route_is_in_the_matrix_and_no_other():
    """A new path has to be decided about."""
    assert sorted(map(named, ROUTES)) == sorted(EXPECTED)


@pytest_asyncio.fixture
async def identity(tmp_path: Path) -> AsyncIterator[Identity]:
    async with people(tmp_path) as opened:
        yield opened


async def session_with(identity: Identity, role: Role, level: Level):
    """A session of a person with this role, as far as this."""
    email, _ = await somebody(identity, role, code=level is not Level.ENROL)
    if level is Level.FULL:
        token = await signed_in(identity, role)
    else:
        token = (await identity.login.password(email, PASSWORD, VISITOR)).token
    return await identity.sessions.find(token, renews=False)


async def test_the_matrix(identity: Identity):
    """Role × level × route and scope × route, decided as written above: whoever is not named is refused."""
    sessions = {(role, level): await session_with(identity, role, level) for role in Role for level in Level}
    keys = {scope: ApiKey("k", "k", frozenset({scope}), "t", 0, None) for scope in Scope}
    now_ms = next(iter(sessions.values())).confirmed_at_ms
    decided = 0
    for route in ROUTES:
        name = named(route)
        roles, scope = EXPECTED[name]
        assert (refusal(route.access, None, now_ms) is None) == (roles == PUBLIC), name
        for (role, level), session in sessions.items():
            here = name not in NOT_FOR_COMPLETE if level is Level.FULL else name in HALF_WAY[level]
            allowed = roles == PUBLIC or (role in roles and here)
            assert (refusal(route.access, session, now_ms) is None) == allowed, (name, role, level)
            later = refusal(route.access, session, now_ms + 11 * 60_000)
            assert (later is Refusal.CONFIRM) == (allowed and name in RECENT), (name, role, level)
            decided += 2
        for held, key in keys.items():
            assert (refusal(route.access, key, now_ms) is None) == (roles == PUBLIC or scope in (held, "any")), (name, held)
            decided += 1
    assert decided == len(ROUTES) * (2 * len(Role) * len(Level) + len(Scope))


def path_of(route: Route) -> str:
    return re.sub(r"\{\w+\}", "0" * 32, route.path)


async def test_another_institutions_sessions_and_keys_are_worth_nothing(identity: Identity, tmp_path: Path):
    """Institution × route: what is good at one portal is nobody's at another, and each refuses the other's cookie under its own name too."""
    async with people(tmp_path, place="birch-bank") as theirs:
        token = await signed_in(theirs, Role.ADMINISTRATOR)
        _, key = await theirs.keys.make("theirs", list(Scope), by="test")
        window = empty_window(identity, TestClock())
        async with TestClient(TestServer(make_app(window))) as client:
            for route in ROUTES:
                if EXPECTED[named(route)][0] == PUBLIC:
                    continue
                for headers in ({"Cookie": f"{cookie_name(window)}={token}"}, {"Authorization": f"Bearer {key}"}):
                    answer = await client.request(route.method, path_of(route), headers=headers, allow_redirects=False)
                    sent_to_login = answer.status == 303 and answer.headers["Location"].startswith("/login")
                    assert sent_to_login or answer.status == 401, named(route)


class Away:
    """An audit that takes nothing."""

    async def record(self, *_: object, **__: object) -> None:
        raise AuditUnavailable("away")

    note = record


async def test_every_answer_carries_the_headers_and_no_change_goes_unrecorded(tmp_path: Path):
    """T15 for every route, with a portal behind TLS; while the audit is away whatever would change something answers 503, and pages go on."""
    clock = TestClock()
    async with people(tmp_path, clock) as identity:
        token = await signed_in(identity, Role.ADMINISTRATOR)
        window = empty_window(identity, clock, origin="https://portal.alder.example", recorder=Away())
        headers = {"Cookie": f"{cookie_name(window)}={token}", "X-Form-Token": form_token(token), "Accept": "text/html"}
        refused = {}
        async with TestClient(TestServer(make_app(window))) as client:
            for route in ROUTES:
                if named(route) in ("GET /events", "POST /logout"):
                    continue
                answer = await client.request(route.method, path_of(route), headers=headers, allow_redirects=False)
                check_headers(answer.headers, named(route))
                refused[named(route)] = answer.status
            for path in ("/nowhere", "/static/app.css"):
                check_headers((await client.get(path)).headers, path)
            page = await client.get("/login", headers={"Accept": "text/html"})
            nonce = re.search(r"'nonce-([\w-]+)'", page.headers["Content-Security-Policy"]).group(1)
            assert f'nonce="{nonce}"' in await page.text()
            for part in ("__Host-", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
                assert part in page.headers["Set-Cookie"]
            assert "Domain" not in page.headers["Set-Cookie"]
        changes = {
            "POST /invitations/{invitation}/withdraw",
            "POST /keys/{key}/revoke",
            "POST /settings/codes",
            "POST /settings/sessions/end-others",
        }
        assert {name: refused[name] for name in changes} == dict.fromkeys(changes, 503)
        assert all(status != 500 for status in refused.values())
        assert refused["GET /users"] == refused["GET /settings"] == 200


def check_headers(headers: Mapping[str, str], name: str) -> None:
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy, name
    assert "*" not in policy, name
    for part in ("default-src 'none'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert part in policy, name
    assert headers["X-Content-Type-Options"] == "nosniff", name
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin", name
    assert headers["Referrer-Policy"] == "same-origin", name
    assert "includeSubDomains" in headers["Strict-Transport-Security"], name


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no token"),
        pytest.param({"X-Form-Token": "0" * 64}, id="another token"),
        pytest.param({"Origin": "https://evil.example"}, id="another origin"),
        pytest.param({"Origin": "null"}, id="a hidden origin"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="another site, says the browser"),
    ],
)
async def test_a_change_that_our_page_did_not_send_is_refused(identity: Identity, headers: dict[str, str]):
    """The cookie alone is worth nothing (ASVS 3.5.1)."""
    token = await signed_in(identity, Role.OFFICER)
    window = empty_window(identity, TestClock())
    right = {"Cookie": f"{cookie_name(window)}={token}", "X-Form-Token": form_token(token)}
    if "X-Form-Token" in headers or not headers:
        right.pop("X-Form-Token")
    async with TestClient(TestServer(make_app(window))) as client:
        answer = await client.post("/settings/sessions/end-others", headers=right | headers, allow_redirects=False)
        fine = await client.post(
            "/settings/sessions/end-others", headers={"Cookie": right["Cookie"], "X-Form-Token": form_token(token)}, allow_redirects=False
        )

    assert (answer.status, fine.status) == (403, 303)


async def test_the_live_page_does_not_keep_anybody_logged_in(tmp_path: Path):
    """Events, and a page that loads itself again, are not a person (T14); the stream itself ends with the session."""
    clock = TestClock()
    async with people(tmp_path, clock) as identity:
        token = await signed_in(identity, Role.OFFICER)
        window = empty_window(identity, clock)
        headers = {"Cookie": f"{cookie_name(window)}={token}"}
        async with TestClient(TestServer(make_app(window)), headers=headers) as client:
            stream = await client.get("/events")
            await stream.content.readline()
            for _ in range(2):
                clock.ms += 7 * 60_000
                assert (await client.get("/live?again", allow_redirects=False)).status == 200
            clock.ms += 61_000
            after = await client.get("/live", allow_redirects=False)
            await stream.content.read()

        assert after.status == 303
        assert stream.content.at_eof()


async def test_logging_in_gives_a_new_token_and_ends_the_old_one(identity: Identity):
    """No session is carried over (ASVS 7.2.4), and a cookie that somebody planted is not taken up."""
    email, _ = await somebody(identity, Role.OFFICER)
    window = empty_window(identity, TestClock())
    planted = "x" * 43
    name = cookie_name(window)
    headers = {"Cookie": f"{name}={planted}; {name}-visit={planted}", "X-Form-Token": form_token(planted)}
    async with TestClient(TestServer(make_app(window)), headers=headers) as client:
        answer = await client.post("/login", data={"email": email, "password": PASSWORD}, allow_redirects=False)

    assert answer.status == 303
    assert answer.cookies[name].value != planted
    assert await identity.sessions.find(planted, renews=False) is None


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\nb"])
def test_nobody_is_sent_elsewhere_after_logging_in(path: str):
    """Only paths of our own are gone back to."""
    assert local_path(path) == "/dashboard"
    assert local_path("/settings?saved=profile") == "/settings?saved=profile"
