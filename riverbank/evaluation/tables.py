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
    """The row in few words: its variant, which of a federation's models, how far apart the rounds were."""
    return row.variant if row.round_every is None else f"{row.variant} {row.model}, every {row.round_every}"


def leading(result: Result) -> str:
    """The title of the leading measure."""
    return TITLES[MEASURES[HeadName(result.head)][0]]


def compared(result: Result) -> tuple[list[str], list[list[str]]]:
    """Header and lines: means over institutions, one line per row of the result."""
    measures = MEASURES[HeadName(result.head)]
    header = ["variant", *(TITLES[each] for each in measures), "gap closed", "ε spent", "rounds", "void", "bytes each"]
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


def immunity(result: Result) -> tuple[list[str], list[list[str]]]:
    """Header and lines: the recall of an attack at the institutions not struck; no lines where there was none."""
    header = ["variant", "recall at first", "at last", "doubled after", "half after"]
    return header, [
        [
            named(row),
            f"{was.moments[0].recall:.1%}",
            f"{was.moments[-1].recall:.1%}",
            _minutes(was.doubled_minutes),
            _minutes(was.half_minutes),
        ]
        for row in result.rows
        if (was := row.immunity) is not None
    ]


def sections(result: Result) -> Iterator[tuple[str, tuple[list[str], list[list[str]]]]]:
    """Captions and tables, in order."""
    yield "Means over institutions", compared(result)
    if immunity(result)[1]:
        yield "Recall of the attack at the institutions not struck", immunity(result)
    yield f"{leading(result)} by institution", by_institution(result)


def print_result(result: Result, console: Console) -> None:
    """All tables."""
    console.print(f"\n[bold]{title(result)}[/bold]\n{result.about}")
    for caption, (header, lines) in sections(result):
        table = Table(title=caption, title_justify="left")
        for number, name in enumerate(header):
            table.add_column(name, justify="left" if number == 0 else "right", no_wrap=number > 0, min_width=6 if number else 24)
        for line in lines:
            table.add_row(*line)
        console.print(table)


def markdown(result: Result) -> str:
    """All tables, with a heading."""
    parts = [f"## {title(result)}", result.about[:1].upper() + result.about[1:] + "."]
    for caption, (header, lines) in sections(result):
        parts += [f"{caption}:", "\n".join(_markdown_lines(header, lines))]
    return "\n\n".join(parts) + "\n"


def _markdown_lines(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for line in lines:
        yield f"| {' | '.join(line)} |"


def _line(row: Row, measures: Sequence[str]) -> list[str]:
    closed = row.gap_closed.get(measures[0])
    return [
        named(row),
        *(_number(row.means[each]) for each in measures),
        NOTHING if closed is None else f"{closed:.1%}",
        NOTHING if row.privacy is None else f"{row.privacy.epsilon_spent:.2f}",
        *((NOTHING, NOTHING) if row.round_every is None else (str(row.rounds), str(row.abandoned))),
        NOTHING if row.bytes_sent is None else f"{row.bytes_sent:,}",
    ]


def _minutes(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} min"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"
