"""`riverbank healthy`: asks a process on this machine how it is; what Docker's health checks and systemd's timers run.

Mounted by `riverbank.cli`.
Never asks anybody but the process of the settings file."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Annotated

import typer

from riverbank.commands.frame import CannotRun, Config


def healthy(config: Config, live: Annotated[bool, typer.Option("--live", help="Only whether its event loop turns.")] = False) -> None:
    """Ask the process of these settings, on its ops port, whether it is ready; exit 1 if not, or if it does not answer."""
    from riverbank.configuration import load_any

    ops = load_any(config).ops
    if not ops.port:
        raise CannotRun("the settings name no port: [ops] port")
    host = "127.0.0.1" if ops.host == "0.0.0.0" else ops.host  # noqa: S104 Compared, not bound.
    try:
        with urllib.request.urlopen(f"http://{host}:{ops.port}/health/{'live' if live else 'ready'}", timeout=5) as answer:
            typer.echo(answer.read().decode())
    except urllib.error.HTTPError as refused:
        with refused:
            typer.echo(refused.read().decode())
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(json.dumps({"status": "no answer", "reason": str(error)}))
        raise typer.Exit(1) from None
