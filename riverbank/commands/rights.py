"""`riverbank rights`: what an institution does when a customer uses his rights (docs/rights.md).

Mounted by `riverbank.cli`.
Never prints what is known of a customer unless it was asked for just that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from federation.messages import Purpose
from riverbank.commands.frame import CannotRun, Config, settings_of
from streams.settings import WebProcess

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
