"""What every command shares: its settings, its life until a signal, its tables, its one sentence when it cannot.

Called by the modules beside it.
Never prompts, and never shows a traceback for what an operator can mend."""

from __future__ import annotations

import json
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from federation.messages import HeadName as Head
from streams.settings import (
    AggregatorProcess,
    AuditProcess,
    FeedProcess,
    InstitutionProcess,
    TopicsProcess,
    VerticalProcess,
    WebProcess,
    load_settings,
)

Config = Annotated[Path, typer.Option("--config", help="The process's TOML settings; RIVERBANK_SECTION__KEY in the environment overrides.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_WIDTH: Final = 160
P = TypeVar("P", InstitutionProcess, AggregatorProcess, AuditProcess, WebProcess, FeedProcess, TopicsProcess, VerticalProcess)

__all__ = ["CannotRun", "Config", "Head", "Json", "run_until_stopped", "settings_of", "show"]


class CannotRun(Exception):
    """What an operator asked for cannot be done; the sentence says why."""


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it ends or a signal ends it, then leave with its exit code."""
    from streams.runner import run_until_signalled

    raise typer.Exit(run_until_signalled(work))


def settings_of(path: Path, process: type[P]) -> P:
    """A process's settings, and logging as they say; SettingsError names every key that is wrong."""
    from streams.telemetry import configure_logging

    loaded = load_settings(path, process)
    configure_logging(loaded.ops.log_level)
    return loaded


def show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Rows of the same keys as JSON, or as a table for people."""
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*(rows[0] if rows else ["nothing found"]))
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)  # Whoever reads a pipe has no narrow window.
    console.print(table)
