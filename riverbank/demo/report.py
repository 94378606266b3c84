"""The demo's result as plain numbers: per head and for the whole.

Called by `riverbank.demo.run` at the end; printed as JSON or as a table.
Never rounds a count or hides an undefined quality: that is null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from federation import messages as m
from riverbank.demo.lookups import Lookups
from riverbank.demo.watch import Watch
from web.views import QUALITY_NAMES


def head_report(watch: Watch, lookups: Lookups, head: m.HeadName) -> dict[str, Any]:
    """Rounds, learning, quality and bytes of one head."""
    known, statuses = watch.rounds.heads[head], watch.institutions.of_head(head)
    federated, local = watch.institutions.mean_quality(head)
    rounds = known.published + known.abandoned
    turns = rounds * len(statuses)
    return {
        "rounds": known.published,
        "rounds_abandoned": known.abandoned,
        "model_version": known.version,
        "events_read": sum(s.events_read for s in statuses),
        "events_learned": sum(s.events_learned for s in statuses),
        "waiting_for_label": sum(s.waiting_for_label for s in statuses),
        "scored": sum(s.scored for s in statuses),
        "metric": f"prequential {QUALITY_NAMES[head]}",
        "federated": _rounded(federated),
        "local_only": _rounded(local),
        "institutions": {
            s.institution: {
                "federated": _rounded(s.quality_federated),
                "local_only": _rounded(s.quality_local),
                "events_learned": s.events_learned,
                "scored": s.scored,
                "updates_clipped": s.updates_clipped,
            }
            for s in statuses
        },
        "bytes_per_institution_per_round": round(sum(s.bytes_sent for s in statuses) / turns) if turns else None,
        "lookup_p50_ms": lookups.percentile_ms(0.5),
        "lookup_p99_ms": lookups.percentile_ms(0.99),
    }


def report(watch: Watch, lookups: Lookups, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Everything `--json` prints."""
    return {
        "heads": {head.value: head_report(watch, lookups, head) for head in m.HeadName},
        "lookups": {
            "answered": len(lookups.seconds),
            "refused": lookups.refused,
            "p50_ms": lookups.percentile_ms(0.5),
            "p99_ms": lookups.percentile_ms(0.99),
        },
        "dead_letters": {reason.value: count for reason, count in sorted(watch.dead_letters.items())},
        **measured,
    }


def as_table(result: Mapping[str, Any]) -> Table:
    """The same for a person."""
    table = Table(title="What was learned together", title_justify="left")
    for column in ("head", "rounds", "events learned", "metric", "federated", "local-only", "bytes/institution/round"):
        table.add_column(column, justify="left" if column in {"head", "metric"} else "right")
    for head, row in result["heads"].items():
        values = (
            row["rounds"],
            row["events_learned"],
            row["metric"],
            row["federated"],
            row["local_only"],
            row["bytes_per_institution_per_round"],
        )
        table.add_row(head, *("–" if value is None else str(value) for value in values))
    return table


def _rounded(quality: float | None) -> float | None:
    return None if quality is None or quality < 0 else round(quality, 4)
