"""`riverbank backup` and `riverbank restore`: a process's state, out and back.

Mounted by `riverbank.cli`.
Never copies keys: they lie in the party's folder, which is backed up apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from riverbank.commands.frame import CannotRun, Config


def backup(config: Config, out: Annotated[Path, typer.Option(help="A new directory.")]) -> None:
    """Copy everything that the process of these settings must not lose; it may run meanwhile."""
    from riverbank.backup import BackupError, place_of
    from riverbank.backup import backup as copied
    from riverbank.configuration import load_any

    try:
        place = place_of(load_any(config))
        typer.echo(f"{copied(place, out)} files of {place} are in {out}")
    except BackupError as error:
        raise CannotRun(str(error)) from error


def restore(config: Config, source: Annotated[Path, typer.Argument(help="What `riverbank backup` made.")]) -> None:
    """Put a backup where the process of these settings keeps its state, which must be empty; the process must not run, here or elsewhere."""
    from riverbank.backup import BackupError, place_of
    from riverbank.backup import restore as put_back
    from riverbank.configuration import load_any

    try:
        place = place_of(load_any(config))
        typer.echo(f"{put_back(source, place)} files are in {place} again")
    except BackupError as error:
        raise CannotRun(str(error)) from error
