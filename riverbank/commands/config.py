"""`riverbank config`: what a settings file says, and whether a process would take it.

Mounted by `riverbank.cli`.
Never starts anything, and never opens a key file: `riverbank doctor` looks further."""

from __future__ import annotations

import json
from typing import Final

import typer

from riverbank.commands.frame import Config, Json, show

group: Final = typer.Typer(no_args_is_help=True, help="Settings of any process.")


@group.command("show")
def config_show(config: Config, as_json: Json = False) -> None:
    """Every setting in force, and whether it is from the environment, the file or a default."""
    from riverbank.configuration import rows

    show(rows(config), as_json)


@group.command("check")
def config_check(config: Config, as_json: Json = False) -> None:
    """Whether the file can be used; a line for each key that is unknown, missing or out of bounds, and exit 2."""
    from riverbank.configuration import load_any
    from streams.settings import SettingsError

    problems: list[str] = []
    kind = ""
    try:
        kind = type(load_any(config)).__name__.removesuffix("Process").lower()
    except SettingsError as error:
        problems = error.problems
    if as_json:
        typer.echo(json.dumps({"process": kind, "problems": problems}))
    else:
        for problem in problems:
            typer.echo(problem, err=True)
        if not problems:
            typer.echo(f"settings of a process of the kind {kind}: every key is known and within bounds")
    raise typer.Exit(2 if problems else 0)
