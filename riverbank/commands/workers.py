"""`riverbank institution|aggregator|web run`: the processes that stay.

Mounted by `riverbank.cli`.
Never reads a log itself: each role's package does."""

from __future__ import annotations

from typing import Final

import typer

from riverbank.commands.frame import Config, run_until_stopped, settings_of
from streams.settings import AggregatorProcess, InstitutionProcess, WebProcess

institution: Final = typer.Typer(no_args_is_help=True, help="An institution's worker.")
aggregator: Final = typer.Typer(no_args_is_help=True, help="The aggregator.")
web: Final = typer.Typer(no_args_is_help=True, help="Portal and console.")


@institution.command("run")
def institution_run(config: Config) -> None:
    """Learn from the institution's topics and take part in the rounds, until stopped."""
    from institution_workers import wiring

    run_until_stopped(wiring.run(settings_of(config, InstitutionProcess)))


@aggregator.command("run")
def aggregator_run(config: Config) -> None:
    """Open rounds, sum what comes, publish global models, until stopped."""
    from aggregator_worker import wiring

    run_until_stopped(wiring.run(settings_of(config, AggregatorProcess)))


@web.command("run")
def web_run(config: Config) -> None:
    """Serve an institution's portal, or without an institution the operator's console, until stopped."""
    from web import wiring

    run_until_stopped(wiring.run(settings_of(config, WebProcess)))
