"""`riverbank schemas`: what is rendered from Avro schemas and topology rows.

Mounted by `riverbank.cli`; development only.
Never renders over an incompatible change."""

from __future__ import annotations

from typing import Final

import typer

group: Final = typer.Typer(no_args_is_help=True, help="Avro schemas, their lock and what is rendered from them.")


@group.command("render")
def schemas_render() -> None:
    """Write federation/messages.py, the schema lock and docs/topology.md anew from their sources."""
    from streams import schema_lock

    schema_lock.render()


@group.command("check")
def schemas_check() -> None:
    """Exit 1 if a schema changed incompatibly or something rendered is stale; one line for each."""
    from streams import schema_lock

    problems = schema_lock.check()
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1 if problems else 0)
