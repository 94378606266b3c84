"""`riverbank rights`: what an institution does when a customer uses his rights (docs/rights.md).

Mounted by `riverbank.cli`.
Never prints what is known of a customer unless it was asked for just that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from federation.messages import Purpose
from riverbank.commands.frame import CannotRun, Config, settings_of
from streams.settings import InstitutionProcess, TopicsProcess, WebProcess

if TYPE_CHECKING:
    from streams.ports import Log

T = TypeVar("T")
Customer = Annotated[str, typer.Option("--customer", help="The institution's own identifier.")]

group: Final = typer.Typer(no_args_is_help=True, help="A customer's rights: consents, access, erasure, objection.")


@group.command("consent")
def rights_consent(
    config: Config,
    customer: Customer,
    permit: Annotated[list[Purpose] | None, typer.Option(help="A purpose that he permits; repeat.")] = None,
    refuse: Annotated[list[Purpose] | None, typer.Option(help="A purpose that he refuses or objects to; repeat.")] = None,
) -> None:
    """Take down all that a customer permits and refuses; without either: he has said nothing. CONFIG is the portal's."""
    from riverbank.rights import state_consents

    permitted, refused = set(permit or ()), set(refuse or ())
    if permitted & refused:
        raise CannotRun("a purpose is permitted or refused, not both")
    _at_the_portal(config, lambda log, institution: state_consents(log, institution, customer, permitted, refused))
    typer.echo("taken down; it holds from here on in the order of the log")


Actor = Annotated[str, typer.Option(help="Who does it, for the audit.")]

PseudonymKey = Annotated[
    Path | None,
    typer.Option(
        "--pseudonyms", help="The institution's key for customers' names in its audit; the same file everywhere. Absent: in state_dir."
    ),
]


@group.command("export")
def rights_export(
    config: Config,
    customer: Customer,
    out: Annotated[Path, typer.Option(help="A new folder for export.json and export.html.")],
    actor: Actor = "operator",
    pseudonyms: PseudonymKey = None,
) -> None:
    """Everything that the worker's state and topics hold on a customer; CONFIG is the worker's, beside which this runs."""
    import os

    from audit.auditor import Auditor, AuditUnavailable
    from federation.errors import OwnFault
    from federation.messages import ActionKind
    from riverbank.subject_access import export, page
    from streams.access import Principal
    from streams.kafka import KafkaLog
    from streams.ports import LogRefused, LogUnavailable
    from streams.tls import open_tls
    from streams.topology import Role
    from web.wiring import SystemClock

    settings = settings_of(config, InstitutionProcess)
    own, name = settings.institution, settings.party.name
    if out.exists():
        raise CannotRun(f"{out} exists: name a new folder")
    worker = Principal(name, Role.INSTITUTION)
    subject = _pseudonym(pseudonyms or own.state_dir / "pseudonyms.key", customer)

    async def done() -> dict[str, Any]:
        log = KafkaLog(own.bootstrap, client_id=f"{worker.name}-cli", tls=open_tls(own.tls, worker))
        try:
            async with Auditor(log, institution=name, process="rights", clock=SystemClock(), entropy=os.urandom) as auditor:
                await auditor.record(ActionKind.EXPORT, "customer_exported", actor=actor, subject=subject)
            return await export(log, name, own.state_dir, customer)
        finally:
            await log.close()

    try:
        exported = asyncio.run(done())
    except (AuditUnavailable, LogRefused, LogUnavailable, OwnFault) as error:
        raise CannotRun(str(error)) from error
    out.mkdir(mode=0o700, parents=True)
    for file, content in (("export.json", json.dumps(exported, indent=1, allow_nan=False) + "\n"), ("export.html", page(exported))):
        (out / file).write_text(content, encoding="utf-8")
    typer.echo(f"in {out}; hand it to the customer, then delete it")


@group.command("erase")
def rights_erase(
    config: Config,
    customer: Customer,
    out: Annotated[Path, typer.Option(help="A new file for the certificate.")],
    actor: Actor = "operator",
    wait: Annotated[int, typer.Option(min=1, help="Give up waiting for the certificate after so many seconds; the erasure stands.")] = 60,
    pseudonyms: PseudonymKey = None,
) -> None:
    """Erase a customer from the worker's state and make what logs hold of him unreadable; CONFIG is the portal's, whose audit must be running."""
    import os

    from audit.auditor import Auditor, AuditUnavailable
    from riverbank.erasing import NotErased, erase
    from streams.access import Principal
    from streams.kafka import KafkaLog
    from streams.parties import Parties
    from streams.tls import open_tls
    from streams.topology import Role
    from web.wiring import SystemClock

    settings = settings_of(config, WebProcess)
    if out.exists():
        raise CannotRun(f"{out} exists: certificates are not overwritten")
    subject = _pseudonym(pseudonyms or settings.web.state_dir / "pseudonyms.key", customer)
    federation = settings.federation

    async def done(log: Log, institution: str) -> dict[str, Any]:
        portal = Principal(institution, Role.PORTAL)
        far = KafkaLog(federation.bootstrap, client_id=f"{portal.name}-cli", tls=open_tls(federation.tls, portal))
        parties = Parties(far, federation=federation.name, ca_verify_key=bytes.fromhex(federation.ca_verify_key))
        try:
            await parties.catch_up()
            async with Auditor(log, institution=institution, process="rights", clock=SystemClock(), entropy=os.urandom) as auditor:
                return await erase(
                    log, parties, auditor, institution, customer, actor=actor, subject=subject, wait_s=wait, entropy=os.urandom
                )
        finally:
            await parties.close()
            await far.close()

    try:
        written = _at_the_portal(config, done)
    except (AuditUnavailable, NotErased) as error:
        raise CannotRun(str(error)) from error
    out.write_text(json.dumps(written, indent=1) + "\n")
    typer.echo(f"erased; the certificate is in {out}. `riverbank rights purge` takes him out of the brokers at once; else retention does")


Certificate = Annotated[Path, typer.Argument(help="The file that `erase` wrote.")]


@group.command("verify")
def rights_verify(
    certificate: Certificate,
    federation: Annotated[Path, typer.Option(help="The federation.toml that everybody has: its name and its CA's key.")],
    customer: Annotated[str | None, typer.Option(help="Also: whether it is about this customer.")] = None,
) -> None:
    """Check a certificate of an erasure, without any connection; exit 1 if it does not hold."""
    import tomllib

    from federation.errors import OwnFault
    from riverbank.erasing import load, readable, verified

    public = tomllib.loads(federation.read_text())
    pinned = public.get("federation", public)
    try:
        said = verified(
            load(certificate), federation=pinned["name"], ca_verify_key=bytes.fromhex(pinned["ca_verify_key"]), customer=customer
        )
    except OwnFault as error:
        typer.echo(f"NOT VALID: {error}")
        raise typer.Exit(1) from error
    typer.echo(json.dumps(readable(said), indent=1))


@group.command("purge")
def rights_purge(
    config: Config,
    certificate: Certificate,
    customer: Customer,
    wait: Annotated[int, typer.Option(min=1, help="Give the brokers so many seconds to compact.")] = 120,
) -> None:
    """Delete from the brokers at once what retention would delete in days; CONFIG is the cluster's. Exit 1 if he can still be read somewhere."""
    from federation.errors import OwnFault
    from riverbank.erasing import load, unverified
    from riverbank.purging import purge
    from streams.ports import LogRefused, LogUnavailable

    try:
        left = asyncio.run(purge(settings_of(config, TopicsProcess).cluster, unverified(load(certificate)), customer, wait_s=wait))
    except (OwnFault, LogRefused, LogUnavailable) as error:
        raise CannotRun(str(error)) from error
    typer.echo(f"STILL READABLE in {', '.join(left)}" if left else "no topic of the institution holds the customer's name any more")
    raise typer.Exit(1 if left else 0)


def _pseudonym(key_file: Path, customer: str) -> str:
    import os

    from audit.pseudonyms import key_in, pseudonym

    return pseudonym(key_in(key_file, os.urandom), customer)


def _at_the_portal(config: Config, work: Callable[[Log, str], Awaitable[T]]) -> T:
    """Do something over the portal's connection to the institution's own cluster."""
    from streams.access import Principal
    from streams.kafka import KafkaLog
    from streams.ports import LogRefused, LogUnavailable
    from streams.tls import open_tls
    from streams.topology import Role

    web = settings_of(config, WebProcess).web
    if web.institution is None or web.bootstrap is None:
        raise CannotRun("these are the settings of the operator's console, which has no customers: take a portal's")
    portal, institution, bootstrap = Principal(web.institution, Role.PORTAL), web.institution, web.bootstrap

    async def done() -> T:
        log = KafkaLog(bootstrap, client_id=f"{portal.name}-cli", tls=open_tls(web.tls, portal))
        try:
            return await work(log, institution)
        finally:
            await log.close()

    try:
        return asyncio.run(done())
    except (LogRefused, LogUnavailable) as error:
        raise CannotRun(str(error)) from error
