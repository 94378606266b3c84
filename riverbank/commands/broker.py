"""`riverbank broker`: the embedded Kafka broker as a process of its own.

Mounted by `riverbank.cli`.
Never listens beyond this machine without certificates: `riverbank.embedded` refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from riverbank.commands.frame import CannotRun, run_until_stopped

group: Final = typer.Typer(no_args_is_help=True, help="The embedded Kafka broker.")


@group.command("run")
def broker_run(
    directory: Annotated[Path, typer.Option(help="Where its topics lie.")],
    port: int = 0,
    host: Annotated[str, typer.Option(help="The address it listens on; without certificates a loopback address.")] = "127.0.0.1",
    certificates: Annotated[
        Path | None, typer.Option(help="Folder with ca.crt, kafka.crt and kafka.key: mutual TLS and access lists.")
    ] = None,
    federation: Annotated[str, typer.Option(help="Whose certificates count (O in their subjects).")] = "",
    operator: Annotated[str, typer.Option(help="Who is above the access lists (CN in the subject, with OU=operator).")] = "operator",
) -> None:
    """Run one Kafka broker on this machine, until stopped."""
    from riverbank.embedded.configuration import BrokerTls
    from riverbank.embedded.kafka import EmbeddedKafka
    from riverbank.provisioning.transport import tls_files
    from streams.access import Principal
    from streams.topology import Role

    if (certificates is None) != (not federation):
        raise CannotRun("--certificates and --federation belong together")
    above = (Principal(operator, Role.OPERATOR),)
    tls = None if certificates is None else BrokerTls(tls_files(certificates), federation, above)

    async def serve() -> None:
        async with EmbeddedKafka(directory, port, tls, host) as kafka:
            typer.echo(kafka.bootstrap)
            await asyncio.Event().wait()

    run_until_stopped(serve())
