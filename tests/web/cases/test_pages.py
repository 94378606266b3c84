"""Officers' stories in a browser, with screenshots under build/, and one of them without JavaScript."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest_asyncio

from federation import messages as m
from federation.heads.fraud import FraudEncoder
from federation.messages import HeadName
from tests.web.browsing import NEEDS_CHROMIUM, browser, visit
from tests.web.cases.office import LAYOUTS, Office, office
from tests.web.people import empty_window, log_in, somebody
from web.cases.case import State
from web.cases.filters import Filters
from web.identity.person import Profile
from web.identity.roles import Role
from web.state import Window

pytestmark = NEEDS_CHROMIUM


@pytest_asyncio.fixture
async def bank() -> AsyncIterator[Office]:
    async with office() as made:
        layout = LAYOUTS[HeadName.FRAUD]
        active = tuple(range(1, 8, 2))
        points = tuple(0.4 * index for index in active)
        for number in range(8):
            await made.flag(
                f"customer-{number}", f"payment-{number}", amount=80.0 + 2_000 * number, log_odds=-1.0 + number / 3,
                active=active, points=points, layout_digest=layout.digest,
            )  # fmt: skip
        await made.flag("customer-3", "application-1", head=HeadName.CREDIT, amount=25_000.0)
        yield made


async def at_work(bank: Office) -> tuple[Window, str]:
    """The portal over this office, and somebody's session."""
    window = empty_window(bank.identity, bank.clock, recorder=bank.audit)
    email, secret = await somebody(bank.identity, Role.OFFICER, name="Ada Brook")
    token = await log_in(bank.identity, email, secret)
    session = await bank.identity.sessions.find(token, renews=False)
    await bank.identity.people.save_profile(session.person.id, Profile("Ada Brook", "", "", "Europe/Vienna", ()))
    return window, token


async def test_an_officer_takes_decides_and_closes(bank: Office):
    """From the queue to a closed case, and every step of it is a line of its history."""
    window, token = await at_work(bank)
    found: list[str] = []
    async with browser() as chromium, visit(window, chromium, token=token) as seen:
        page = seen.page
        await page.goto("/cases")
        found += await seen.look("cases-queue")
        await page.keyboard.press("j")
        await page.keyboard.press("x")
        chosen = await page.locator("input[name=case]:checked").count()
        await page.select_option("#head", "fraud")
        await page.click("text=Show")
        await page.wait_for_url("**head=fraud**", wait_until="load")
        await page.keyboard.press("n")
        await page.wait_for_selector("text=Why it was flagged")
        await page.select_option("#step", "contacted")
        await page.fill("#sn", "Rang the client.")
        await page.click("text=Write it down")
        await page.select_option("#decision", "false_positive:customer_confirms")
        await page.fill("#dn", "She made the payment herself.")
        found += await seen.look("case-page")
        await page.click("button:has-text('Decide')")
        decided = await page.inner_text("main")
        found += await seen.look("case-decided")
        await page.set_viewport_size({"width": 390, "height": 800})
        narrow = await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    seen.no_complaints()
    assert found == []
    assert chosen == 1
    assert narrow
    assert "Client contacted".lower() in decided
    assert "has to agree" in decided


async def test_the_same_without_javascript(bank: Office):
    """Every control is a link or a form; several cases at once have a line each."""
    window, token = await at_work(bank)
    async with browser() as chromium, visit(window, chromium, token=token, script=False) as seen:
        page = seen.page
        await page.goto("/cases?customer=customer-0")
        await page.click("text=Take the next case")
        taken = await page.inner_text("main")
        await page.goto("/cases?sort=amount")
        for box in (await page.locator("input[name=case]").all())[:3]:
            await box.check()
        await page.select_option("#do", "snooze")
        await page.fill("#why", "Waits for the branch.")
        await page.click("text=Do it")
        done = await page.inner_text("[aria-label='What was done']")

    asleep, _ = await bank.store.listed(Filters(state="snoozed"), "", bank.clock.ms)
    assert "Why it was flagged" in taken
    assert done.count("Done.") == len(asleep) == 3
    assert all(case.state is State.SNOOZED for case in asleep)


async def test_an_ml_engineer_sees_what_changed(bank: Office):
    """Quality, budget, versions, and the weights that moved since the version before; an officer's dashboard counts the work."""
    window, _ = await at_work(bank)
    layout = FraudEncoder.shipped().layout
    for version in (1, 2):
        vector = np.zeros(len(layout))
        vector[5] = 1.25 * version
        window.institution.progress.apply(
            m.ServingModel(
                head=HeadName.FRAUD, version=version, epoch=1, round=version, layout_digest=layout.digest, vector=vector.astype("<f8").tobytes(),
                events_learned=100 * version, saved_at_ms=bank.clock.ms,
            )
        )  # fmt: skip
    email, secret = await somebody(bank.identity, Role.ML_ENGINEER, name="Cai Lake")
    token = await log_in(bank.identity, email, secret)
    found: list[str] = []
    async with browser() as chromium, visit(window, chromium, token=token) as seen:
        await seen.page.goto("/models")
        found += await seen.look("models")
        await seen.page.goto("/models/fraud")
        found += await seen.look("model-fraud")
        shown = await seen.page.inner_text("main")
    counts = await bank.store.counts(bank.officers[0], bank.clock.ms)

    seen.no_complaints()
    assert found == []
    assert "What changed most since version 1" in shown
    assert "+2.500" in shown
    assert "+1.250" in shown
    assert (counts["open"], counts["mine"], counts["closed"]) == (9, 0, 0)
