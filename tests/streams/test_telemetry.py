"""Log lines cannot be forged and show no bytes; metrics are named as Prometheus asks, and served."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from streams import telemetry

PROGRAM = """
import logging, structlog
from streams.telemetry import configure_logging
configure_logging("info")
log = structlog.get_logger("test")
with structlog.contextvars.bound_contextvars(head="fraud"):
    log.info("read", text='a"\\n{"level": "critical"}\\x1b[31m', key=b"secret", count=3)
log.debug("not shown")
logging.getLogger("some.library").warning("its %s", "words")
logging.getLogger("aiokafka.conn").warning("chatter")
def divide(secret):
    return 1 / 0
try:
    divide("hunter2")
except ZeroDivisionError:
    log.exception("failed")
"""


def test_log_lines_are_one_json_object_each():
    """With UTC time, level, event and fields; a line break in a field stays inside it, of bytes only the length shows."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    read, library, failed = map(json.loads, done.stderr.splitlines())

    assert done.stdout == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", read.pop("ts"))
    assert read == {
        "event": "read", "level": "info", "head": "fraud", "count": 3, "key": "6 bytes", "text": 'a"\n{"level": "critical"}\x1b[31m',
    }  # fmt: skip
    assert (library["level"], library["event"], library["logger"]) == ("warning", "its words", "some.library")
    assert "\x1b" not in done.stderr
    assert "ZeroDivisionError" in failed["exception"]
    assert "hunter2" not in done.stderr  # No local variables.


def test_metrics_are_named_as_prometheus_asks():
    """One prefix, base units, counters that end in _total, no label that could name a customer."""
    ours = [metric for metric in vars(telemetry).values() if hasattr(metric, "_labelnames")]
    names = [metric._name for metric in ours]

    assert len(ours) > 15
    assert len(set(names)) == len(names)
    for metric in ours:
        assert metric._name.startswith("riverbank_")
        assert not metric._name.endswith(("_ms", "_milliseconds", "_kb"))
        assert set(metric._labelnames) <= {
            "party",
            "topic",
            "head",
            "reason",
            "state",
            "outcome",
            "result",
            "kind",
            "method",
            "route",
            "status",
            "part",
        }


def test_every_metric_is_rendered():
    """Also those nobody has touched yet; the build is among them."""
    families = {family.name for family in text_string_to_metric_families(telemetry.rendered_metrics().decode())}

    assert {"riverbank_events_read", "riverbank_round_state", "riverbank_degraded", "riverbank_http_requests"} <= families
    assert REGISTRY.get_sample_value("riverbank_build_info", {"version": telemetry.SOFTWARE_VERSION, "python": sys.version.split()[0]}) == 1


def test_a_label_from_outside_cannot_break_the_format():
    """Prometheus' client escapes it."""
    registry = CollectorRegistry()
    Counter("riverbank_probe", "A probe", ["route"], registry=registry).labels(route='a"\n b').inc()

    assert registry.get_sample_value("riverbank_probe_total", {"route": 'a"\n b'}) == 1
