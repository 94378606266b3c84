"""A browser for tests: Debian's Chromium, what it complains about, screenshots under build/, and axe-core.

Used by the stories of the portal's pages.
Never lets a page ask anything of another host unnoticed."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page, async_playwright

from web.app import make_app
from web.guard import cookie_name
from web.state import Window

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="Debian's chromium is not installed (apt-get install chromium)"),
]
AXE = "axe-core@4.14.1"
BUILD = Path(__file__).parents[2] / "build"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@functools.cache
def axe_source() -> str:
    """axe-core from npm, installed below build/ once; skips where there is no npm."""
    npm = shutil.which("npm")
    script = BUILD / "axe" / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if npm is None and "CI" not in os.environ:
            pytest.skip("npm is missing, by which axe-core comes (apt-get install npm)")
        assert npm is not None
        script.parents[2].mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(BUILD / "axe"), AXE], check=True, capture_output=True, timeout=120)  # fmt: skip
    return script.read_text()


@dataclass
class Visit:
    """One browser window at a portal, and everything it complained about or asked elsewhere."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", lambda message: self.complaints.append(message.text) if _is_complaint(message) else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: None if request.url.startswith(self.address) else self.elsewhere.append(request.url))

    async def look(self, name: str) -> list[str]:
        """A screenshot, and what axe-core finds."""
        folder = BUILD / "screenshots"
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        await self.page.screenshot(path=folder / f"{name}.png", full_page=True)
        await self.page.evaluate(await asyncio.to_thread(axe_source))
        found = await self.page.evaluate("tags => axe.run(document, {runOnly: tags})", RULES)
        return [
            f"{name}: {item['id']} at {node['target']}: {node['failureSummary']}" for item in found["violations"] for node in item["nodes"]
        ]

    def no_complaints(self) -> None:
        assert self.complaints == []
        assert self.elsewhere == []


def _is_complaint(message) -> bool:
    # A page that answers 4xx on purpose is reported by the browser as a failed load; everything else counts.
    return message.type in ("error", "warning") and "the server responded with a status of 4" not in message.text


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Chromium, started."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        await started.close()


@asynccontextmanager
async def visit(window: Window, chromium: Browser, *, token: str | None = None, script: bool = True) -> AsyncIterator[Visit]:
    """A window of the browser at this portal, logged in by `token`."""
    async with TestServer(make_app(window)) as server:
        address = str(server.make_url("/")).rstrip("/")
        context = await chromium.new_context(
            base_url=address, reduced_motion="reduce", java_script_enabled=script,
            viewport={"width": 1280, "height": 900},
        )  # fmt: skip
        if token is not None:
            await context.add_cookies([{"name": cookie_name(window), "value": token, "domain": "127.0.0.1", "path": "/", "httpOnly": True}])
        context.set_default_timeout(10_000)
        seen = Visit(await context.new_page(), address)
        seen.watch()
        yield seen
        await context.close()
