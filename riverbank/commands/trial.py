"""`riverbank trial`: a federation to try in containers, all of it made in one place.

Mounted by `riverbank.cli`; run by `docker/compose.yml`.
Never the way to a real federation: there, keys are made where they are used (`riverbank provision`)."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from riverbank.commands.frame import CannotRun

group: Final = typer.Typer(no_args_is_help=True, help="A federation to try, as docker/compose.yml runs it. Not for a real one.")
USUAL: Final = ("alder-bank", "brook-savings", "cedar-union")


@group.command("prepare")
def trial_prepare(
    directory: Annotated[Path, typer.Argument(help="Where the processes' folders are made.")],
    kafka: Annotated[str, typer.Option(help="host:port of the broker.")] = "kafka:9093",
    clickhouse: Annotated[str, typer.Option(help="Where the audit's index lies.")] = "clickhouse://riverbank@clickhouse:8123/default",
    institution: Annotated[list[str] | None, typer.Option(help="Repeat for each; at least three.")] = None,
) -> None:
    """Make keys, certificates and settings for every process of a trial, a folder each."""
    from riverbank.provisioning.trial import Trial, prepare

    try:
        prepare(directory, Trial(institution or USUAL, kafka, clickhouse), entropy=os.urandom, now_ms=time.time_ns() // 1_000_000)
    except FileExistsError as error:
        raise CannotRun(f"there is a federation in {directory} already ({error.filename}): it is left as it is") from error
    typer.echo(f"ready in {directory}; `riverbank trial found` makes topics and members once the broker runs")


@group.command("found")
def trial_found(
    operator: Annotated[Path, typer.Argument(help="The operator's folder.")],
) -> None:
    """Make topics and access lists, and let the institutions in; a second time nothing is left to do."""
    from riverbank.provisioning.trial import found
    from streams.telemetry import configure_logging

    configure_logging("warning")
    for line in asyncio.run(found(operator, lambda: time.time_ns() // 1_000_000)):
        typer.echo(line)
