"""Stories of people at the portal, in a real browser: joining, logging in, settings, managing; looked at by axe-core, light, dark, narrow, without scripts."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.web.browsing import NEEDS_CHROMIUM, Visit, browser, visit
from tests.web.people import PASSWORD, TestClock, empty_window, people, signed_in, somebody
from web.identity import totp
from web.identity.person import Profile
from web.identity.roles import Role, Scope
from web.state import Window

pytestmark = NEEDS_CHROMIUM


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest_asyncio.fixture
async def window(tmp_path: Path, clock: TestClock) -> AsyncIterator[Window]:
    async with people(tmp_path, clock) as identity:
        window = empty_window(identity, clock)
        window.feed.disconnected_since_ms = window.institution.feed.disconnected_since_ms = None
        window.feed.caught_up.set()
        window.institution.feed.caught_up.set()
        yield window


@pytest_asyncio.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as started:
        yield started


async def heading(page: Page) -> str:
    return (await page.inner_text("h1")).strip()


async def test_somebody_is_invited_and_joins(window: Window, chromium: Browser, clock: TestClock):
    """Link, password, app, recovery codes, profile, dashboard; then log-out, and in again with password and code."""
    link = await window.identity.invitations.make(Role.ADMINISTRATOR, by="The operator of this machine")
    found: list[str] = []
    async with visit(window, chromium) as seen:
        page = seen.page
        await page.goto(f"/invitation/{link}")
        found += await seen.look("invitation")
        await page.fill("#name", "Ada Brook")
        await page.fill("#email", "ada@alder.example")
        await page.fill("#password", "password1")
        await page.click("text=Create my account")
        assert "tried first" in await page.inner_text("#wrong")
        found += await seen.look("invitation-refused")
        await page.fill("#password", PASSWORD)
        await page.click("text=Create my account")
        found += await seen.look("login")
        await page.fill("#email", "ada@alder.example")
        await page.fill("#password", PASSWORD)
        await page.click("button:text('Log in')")
        assert await heading(page) == "Set up your authenticator app"
        found += await seen.look("app")
        secret = base32_of(await page.inner_text(".letters"))
        await page.fill("#code", totp.code_at(secret, clock.ms // totp.STEP_MS))
        await page.click("text=Use this app")
        assert await page.locator(".codes li").count() == 10
        found += await seen.look("codes")
        await page.click("text=I have kept them")
        assert await heading(page) == "Settings"
        await page.select_option("#zone", "Europe/Vienna")
        await page.click("button:text('Save')")
        assert await heading(page) == "Good to see you, Ada"
        found += await seen.look("dashboard-administrator")
        await page.click("text=Log out")
        assert "You have logged out" in await page.inner_text("main")
        clock.ms += totp.STEP_MS
        await page.fill("#email", "ada@alder.example")
        await page.fill("#password", PASSWORD)
        await page.click("button:text('Log in')")
        found += await seen.look("login-code")
        await page.fill("#code", totp.code_at(secret, clock.ms // totp.STEP_MS))
        await page.click("text=Go on")

        assert await heading(page) == "Good to see you, Ada"
        assert found == []
        seen.no_complaints()


def base32_of(letters: str) -> bytes:
    return base64.b32decode("".join(letters.split()))


async def test_an_administrator_manages_people(window: Window, chromium: Browser, clock: TestClock):
    """Confirms who asked, gives a role, makes links and keys; the password is asked for again after ten minutes."""
    token = await signed_in(window.identity, Role.ADMINISTRATOR, name="Ada Brook")
    await somebody(window.identity, Role.OFFICER, name="Omar Field")
    await window.identity.registration.by_request(
        email="nia@alder.example", name="Nia Hill", role=Role.ML_ENGINEER, password=PASSWORD, address="1"
    )
    await window.identity.keys.make("Mobile app", [Scope.RECOMMENDATIONS_READ, Scope.FEEDBACK_WRITE], by="ada@alder.example")
    found: list[str] = []
    async with visit(window, chromium, token=token) as seen:
        page = seen.page
        await page.goto("/users")
        found += await seen.look("users")
        await page.click("button:has-text('Confirm')")
        assert "Nobody waits" in await page.inner_text("main")
        await page.click("text=Omar Field")
        found += await seen.look("user")
        await page.check("input[value=ml_engineer]")
        await page.click("text=Give this role")
        assert "ML engineer" in await page.inner_text(".lead")
        await page.click("text=Make a link for a new password")
        found += await seen.look("link")
        clock.ms += 11 * 60_000
        await page.goto("/users")
        await page.check("input[value=officer]")
        await page.click("text=Make a one-time link")
        assert await heading(page) == "Is it you?"
        found += await seen.look("confirm")
        await page.fill("#password", PASSWORD)
        await page.click("button:text('Confirm')")
        await page.goto("/keys")
        found += await seen.look("keys")
        await page.fill("#name", "Till")
        await page.check("input[value='feedback:write']")
        await page.click("text=Make the key")

        assert (await page.inner_text(".secret")).startswith("rbk_")
        assert found == []
        seen.no_complaints()


async def test_a_person_keeps_their_settings(window: Window, chromium: Browser):
    """Profile, another session ended, a new password."""
    token = await signed_in(window.identity, Role.OFFICER, name="Omar Field")
    session = await window.identity.sessions.find(token, renews=False)
    async with window.identity.database.write() as connection:
        other = await window.identity.sessions.begin(
            connection, session.person.id, session.level, address="10.1.2.3", agent="Elsewhere/1.0"
        )
    found: list[str] = []
    async with visit(window, chromium, token=token) as seen:
        page = seen.page
        await page.goto("/settings")
        found += await seen.look("settings")
        await page.fill("#job", "Officer for cards")
        await page.click("button:text('Save')")
        await page.goto("/settings")
        await page.click("text=End all others")
        assert await window.identity.sessions.find(other, renews=False) is None
        await page.click("text=Change the password")
        found += await seen.look("password")
        await page.fill("#current", PASSWORD)
        await page.fill("#password", "nine purple kettles sing")
        await page.click("button:text('Change it')")

        assert "Your password is changed" in await page.inner_text("main")
        assert (await window.identity.people.find(session.person.id)).job == "Officer for cards"
        assert found == []
        seen.no_complaints()


@pytest.mark.parametrize("role", [Role.OFFICER, Role.ML_ENGINEER])
async def test_each_role_has_its_dashboard(window: Window, chromium: Browser, role: Role):
    """And is told kindly about a page that is not its own."""
    token = await signed_in(window.identity, role, name="Nia Hill")
    session = await window.identity.sessions.find(token, renews=False)
    await window.identity.people.save_profile(session.person.id, Profile("Nia Hill", "", "", "Asia/Tokyo", ()))
    found: list[str] = []
    async with visit(window, chromium, token=token) as seen:
        await seen.page.goto("/dashboard")
        found += await seen.look(f"dashboard-{role.value}")
        await seen.page.goto("/users")
        found += await seen.look("forbidden")

        assert await heading(seen.page) == "Forbidden"
        assert found == []
        seen.no_complaints()


async def readable(seen: Visit, paths: tuple[str, ...], name: str) -> list[str]:
    """What axe-core finds on these pages in the light, in the dark and on a telephone, where nothing may be wider than the screen."""
    found: list[str] = []
    for path in paths:
        shown = f"{name}-{path.strip('/').replace('/', '-') or 'home'}"
        await seen.page.emulate_media(color_scheme="light")
        await seen.page.set_viewport_size({"width": 1280, "height": 900})
        await seen.page.goto(path)
        found += await seen.look(shown)
        await seen.page.emulate_media(color_scheme="dark")
        await seen.page.set_viewport_size({"width": 390, "height": 800})
        found += await seen.look(f"{shown}-dark-narrow")
        assert await seen.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
    return found


async def test_the_public_pages_are_for_everybody(window: Window, chromium: Browser):
    """Readable in the light, in the dark and on a telephone."""
    async with visit(window, chromium) as seen:
        found = await readable(seen, ("/", "/privacy", "/security", "/register", "/login", "/components", "/nowhere"), "public")

        assert found == []
        seen.no_complaints()


async def test_the_administrators_pages_are_too(window: Window, chromium: Browser):
    """As the public ones."""
    token = await signed_in(window.identity, Role.ADMINISTRATOR, name="Ada Brook")
    await window.identity.registration.by_request(
        email="nia@alder.example", name="Nia Hill", role=Role.ML_ENGINEER, password=PASSWORD, address="1"
    )
    async with visit(window, chromium, token=token) as seen:
        found = await readable(seen, ("/settings", "/users", "/keys", "/api", "/live", "/settings/app"), "administrator")

        assert found == []
        seen.no_complaints()


async def test_everything_works_without_scripts(window: Window, chromium: Browser, clock: TestClock):
    """Asking for an account, logging in with a code, ending a session: forms and links alone."""
    email, secret = await somebody(window.identity, Role.OFFICER)
    async with visit(window, chromium, script=False) as seen:
        page = seen.page
        await page.goto("/register")
        await page.fill("#name", "Nia Hill")
        await page.fill("#email", "nia@alder.example")
        await page.check("input[value=ml_engineer]")
        await page.fill("#password", PASSWORD)
        await page.click("text=Ask for the account")
        assert await heading(page) == "Thank you"
        await page.goto("/login?next=/live")
        await page.fill("#email", email)
        await page.fill("#password", PASSWORD)
        await page.click("button:text('Log in')")
        await page.fill("#code", totp.code_at(secret, clock.ms // totp.STEP_MS))
        await page.click("text=Go on")
        assert page.url.endswith("/live")
        assert 'http-equiv="refresh"' in await page.content()
        await page.click("text=Log out")

        assert await heading(page) == "Log in"
