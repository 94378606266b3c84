"""The ops port: metrics, and health that means something."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

import pytest

from streams.ops import LIVE_S, Health, degraded_parts, open_ops
from streams.settings import OpsSettings
from streams.telemetry import DEGRADED


async def asked(port: int, path: str) -> tuple[int, bytes]:
    def get() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()

    return await asyncio.to_thread(get)


async def test_the_ops_port_answers():
    """Metrics, life, readiness with a line per check; nothing else."""
    parts = {"federation": False}
    port = open_ops(OpsSettings(port=0), lambda: parts)
    assert port is not None

    assert b"riverbank_build_info" in (await asked(port, "/metrics"))[1]
    assert (await asked(port, "/health/live"))[0] == 200
    status, body = await asked(port, "/health/ready")
    assert (status, json.loads(body)) == (503, {"status": "not ready", "checks": {"loop": True, "federation": False}})
    parts["federation"] = True
    assert (await asked(port, "/health/ready"))[0] == 200
    assert (await asked(port, "/anything"))[0] == 404


async def test_no_port_is_opened_unasked():
    """Without [ops] port nothing listens."""
    assert open_ops(OpsSettings()) is None


def test_a_loop_that_hangs_is_not_alive():
    """The thread that answers sees that the loop does not turn."""
    now_s = 100.0
    health = Health(lambda: now_s, lambda: {"federation": True})

    assert (health.live()[0], health.ready()[0]) == (True, True)
    now_s += LIVE_S
    assert (health.live()[0], health.ready()[0]) == (False, False)
    health.beat()
    assert health.live()[0]


def test_who_has_not_begun_is_not_ready():
    """No part has said anything yet."""
    assert not Health(lambda: 0.0, dict).ready()[0]


@pytest.mark.parametrize(("value", "well"), [(0, True), (1, False)])
def test_parts_are_what_the_metric_says(value: int, well: bool):
    """One truth for the alert and for the probe."""
    DEGRADED.labels(part="probe of a test").set(value)
    try:
        assert degraded_parts()["probe of a test"] is well
    finally:
        DEGRADED.remove("probe of a test")
