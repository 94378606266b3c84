"""`riverbank audit`: the audit's writer, and what it holds.

Mounted by `riverbank.cli`.
Never changes an entry."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from riverbank.commands.frame import CannotRun, Config, Json, run_until_stopped, settings_of, show
from streams.settings import AuditProcess, AuditSettings

if TYPE_CHECKING:
    from audit.proofs import Prover
    from federation.messages import PartyCertified
    from riverbank.evidence.pack import Exhibit

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


@group.command("actions")
def audit_actions(
    config: Config, kind: str = "", action: str = "", actor: str = "", subject: str = "", limit: int = 100, as_json: Json = False
) -> None:
    """What an institution's people and processes did, by kind, action, actor or pseudonym, newest first; without an index, from the ledger."""
    from audit import queries, writer

    settings = settings_of(config, AuditProcess).audit
    asked: dict[str, str | int] = {"kind": kind, "action": action, "actor": actor, "subject": subject}
    if settings.dsn is None:
        show(_actions_of_the_ledger(settings, asked, limit), as_json)
    else:
        dsn, password = settings.dsn, writer.password_in(settings.password_file)
        show(_told(lambda: queries.actions(dsn, password=password, limit=limit, **asked)), as_json)


def _actions_of_the_ledger(settings: AuditSettings, asked: Mapping[str, str | int], limit: int) -> list[dict[str, Any]]:
    from audit.ledger import read_entries
    from riverbank.evidence.decision import action_in

    found: deque[dict[str, Any]] = deque(maxlen=limit)
    for entry in read_entries(settings.ledger_dir):
        said = action_in(entry)
        if said is not None and all(not value or getattr(said, name) == value for name, value in asked.items()):
            found.appendleft(
                {
                    "at_ms": said.at_ms, "kind": said.kind.value, "action": said.action, "actor": said.actor, "subject": said.subject,
                    "detail": json.dumps(said.detail), "process": said.process, "entry": said.entry_id.hex(), "sequence": entry.sequence,
                }
            )  # fmt: skip
    return list(found)


@group.command("prove")
def audit_prove(
    config: Config,
    sequence: Annotated[int | None, typer.Option("--entry", help="That this entry of the ledger is under the checkpoint.")] = None,
    since: Annotated[int | None, typer.Option("--since", help="That the checkpoint goes on from the tree of so many entries.")] = None,
) -> None:
    """Print a proof (RFC 9162) under the checkpoint with the most cosignatures, as JSON; the writer may be running."""
    if (sequence is None) == (since is None):
        raise CannotRun("name either --entry or --since")
    with _proving(config) as prover:
        said: dict[str, Any] = {"note": prover.note, "size": prover.checkpoint.size, "root": prover.checkpoint.root.hex()}
        if sequence is not None:
            proof = prover.entry(sequence)
            said |= {"entry": sequence, "leaf_data": proof.leaf_data.hex(), "inclusion": [each.hex() for each in proof.path]}
        if since is not None:
            said |= {"since": since, "consistency": [each.hex() for each in prover.consistency(since)]}
    typer.echo(json.dumps(said, indent=1))


@group.command("export")
def audit_export(
    config: Config, out: Annotated[Path, typer.Option(help="A new folder.")],
    release: Annotated[str, typer.Option(help="A model release, as credit:31; with the federation's audit.")] = "",
    decision: Annotated[str, typer.Option(help="A decision, a case or an entry; with an institution's own audit.")] = "",
) -> None:  # fmt: skip
    """Write an evidence pack: JSON with proofs, a page to print (and a PDF where a Chromium is at hand), and a script that checks it."""
    from riverbank.evidence.pack import contents, write_pack

    if bool(release) == bool(decision):
        raise CannotRun("name either --release or --decision")
    settings = settings_of(config, AuditProcess)
    with _proving(config) as prover:
        if release:
            from riverbank.evidence import release as of_release

            facts, exhibits, parties = asyncio.run(_release(settings, prover, release))
            pack = contents(f"release {release}", settings.federation.name, facts, exhibits, prover, parties, of_release.KINDS)
        else:
            from riverbank.evidence import decision as of_decision

            facts, exhibits = of_decision.gathered(prover, decision)
            pack = contents(f"decision {decision}", settings.federation.name, facts, exhibits, prover, (), of_decision.KINDS)
    for path in write_pack(out, pack):
        typer.echo(path)


async def _release(settings: AuditProcess, prover: Prover, release: str) -> tuple[dict[str, Any], list[Exhibit], list[PartyCertified]]:
    from audit.writer import log_of
    from federation.messages import HeadName
    from riverbank.evidence.release import gathered
    from streams.parties import Parties

    head, _, version = release.partition(":")
    if head not in list(HeadName) or not version.isdecimal():
        raise CannotRun(f"{release}: a release is a head and a version, as credit:31")
    log, federation = log_of(settings), settings.federation
    parties = Parties(log, federation=federation.name, ca_verify_key=bytes.fromhex(federation.ca_verify_key))
    try:
        return await gathered(log, parties, prover, HeadName(head), int(version))
    finally:
        await parties.close()
        await log.close()


@contextmanager
def _proving(config: Path) -> Iterator[Prover]:
    from audit.frames import TamperedError
    from audit.ledger import LedgerError
    from audit.proofs import Prover
    from federation.errors import OwnFault
    from streams.ports import LogRefused, LogUnavailable

    try:
        prover = Prover(settings_of(config, AuditProcess).audit.ledger_dir)
        try:
            yield prover
        finally:
            prover.close()
    except (LedgerError, TamperedError, OwnFault, LogRefused, LogUnavailable) as error:
        raise CannotRun(str(error)) from error


@group.command("verify")
def audit_verify(config: Config, as_json: Json = False) -> None:
    """Check every entry of the ledger against its hash, its place and the one before it; exit 1 and the first wrong entry if one is."""
    from audit.frames import TamperedError
    from audit.signing import verified_ledger

    directory = settings_of(config, AuditProcess).audit.ledger_dir
    if not directory.is_dir():
        raise CannotRun(f"there is no ledger in {directory} yet")
    try:
        entries, root, covered = verified_ledger(directory)
    except TamperedError as tampered:
        typer.echo(json.dumps({"entry": tampered.sequence, "wrong": tampered.reason}) if as_json else f"TAMPERED: {tampered}")
        raise typer.Exit(1) from tampered
    found = {"entries": entries, "root": root.hex(), "checkpointed": covered}
    signed = f"; the first {covered} as signed" if covered else ""
    typer.echo(json.dumps(found) if as_json else f"{entries} entries, every one as it was written{signed}; root {root.hex()}")


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
