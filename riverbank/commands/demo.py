"""`riverbank demo`: the whole federation on one machine.

Mounted by `riverbank.cli`.
Never leaves a process behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from riverbank.commands.frame import CannotRun


def demo(
    data: Annotated[Path | None, typer.Option(help="Folder of data sets (docs/data.md); without it events are generated.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="End after so many rounds of every head, once a finite feed is used up.")
    ] = None,
    headless: Annotated[bool, typer.Option(help="Draw nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
    round_ms: Annotated[int, typer.Option(min=500, max=600_000, help="Open a round this often.")] = 3000,
    seed: Annotated[int, typer.Option(help="Of the generated events.")] = 1,
    directory: Annotated[Path | None, typer.Option(help="Keep everything below this new directory.")] = None,
) -> None:
    """Five institutions learn together on this machine: broker, aggregator, audit and portals in processes of their own."""
    from riverbank.demo.run import EXPECTED, Demo, run_demo
    from streams.telemetry import configure_logging

    configure_logging("warning")
    asked = Demo(data=data, seed=seed, rounds=rounds, round_ms=round_ms, headless=headless, as_json=as_json, directory=directory)
    try:
        code = asyncio.run(run_demo(asked))
    except EXPECTED as error:
        raise CannotRun(str(error)) from error
    raise typer.Exit(code)
