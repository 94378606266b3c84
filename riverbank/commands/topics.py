"""`riverbank topics`: what a Kafka cluster lacks, and making it.

Mounted by `riverbank.cli`.
Never deletes a topic."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from riverbank.commands.frame import CannotRun, Config, Json, settings_of
from streams.settings import TopicsProcess

if TYPE_CHECKING:
    from streams.cluster_plan import Plan

group: Final = typer.Typer(no_args_is_help=True, help="Topics and access lists of a Kafka cluster.")


@group.command("plan")
def topics_plan(config: Config, as_json: Json = False) -> None:
    """Show what a Kafka cluster's topics, settings and access lists lack; nothing is changed."""
    topics_apply(config, dry_run=True, as_json=as_json)


@group.command("apply")
def topics_apply(
    config: Config, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show.")] = False, as_json: Json = False
) -> None:
    """Show, then make, what topics, settings and access lists lack. Rights of who is no member any more are removed, topics never."""
    from riverbank import topics as cluster
    from streams.ports import LogRefused, LogUnavailable

    settings = settings_of(config, TopicsProcess).cluster
    try:
        asyncio.run(cluster.bring_about(settings, show=lambda plan: _show_plan(plan, as_json), dry_run=dry_run))
    except (LogRefused, LogUnavailable) as error:
        raise CannotRun(str(error)) from error


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(plan.as_json(), indent=1))
        return
    for line in plan.lines():
        typer.echo(line)
    if plan.empty:
        typer.echo("nothing to do")
