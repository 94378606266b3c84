"""Cases over the API: officers take and decide, systems may look."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.web.cases.office import office
from tests.web.people import empty_window, signed_in
from web.app import make_app
from web.guard import FORM_HEADER, cookie_name
from web.identity.roles import Role, Scope
from web.identity.secrets import form_token


async def test_an_officer_takes_and_decides_and_a_key_only_looks():
    """The points add up; the second decision on what has changed is a conflict; a key that may see cases takes none."""
    async with office() as bank:
        await bank.flag("anna", "e-1", amount=80.0)
        window = empty_window(bank.identity, bank.clock, recorder=bank.audit)
        token = await signed_in(bank.identity, Role.OFFICER)
        _, key = await bank.identity.keys.make("screen", [Scope.CASES_READ], by="test")
        officer = {"Cookie": f"{cookie_name(window)}={token}", FORM_HEADER: form_token(token)}
        system = {"Authorization": f"Bearer {key}"}
        async with TestClient(TestServer(make_app(window))) as client:
            refused = await client.post("/api/v1/cases/next", json={}, headers=system)
            taken = await (await client.post("/api/v1/cases/next", json={"head": "fraud"}, headers=officer)).json()
            shown = await (await client.get(f"/api/v1/cases/{taken['id']}", headers=system)).json()
            decision = {"version": taken["version"], "outcome": "false_positive", "reason": "customer_confirms", "note": "Asked her."}
            path = f"/api/v1/cases/{taken['id']}/decision"
            closed = await client.post(path, json=decision, headers=officer)
            again = await client.post(path, json=decision, headers=officer)
            none = await client.post("/api/v1/cases/next", json={}, headers=officer)
            listed = await (await client.get("/api/v1/cases?state=closed", headers=system)).json()

    (event,) = shown["events"]
    assert (refused.status, closed.status, again.status, none.status) == (403, 200, 409, 404)
    assert event["base"] + sum(point["points"] for point in event["points"]) == pytest.approx(event["log_odds"])
    assert (listed["matching"], listed["cases"][0]["outcome"]) == (1, "false_positive")


async def test_while_the_audit_is_away_nothing_is_taken():
    """503, and the case is as it was."""
    async with office() as bank:
        await bank.flag("anna", "e-1")
        window = empty_window(bank.identity, bank.clock, recorder=bank.audit)
        token = await signed_in(bank.identity, Role.OFFICER)
        officer = {"Cookie": f"{cookie_name(window)}={token}", FORM_HEADER: form_token(token)}
        bank.audit.away = True
        async with TestClient(TestServer(make_app(window))) as client:
            answer = await client.post("/api/v1/cases/next", json={}, headers=officer)
            listed = await (await client.get("/api/v1/cases?state=open", headers=officer)).json()

    assert (answer.status, listed["matching"]) == (503, 1)
