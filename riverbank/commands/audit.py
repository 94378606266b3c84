"""`riverbank audit`: the audit's writer, and what it holds.

Mounted by `riverbank.cli`.
Never changes an entry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from riverbank.commands.frame import CannotRun, Config, Json, run_until_stopped, settings_of, show
from streams.settings import AuditProcess, AuditSettings

group: Final = typer.Typer(no_args_is_help=True, help="The audit: its writer, and what it holds.")


@group.command("run")
def audit_run(config: Config) -> None:
    """Write the federation's audit, or an institution's own, until stopped."""
    from audit import writer

    run_until_stopped(writer.run(settings_of(config, AuditProcess)))


@group.command("summary")
def audit_summary(config: Config, as_json: Json = False) -> None:
    """Entries and bytes per actor, action and head."""
    from audit import queries, writer

    settings = settings_of(config, AuditProcess).audit
    show(_told(lambda: queries.summary(_indexed(settings), password=writer.password_in(settings.password_file))), as_json)


@group.command("search")
def audit_search(
    config: Config, head: str = "", round_number: Annotated[int, typer.Option("--round", help="-1: any.")] = -1, actor: str = "", action: str = "", accused: str = "",
    limit: int = 100, as_json: Json = False,
) -> None:  # fmt: skip
    """Exchanges by head, round, actor, action or accused party, newest first."""
    from audit import queries, writer

    settings = settings_of(config, AuditProcess).audit
    asked: dict[str, str | int] = {
        "head": head,
        "round": round_number,
        "actor": actor,
        "action": action,
        "accused": accused,
        "limit": limit,
    }
    show(_told(lambda: queries.search(_indexed(settings), password=writer.password_in(settings.password_file), **asked)), as_json)


@group.command("verify")
def audit_verify(config: Config, as_json: Json = False) -> None:
    """Check every entry of the ledger against its hash, its place and the one before it; exit 1 and the first wrong entry if one is."""
    from audit.frames import TamperedError
    from audit.ledger import verified_root

    directory = settings_of(config, AuditProcess).audit.ledger_dir
    if not directory.is_dir():
        raise CannotRun(f"there is no ledger in {directory} yet")
    try:
        entries, root = verified_root(directory)
    except TamperedError as tampered:
        typer.echo(json.dumps({"entry": tampered.sequence, "wrong": tampered.reason}) if as_json else f"TAMPERED: {tampered}")
        raise typer.Exit(1) from tampered
    found = {"entries": entries, "root": root.hex()}
    typer.echo(json.dumps(found) if as_json else f"{entries} entries, every one as it was written; root {root.hex()}")


@group.command("rebuild")
def audit_rebuild(config: Config) -> None:
    """Make the index in ClickHouse anew from the ledger; the audit writer must be stopped."""
    from audit import index, writer
    from audit.frames import TamperedError
    from audit.ledger import LedgerError
    from audit.warehouse import WarehouseError

    settings = settings_of(config, AuditProcess).audit
    try:
        entries, root = asyncio.run(index.rebuild(settings.ledger_dir, _indexed(settings), writer.password_in(settings.password_file)))
    except (LedgerError, TamperedError, WarehouseError) as error:
        raise CannotRun(str(error)) from error
    typer.echo(f"{entries} entries indexed; root {root.hex()}")


def _indexed(settings: AuditSettings) -> str:
    if settings.dsn is None:
        raise CannotRun("this audit has no index: name a ClickHouse in audit.dsn")
    return settings.dsn


def _told(question: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    from audit.warehouse import WarehouseError
    from federation.errors import OwnFault

    try:
        return question()
    except (OwnFault, WarehouseError) as error:
        raise CannotRun(str(error)) from error
