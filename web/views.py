"""What the live page shows, as plain strings, from the read models.

Called by `web.handlers` for the page, its server-sent events and the JSON of rounds and institutions.
Never asks a clock or a topic: the time is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup

from audit.history import History
from federation import messages as m
from federation.ids import Lane
from web.readmodels.attendance import absent
from web.readmodels.institutions import SILENT_AFTER_MS, Institutions
from web.readmodels.partnerships import Partnerships
from web.readmodels.rounds import RoundRow, Rounds
from web.readmodels.troubles import troubles

TITLES: Final = {m.HeadName.CREDIT: "Credit risk", m.HeadName.FRAUD: "Card fraud", m.HeadName.PRODUCTS: "Product recommendations"}
QUALITY_NAMES: Final = {m.HeadName.CREDIT: "AUC", m.HeadName.FRAUD: "AUC", m.HeadName.PRODUCTS: "HR@3"}
ROUNDS_SHOWN: Final = 18
_UNDEFINED: Final = "–"


def clock_text(now_ms: int) -> str:
    """Wall time of day, UTC."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%H:%M:%S")


def span_text(span_ms: int) -> str:
    """A duration a person can read at a glance.

    >>> [span_text(ms) for ms in (0, 820, 61_000, 7_300_000)]
    ['0 ms', '820 ms', '1.0 min', '2.0 h']
    """
    for unit, size in (("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if span_ms >= size:
            return f"{span_ms / size:.1f} {unit}"
    return f"{span_ms} ms"


def score_text(score: float | None) -> str:
    """A quality to three decimals, or a dash while it is undefined."""
    return _UNDEFINED if score is None or score < 0 else f"{score:.3f}"


def quality_chart(points: Sequence[tuple[int, float, float]], width: int = 300, height: int = 64) -> Markup:
    """Federated and local quality over time as inline SVG; an empty frame until there are two points."""
    if len(points) < 2:
        return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="No quality yet"></svg>').format(width, height)
    values = [value for _, *pair in points for value in pair]
    low, high = min(values), max(values)
    low, high = low - 0.01, high + 0.01
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def line(series: int) -> str:
        return " ".join(
            f"{(at - first) / (last - first) * width:.1f},{height - (pair[series] - low) / (high - low) * height:.1f}"
            for at, *pair in points
        )

    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" aria-label="Quality over time, from {low} to {high}">'
        '<polyline class="loc" points="{loc}"></polyline><polyline class="fed" points="{fed}"></polyline></svg>'
    ).format(w=width, h=height, low=f"{low:.2f}", high=f"{high:.2f}", loc=line(1), fed=line(0))


def head_cards(rounds: Rounds, institutions: Institutions) -> list[dict[str, Any]]:
    """One card per head."""
    cards = []
    for head, known in rounds.heads.items():
        federated, local = institutions.mean_quality(head)
        gain = None if federated is None or local is None else federated - local
        cards.append(
            {
                "title": TITLES[head],
                "quality_name": QUALITY_NAMES[head],
                "federated": score_text(federated),
                "local": score_text(local),
                "gain": "" if gain is None else f"{gain:+.3f}",
                "gain_class": "down" if gain is not None and gain < 0 else "up",
                "chart": quality_chart(institutions.quality[head]),
                "version": known.version,
                "published": known.published,
                "abandoned": known.abandoned,
                "epoch": known.epoch,
                "members": sum(len(names) for names in known.members.values()),
                "groups": sum(group > 0 for group in known.members),
                "learned": f"{sum(s.events_learned for s in institutions.of_head(head)):,}",
            }
        )
    return cards


def partnership_cards(partnerships: Partnerships, now_ms: int) -> list[dict[str, Any]]:
    """One card per vertical partnership."""
    cards = []
    for bank, partner in partnerships.pairs():
        ours, theirs = partnerships.of(bank, partner)
        newest = max((status for status in (ours, theirs) if status is not None), key=lambda status: status.at_ms)
        losses = partnerships.losses[bank, partner]
        cards.append(
            {
                "bank": bank,
                "partner": partner,
                "version": newest.version,
                "loss": score_text(losses[-1][2] if losses else None),
                "first_loss": score_text(losses[0][2] if losses else None),
                "passes": losses[-1][1] if losses else 0,
                "bank_phase": _phase_text(ours, now_ms),
                "partner_phase": _phase_text(theirs, now_ms),
                "predictions": f"{ours.predictions:,}" if ours else _UNDEFINED,
                "degraded": f"{ours.degraded:,}" if ours else _UNDEFINED,
                "refused": (ours.refused if ours else 0) + (theirs.refused if theirs else 0),
            }
        )
    return cards


def _phase_text(status: m.VerticalStatus | None, now_ms: int) -> str:
    if status is None:
        return "not heard of"
    return status.phase if now_ms - status.at_ms <= SILENT_AFTER_MS else f"silent for {span_text(now_ms - status.at_ms)}"


def institution_rows(rounds: Rounds, institutions: Institutions, now_ms: int) -> list[dict[str, Any]]:
    """One row per institution and head, by institution."""
    rows = []
    for (_, head), status in sorted(institutions.newest.items()):
        recent = rounds.heads[head].recent
        newest = max((row.round for row in recent if row.ended_at_ms is not None), default=0)
        rows.append(
            {
                "institution": status.institution,
                "head": head.value,
                "state": institutions.state_of(status, newest, now_ms),
                "round": status.round,
                "behind": max(0, newest - status.round),
                "lag_records": f"{status.lag_records:,}",
                "lag": span_text(status.lag_ms),
                "learned": f"{status.events_learned:,}",
                "waiting": f"{status.waiting_for_label:,}",
                "dead_letters": f"{status.dead_letters:,}",
                "federated": score_text(status.quality_federated),
                "local": score_text(status.quality_local),
            }
        )
    return rows


def trouble_rows(rounds: Rounds, institutions: Institutions, now_ms: int) -> list[dict[str, Any]]:
    """Who holds rounds up, the worst first."""
    return [
        {
            "institution": each.institution or "everybody",
            "head": each.head.value,
            "state": each.state.value,
            "since": clock_text(each.since_ms),
            "for": span_text(max(0, now_ms - each.since_ms)),
            "why": each.why,
        }
        for each in troubles(rounds, institutions, now_ms)
    ]


def round_rows(rounds: Rounds) -> list[dict[str, Any]]:
    """The newest rounds, newest first."""
    rows = []
    for row in rounds.newest(ROUNDS_SHOWN):
        members = rounds.heads[row.head].members_of(row.epoch, row.group)
        rows.append(
            {
                "head": str(Lane(row.head, row.group)),
                "round": row.round,
                "opened": clock_text(row.opened_at_ms),
                "state": row.state,
                "updates": len(row.updates),
                "survivors": len(row.survivors) or _UNDEFINED,
                "missing": ", ".join(f"{each.institution} ({each.part.value})" for each in absent(row, members)),
                "took": _UNDEFINED if row.duration_ms is None else span_text(row.duration_ms),
                "customers": _UNDEFINED if row.customers is None else f"{row.customers:,}",
                "epsilon": _epsilon_text(row),
                "outcome": f"model {row.version}" if row.version is not None else row.reason,
            }
        )
    return rows


def _epsilon_text(row: RoundRow) -> str:
    if row.version is None:
        return _UNDEFINED
    return "no noise" if row.epsilon is None else f"{row.epsilon:.3g}"


def audit_card(checkpoints: History, now_ms: int) -> dict[str, Any] | None:
    """The audit's newest checkpoint, how old it is, who cosigned it, and who refuses the audit's history; None before the first."""
    newest = checkpoints.newest
    if newest is None:
        return None
    return {
        "entries": f"{newest.checkpoint.size:,}",
        "root": newest.checkpoint.root.hex(),
        "age": span_text(max(0, now_ms - newest.at_ms)),
        "witnesses": sorted(newest.cosigned),
        "best": None if checkpoints.best is newest or checkpoints.best is None else f"{checkpoints.best.checkpoint.size:,}",
        "best_witnesses": [] if checkpoints.best is None else sorted(checkpoints.best.cosigned),
        "refused": [
            {"witness": said.actor, "kind": said.kind.replace("_", " "), "at": clock_text(said.at_ms), "known": f"{said.known_size:,}"}
            for _, said in sorted(checkpoints.refused.items())
        ],
    }


def live_context(
    rounds: Rounds,
    institutions: Institutions,
    partnerships: Partnerships,
    checkpoints: History,
    *,
    now_ms: int,
    disconnected_since_ms: int | None,
) -> dict[str, Any]:
    """Everything `live_main.html` needs."""
    return {
        "connected": disconnected_since_ms is None,
        "disconnected_for": "" if disconnected_since_ms is None else clock_text(disconnected_since_ms),
        "heads": head_cards(rounds, institutions),
        "partnerships": partnership_cards(partnerships, now_ms),
        "institutions": institution_rows(rounds, institutions, now_ms),
        "troubles": trouble_rows(rounds, institutions, now_ms),
        "rounds": round_rows(rounds),
        "audit": audit_card(checkpoints, now_ms),
    }
