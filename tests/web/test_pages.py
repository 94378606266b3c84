"""Stories of the live page in a real browser (Debian's Chromium); the screenshot is kept where RIVERBANK_SCREENSHOTS says."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, async_playwright

from federation import messages as m
from tests.web.people import empty_window, people, signed_in
from web.app import make_app
from web.guard import cookie_name
from web.identity.roles import Role
from web.state import Window
from web.wiring import SystemClock

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="Debian's chromium is not installed (apt-get install chromium)"),
]
NOW_MS = SystemClock().now_ms()
STATUS = m.InstitutionStatus(
    institution="alder-bank", head=m.HeadName.FRAUD, at_ms=NOW_MS, round=4, model_version=3, events_read=90_000, events_learned=80_000, dead_letters=1,
    waiting_for_label=912, lag_records=17, lag_ms=140, scored=100, quality_federated=0.84, quality_local=0.79, bytes_sent=1, updates_clipped=0,
)  # fmt: skip


def round_opened(head: m.HeadName, number: int) -> m.RoundOpened:
    return m.RoundOpened(
        head=head, group=0, epoch=1, round=number, ready_digest=bytes(32), model_version=number - 1, model_digest=bytes(32),
        opened_at_ms=NOW_MS - 30_000 + 3_000 * number, masked_deadline_ms=NOW_MS, unmask_deadline_ms=NOW_MS, survivors_min=3,
    )  # fmt: skip


def fill(window: Window) -> None:
    """Some life on the page: two heads at work, a round published, one abandoned, one running."""
    members = tuple(m.ReadyMember(institution=name, shares_digest=bytes(32)) for name in ("alder-bank", "brook-savings", "cedar-union"))
    window.rounds.apply(m.EpochReady(head=m.HeadName.FRAUD, group=0, epoch=1, roster_digest=bytes(32), members=members))
    for number in (1, 2, 3):
        window.rounds.apply(round_opened(m.HeadName.FRAUD, number))
    lane = {"head": m.HeadName.FRAUD, "group": 0, "epoch": 1}
    window.rounds.apply(
        m.ModelPublished(
            **lane,
            round=1,
            version=1,
            model_digest=bytes(32),
            base_digest=bytes(32),
            contributors=("alder-bank",),
            customers=4_321,
            survivors_digest=bytes(32),
            sum_digest=bytes(32),
            noise_sigma=1.0,
            epsilon=7.5,
            published_at_ms=NOW_MS - 26_000,
        )
    )
    window.rounds.apply(
        m.RoundAbandoned(
            **lane,
            round=2,
            reason=m.AbandonReason.TOO_FEW_UPDATES,
            detail="2 of 3 <b>updates</b>",
            at_fault=(),
            abandoned_at_ms=NOW_MS - 22_000,
        )
    )
    for index, name in enumerate(("alder-bank", "brook-savings", "cedar-union")):
        for step in range(12):
            window.institutions.apply(
                replace(
                    STATUS,
                    institution=name,
                    at_ms=NOW_MS + step,
                    quality_federated=0.7 + 0.012 * step,
                    quality_local=0.7 + 0.006 * step,
                    round=index + 1,
                )
            )


@pytest_asyncio.fixture
async def window(tmp_path: Path) -> AsyncIterator[Window]:
    async with people(tmp_path, SystemClock(), place="console") as identity:
        window = empty_window(identity, SystemClock(), institution=None)
        window.feed.disconnected_since_ms = None
        yield window


@pytest_asyncio.fixture
async def page(window: Window) -> AsyncIterator[Page]:
    async with TestServer(make_app(window)) as server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1400, "height": 1000}, base_url=str(server.make_url("/")))
        await page.context.add_cookies([await _cookie(window)])
        yield page
        await browser.close()


async def _cookie(window: Window) -> dict[str, str]:
    token = await signed_in(window.identity, Role.OPERATOR)
    return {"name": cookie_name(window), "value": token, "domain": "127.0.0.1", "path": "/"}


async def test_the_page_shows_and_follows_the_rounds(window: Window, page: Page):
    """What the log says appears without a reload, escaped, under a strict content policy, with nothing fetched from elsewhere."""
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    await page.goto("/live")
    empty = await page.inner_text("#live")
    fill(window)
    await page.wait_for_selector("text=alder-bank")
    shown = await page.inner_text("#live")
    await _screenshot(page, "live")

    assert "No institution has reported yet" in empty
    assert "too_few_updates: 2 of 3 <b>updates</b>" in shown
    assert "AUC 0.832" in shown
    assert complaints == []
    assert all(url.startswith(page.url.removesuffix("live")) for url in asked)


async def test_the_page_says_when_the_log_is_away(window: Window, page: Page):
    """A person is told that what is shown is old."""
    fill(window)
    window.feed.disconnected_since_ms = NOW_MS
    await page.goto("/live")

    assert "The log cannot be reached" in await page.inner_text("[role=alert]")


async def test_the_page_works_on_a_narrow_screen(window: Window, page: Page):
    """Wide tables scroll inside their box; the page itself does not."""
    fill(window)
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.goto("/live")
    await _screenshot(page, "narrow")

    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def test_the_page_is_complete_without_javascript(window: Window):
    """The server renders everything; a reload every five seconds stands in for the events."""
    fill(window)
    async with TestServer(make_app(window)) as server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(java_script_enabled=False)
        await context.add_cookies([await _cookie(window)])
        plain = await context.new_page()
        await plain.goto(str(server.make_url("/live")))
        shown = await plain.content()
        await browser.close()

    assert "cedar-union" in shown
    assert '<td class="n">4,321</td><td class="n">7.5</td>' in shown
    assert 'http-equiv="refresh"' in shown


async def _screenshot(page: Page, name: str) -> None:
    folder = os.environ.get("RIVERBANK_SCREENSHOTS")
    if folder:
        await asyncio.to_thread(Path(folder).mkdir, parents=True, exist_ok=True)
        await page.screenshot(path=f"{folder}/{name}.png", full_page=True)
