"""Results as pictures: who gains, how quality went, and what communication costs.

Called by `report`; the only place that touches matplotlib, which is an extra (`pip install 'riverbank[evaluate]'`).
Never shows a figure that is not in the result, and draws the same bytes for the same result."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from federation.messages import HeadName
from institution_workers.pupil import FEDERATED
from riverbank.evaluation.institution import SERVED
from riverbank.evaluation.results import MEASURES, Result, Row
from riverbank.evaluation.tables import TITLES, named
from riverbank.evaluation.variants import Who

# Okabe and Ito (2008): told apart by everybody, in print as well. Federations take them in turn; what they are compared with is grey to black.
_FEDERATIONS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_REFERENCES: Final = {Who.LOCAL: "#8C8C8C", Who.POOLED: "#000000", Who.RIVER_LOCAL: "#D9C68F", Who.RIVER_POOLED: "#A67C1A"}
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "svg.hashsalt": "riverbank",
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture: a name for its file, a caption, and how to draw it."""

    name: str
    caption: str
    draw: Callable[[], Figure]

    def png(self) -> bytes:
        """At 144 dots per inch."""
        return self._saved("png", {"Software": None})

    def svg(self) -> str:
        """For a page: without the XML declaration."""
        text = self._saved("svg", {"Date": None}).decode()
        return text[text.index("<svg") :]

    def _saved(self, kind: str, metadata: dict[str, None]) -> bytes:
        with mpl.rc_context(_STYLE):
            figure = self.draw()
            kept = io.BytesIO()
            figure.savefig(kept, format=kind, dpi=144, metadata=metadata)
        return kept.getvalue()


def plots(result: Result) -> Iterator[Plot]:
    """Every picture that this result has the figures for."""
    measure = MEASURES[HeadName(result.head)][0]
    title = TITLES[measure]
    cadences = list(dict.fromkeys(row.round_every for row in result.rows if row.round_every is not None))
    shown = [row for row in result.rows if row.round_every in {None, *cadences[:1]}]
    yield Plot("institutions", f"{title} on each institution's own rows", lambda: _institutions(shown, measure))
    yield Plot("course", f"{title} from the first to the last part of the stream, all rows together", lambda: _course(shown, measure))
    if any(row.immunity is not None for row in shown):
        caption = (
            "Recall of the attack at the institutions not struck, each looking at the 1 % of its ordinary payments most suspicious to it"
        )
        yield Plot("immunity", caption, lambda: _immunity(shown))
    private = [row for row in shown if row.privacy is not None]
    if len({row.variant for row in private}) > 1:
        yield Plot("privacy", f"{title}, mean over institutions, against what the rounds cost a customer", lambda: _privacy(shown, measure))
    sent = [row for row in result.rows if row.bytes_sent is not None]
    if len({row.round_every for row in sent}) > 1:
        caption = f"{title}, mean over institutions, against what each institution sends; more rounds to the right"
        yield Plot("communication", caption, lambda: _communication(result, sent, measure))


def _institutions(rows: Sequence[Row], measure: str) -> Figure:
    """A line per institution, most rows first; a mark per row of the result. Those too small to be measured have no line."""
    counts = {name: quality["rows"] or 0 for name, quality in rows[0].institutions.items() if quality[measure] is not None}
    names = sorted(counts, key=lambda name: -counts[name])
    figure = Figure(figsize=(8, 1.4 + 0.22 * len(names)))
    axes = figure.subplots()
    for row, look in _looks(rows):
        found = [(place, row.institutions[name][measure]) for place, name in enumerate(names) if name in row.institutions]
        shown = [(place, value) for place, value in found if value is not None]
        axes.plot([value for _, value in shown], [place for place, _ in shown], alpha=0.85, **look | {"linestyle": "none"})
    axes.set_yticks(range(len(names)), [f"{name} ({counts[name]:,.0f})" for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(TITLES[measure])
    _legend(axes)
    return figure


def _course(rows: Sequence[Row], measure: str) -> Figure:
    figure = Figure(figsize=(8, 3.6))
    axes = figure.subplots()
    for row, look in _looks(rows):
        values = [part[measure] for part in row.in_parts]
        shown = [(100 * (place + 0.5) / len(values), value) for place, value in enumerate(values) if value is not None]
        axes.plot([place for place, _ in shown], [value for _, value in shown], **look | {"markersize": 3})
    axes.set_xlim(0, 100)
    axes.set_xlabel("rows, by event time (%)")
    axes.set_ylabel(TITLES[measure])
    _legend(axes)
    return figure


def _immunity(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(8, 3.6))
    axes = figure.subplots()
    for row, look in _looks([row for row in rows if row.immunity is not None]):
        moments = row.immunity.moments if row.immunity is not None else []
        axes.plot([each.minute for each in moments], [each.recall for each in moments], **look | {"markersize": 3})
    axes.set_ylim(0, 1)
    axes.set_xlabel("minutes of event time since the attack began")
    axes.set_ylabel("recall")
    _legend(axes)
    return figure


def _privacy(rows: Sequence[Row], measure: str) -> Figure:
    figure = Figure(figsize=(8, 3.6))
    axes = figure.subplots()
    noised = [row for row in rows if row.privacy is not None]
    costs = {row.privacy.epsilon_spent for row in noised if row.privacy is not None}
    for model, style in ((FEDERATED, "-"), (SERVED, "--")):
        found = {row.privacy.epsilon_spent: row.means[measure] for row in noised if row.privacy is not None and row.model == model}
        shown = sorted((epsilon, value) for epsilon, value in found.items() if value is not None)
        if shown:
            axes.plot([x for x, _ in shown], [y for _, y in shown], linestyle=style, marker="o", color=_FEDERATIONS[0], label=model)
    free = next((row for row in rows if row.round_every is not None and row.privacy is None and row.model == FEDERATED), None)
    if free is not None and (value := free.means[measure]) is not None:
        axes.axhline(value, color=_FEDERATIONS[0], linestyle=":", linewidth=1, label="federated without noise")
    _levels(axes, rows, measure)
    axes.set_xscale("log")
    axes.set_xticks(sorted(costs), [f"{cost:.2g}" for cost in sorted(costs)])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("ε that the rounds cost the customer they cost most")
    axes.set_ylabel(TITLES[measure])
    _legend(axes)
    return figure


def _communication(result: Result, sent: Sequence[Row], measure: str) -> Figure:
    figure = Figure(figsize=(8, 3.6))
    axes = figure.subplots()
    lines = {(row.variant, row.model): row for row in sent}
    for (variant, model), (_, look) in zip(lines, _looks(list(lines.values())), strict=True):
        line = sorted((row for row in sent if (row.variant, row.model) == (variant, model)), key=lambda row: row.bytes_sent or 0)
        shown = [((row.bytes_sent or 0) / 1e3, value, row.rounds) for row in line if (value := row.means[measure]) is not None]
        axes.plot([x for x, _, _ in shown], [y for _, y, _ in shown], **look | {"label": f"{variant} {model}"})
        for x, y, rounds in shown if model != SERVED else ():
            axes.annotate(f"{rounds} rounds", (x, y), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=7)
    _levels(axes, result.rows, measure)
    axes.set_xscale("log")
    places = sorted({(row.bytes_sent or 0) / 1e3 for row in sent})
    axes.set_xticks(places, [f"{place:,.0f}" for place in places])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("kilobytes sent by one institution")
    axes.set_ylabel(TITLES[measure])
    _legend(axes)
    return figure


def _levels(axes: Axes, rows: Sequence[Row], measure: str) -> None:
    """What is reached alone, and with all data in one place."""
    for row in rows:
        value = row.means[measure]
        if row.variant in {Who.LOCAL, Who.POOLED} and value is not None:
            axes.axhline(value, color=_REFERENCES[Who(row.variant)], linestyle="--", linewidth=1, label=row.variant)


def _looks(rows: Sequence[Row]) -> Iterator[tuple[Row, dict[str, Any]]]:
    """How to draw each row: a colour per variant, hollow and dashed for what is served."""
    federations = list(dict.fromkeys(row.variant for row in rows if row.variant not in set(Who)))
    for row in rows:
        reference = row.variant in set(Who)
        colour = _REFERENCES[Who(row.variant)] if reference else _FEDERATIONS[federations.index(row.variant) % len(_FEDERATIONS)]
        look = {"color": colour, "marker": "o", "markersize": 5, "linewidth": 1.2, "label": named(row)}
        yield row, look | ({"markerfacecolor": "white", "linestyle": "--"} if row.model == SERVED else {"linestyle": "-"})


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
