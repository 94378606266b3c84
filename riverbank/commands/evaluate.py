"""`riverbank evaluate`: what federation is worth on known data.

Mounted by `riverbank.cli`.
Never mixes a measurement with what it measures: the workers' own code is what runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from riverbank.commands.frame import CannotRun, Json
from riverbank.commands.vertical import evaluate_apart


def evaluate(
    data: Annotated[Path | None, typer.Option(help="Folder of data sets (docs/data.md); without it only generated sets.")] = None,
    sets: Annotated[str, typer.Option("--set", help="Data sets, comma-separated, or all.")] = "all",
    variants: Annotated[str, typer.Option(help="What to compare, comma-separated (docs/evaluation.md).")] = "",
    events: Annotated[int | None, typer.Option(min=1, help="Only the first so many events of each set.")] = None,
    round_every: Annotated[
        str | None, typer.Option(help="Events between rounds, as 200, or event time, as 15m; several, comma-separated, are compared.")
    ] = None,
    labels_at_once: Annotated[bool, typer.Option(help="Labels right after their events, instead of when the set says.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes to share the variants out to.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write JSON, Markdown and a page with plots into this folder.")] = None,
    apart: Annotated[
        bool,
        typer.Option("--vertical", help="Instead: columns at two parties (`riverbank vertical evaluate`); --set, --data and --seed count."),
    ] = False,
    as_json: Json = False,
) -> None:
    """What federation is worth on known data: alone, federated, pooled; each event is scored before it is learned."""
    if apart:
        if data is None:
            raise CannotRun("--vertical reads files: name their folder with --data (docs/data.md)")
        evaluate_apart(data, "taiwan,berka" if sets == "all" else sets, encrypted=False, seed=seed, as_json=as_json)
        return
    from federation.errors import OwnFault
    from riverbank.evaluation import command, report
    from riverbank.evaluation.variants import USUAL
    from streams.telemetry import configure_logging

    configure_logging("warning")
    asked = command.Asked(
        data=data, sets=sets, variants=variants or USUAL, events=events, round_every=round_every, labels_at_once=labels_at_once, seed=seed,
        jobs=jobs,
    )  # fmt: skip
    try:
        results = command.evaluate(asked, lambda text: typer.echo(text, err=True))
        for path in report.write(results, out) if out is not None else ():
            typer.echo(str(path), err=True)
    except (OwnFault, OSError) as error:
        raise CannotRun(str(error)) from error
    if as_json:
        typer.echo(command.as_json(results), nl=False)
        return
    from rich.console import Console

    from riverbank.evaluation.tables import print_result

    console = Console() if sys.stdout.isatty() else Console(width=160)
    for result in results:
        print_result(result, console)
