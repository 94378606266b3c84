"""The `riverbank` command, assembled from its nouns.

Started by the console script and by the demo's supervisor.
Never shows a traceback for what an operator can mend: one sentence on stderr and a non-zero exit code."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from riverbank.commands import (
    audit,
    broker,
    config,
    docs,
    model,
    paillier,
    rights,
    rounds,
    schemas,
    supply_chain,
    topics,
    trial,
    users,
    vertical,
    workers,
)
from riverbank.commands.backup import backup, restore
from riverbank.commands.demo import demo
from riverbank.commands.doctor import doctor
from riverbank.commands.evaluate import evaluate
from riverbank.commands.feed import feed
from riverbank.commands.frame import CannotRun
from riverbank.commands.healthy import healthy
from riverbank.commands.standing import institutions, lag
from riverbank.core_dumps import forbid_core_dumps
from riverbank.provisioning import commands as provisioning
from streams.settings import SettingsError

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Banks learn together without showing their customers.")
for _name, _group in {
    "institution": workers.institution,
    "aggregator": workers.aggregator,
    "audit": audit.group,
    "web": workers.web,
    "broker": broker.group,
    "rights": rights.group,
    "topics": topics.group,
    "rounds": rounds.group,
    "model": model.group,
    "config": config.group,
    "schemas": schemas.group,
    "paillier": paillier.group,
    "vertical": vertical.group,
    "supply-chain": supply_chain.group,
    "docs": docs.group,
    "trial": trial.group,
    "provision": provisioning.provision,
    "members": provisioning.members,
    "users": users.group,
}.items():
    app.add_typer(_group, name=_name)
for _command in (lag, institutions, doctor, healthy, backup, restore, feed, demo, evaluate):
    app.command()(_command)

EXIT_WRONG_INPUT: Final = 2


def main() -> None:
    """Entry point of the console script."""
    forbid_core_dumps()
    try:
        app(standalone_mode=True)
    except (CannotRun, SettingsError, *provisioning.EXPECTED) as error:
        sys.stderr.write(f"riverbank: {error}\n")
        sys.exit(EXIT_WRONG_INPUT)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        from streams.telemetry import SOFTWARE_VERSION  # noqa: PLC0415 --help must not pay for it.

        typer.echo(SOFTWARE_VERSION)
        raise typer.Exit
