"""Dashboard and alerts speak of metrics that exist, with labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from streams import telemetry

MONITORING = Path(__file__).parents[2] / "docker" / "monitoring"
OURS = {metric._name: metric for metric in vars(telemetry).values() if hasattr(metric, "_labelnames")}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}
SAMPLES = {name + suffix: metric for name, metric in OURS.items() for suffix in SUFFIXES[metric._type]}
OTHERS = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}  # Prometheus' own, and its client's.
SCRAPED = {"instance", "job", "le", "version"}


def alerts() -> list[dict]:
    return [rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def expressions() -> dict[str, str]:
    """Where it stands -> PromQL."""
    board = json.loads((MONITORING / "grafana" / "riverbank.json").read_text())
    panels = {
        f"panel {panel['title']}/{target['refId']}": target["expr"] for panel in board["panels"] for target in panel.get("targets", ())
    }
    return panels | {f"alert {rule['alert']}": rule["expr"] for rule in alerts()}


@pytest.mark.parametrize(("place", "expression"), expressions().items(), ids=list(expressions()))
def test_every_metric_asked_for_exists(place: str, expression: str):
    """A panel of a metric that was renamed is empty for ever, and nobody is told."""
    metrics = set(re.findall(r"\b(?:riverbank|process)_[a-z_]+\b|\bup\b", expression))

    assert metrics, place
    assert metrics <= SAMPLES.keys() | OTHERS


@pytest.mark.parametrize(("place", "expression"), expressions().items(), ids=list(expressions()))
def test_every_label_asked_for_exists(place: str, expression: str):
    """Grouping by a label that no series has gives one group without a name."""
    known = SCRAPED.union(*(SAMPLES[name]._labelnames for name in re.findall(r"\briverbank_[a-z_]+\b", expression)))
    grouped = [name.strip() for names in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression) for name in names.split(",")]
    matched = re.findall(r"[{,]\s*([a-z_]+)\s*(?:=~|=|!=|!~)", expression)

    assert {*grouped, *matched} <= known, place


def test_every_metric_of_ours_is_shown():
    """What nobody looks at need not be measured."""
    asked = " ".join(expressions().values())

    assert [name for name, metric in OURS.items() if not any(name + suffix in asked for suffix in SUFFIXES[metric._type])] == []


def test_every_alert_says_what_to_do():
    """A summary, a next step, a severity; names are unique."""
    rules = alerts()

    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert {"summary", "action"} <= rule["annotations"].keys(), rule["alert"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
