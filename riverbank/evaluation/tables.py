"""Results for a person: a table on the terminal, and the same in Markdown.

Called by `command`.
Never computes: what is not in `results` is not shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from federation.messages import HeadName
from riverbank.evaluation.results import MEASURES, Result, Row

TITLES: Final = {"auc": "AUC", "ap": "AP", "log_loss": "log loss", "hr3": "HR@3", "ndcg5": "NDCG@5", "ndcg10": "NDCG@10"}
NOTHING: Final = "–"


def title(result: Result) -> str:
    """What was gone through, in one line."""
    extent = "all events" if result.events is None else f"{result.events:,} events"
    return f"{result.data_set}: {extent}, labels {result.labels}, seed {result.seed}"


def named(row: Row) -> str:
    """The row's variant, model and how far apart its rounds are."""
    every = "" if row.round_every is None else f", every {row.round_every}"
    return f"{row.variant} ({row.model}{every})"


def leading(result: Result) -> str:
    """The title of the leading measure."""
    return TITLES[MEASURES[HeadName(result.head)][0]]


def compared(result: Result) -> tuple[list[str], list[list[str]]]:
    """Header and lines: means over institutions, one line per row of the result."""
    measures = MEASURES[HeadName(result.head)]
    closed = f"gap closed ({TITLES[measures[0]]})"
    header = ["variant", "model", "a round every", *(TITLES[each] for each in measures), closed, "rounds", "bytes each"]
    return header, [_line(row, measures) for row in result.rows]


def by_institution(result: Result) -> tuple[list[str], list[list[str]]]:
    """Header and lines: the leading measure, one line per institution and one column per row of the result."""
    measure = MEASURES[HeadName(result.head)][0]
    header = ["institution", "rows", *(named(row) for row in result.rows)]
    lines = []
    for name, quality in result.rows[0].institutions.items():
        shown = [_number(row.institutions[name][measure]) if name in row.institutions else NOTHING for row in result.rows]
        lines.append([name, f"{quality['rows']:,}", *shown])
    return header, lines


def print_result(result: Result, console: Console) -> None:
    """Both tables."""
    for caption, (header, lines) in (
        (title(result), compared(result)),
        (leading(result), by_institution(result)),
    ):
        table = Table(title=caption, title_justify="left")
        for number, name in enumerate(header):
            table.add_column(name, justify="left" if number == 0 else "right")
        for line in lines:
            table.add_row(*line)
        console.print(table)


def markdown(result: Result) -> str:
    """Both tables, with a heading."""
    parts = [f"## {title(result)}", result.about[:1].upper() + result.about[1:] + "."]
    parts += ["\n".join(_markdown_lines(header, lines)) for header, lines in (compared(result), by_institution(result))]
    return "\n\n".join(parts) + "\n"


def _markdown_lines(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for line in lines:
        yield f"| {' | '.join(line)} |"


def _line(row: Row, measures: Sequence[str]) -> list[str]:
    closed = row.gap_closed.get(measures[0])
    return [
        row.variant,
        row.model,
        row.round_every or NOTHING,
        *(_number(row.means[each]) for each in measures),
        NOTHING if closed is None else f"{closed:.1%}",
        f"{row.rounds} ({row.abandoned} without a model)" if row.abandoned else str(row.rounds or NOTHING),
        NOTHING if row.bytes_sent is None else f"{row.bytes_sent:,}",
    ]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"
