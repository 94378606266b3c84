"""`riverbank users`: who may use a portal: one-time links for people, API keys for systems.

Mounted by `riverbank.cli`.
Never takes or prints a password or a key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from riverbank.commands.frame import CannotRun, Config, settings_of
from streams.settings import WebProcess, WebSettings

group: Final = typer.Typer(no_args_is_help=True, help="Who may use a portal: invitations, API keys.")
T = TypeVar("T")


@group.command("invite")
def users_invite(
    config: Config,
    role: Annotated[str, typer.Option(help="administrator, officer or ml_engineer; at the console: operator.")],
    email: Annotated[str, typer.Option(help="Only for this e-mail address.")] = "",
) -> None:
    """Print a one-time link, good for three days: how a first administrator gets in. There are no default accounts."""
    from riverbank.people import invite
    from web.identity.people import normalised_email
    from web.identity.roles import roles_of

    web = settings_of(config, WebProcess).web
    wanted = next((known for known in roles_of(console=web.institution is None) if known.value == role), None)
    if wanted is None:
        raise CannotRun(f"--role is one of {', '.join(roles_of(console=web.institution is None))} here")
    path = _done(lambda: invite(web, wanted, email=normalised_email(email) if email else None))
    typer.echo(f"{_address(web)}{path}")


@group.command("key")
def users_key(
    config: Config,
    name: Annotated[str, typer.Option(help="Which system will use it.")],
    scope: Annotated[list[str], typer.Option(help="What for; repeat.")],
    out: Annotated[Path, typer.Option(help="A new file for the header with the key, readable by its owner only.")],
) -> None:
    """Make an API key for one of the institution's systems."""
    from riverbank.people import make_key
    from web.identity.roles import Scope

    unknown = sorted(set(scope) - set(Scope))
    if unknown:
        raise CannotRun(f"--scope is one of {', '.join(Scope)}; not {', '.join(unknown)}")
    web = settings_of(config, WebProcess).web
    _done(lambda: make_key(web, name, [Scope(text) for text in scope], out))
    typer.echo(f"send it with: curl -H @{out} {_address(web)}/api/v1/...")


def _done(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    from web.database.engine import DatabaseError
    from web.identity.people import PeopleError

    try:
        return asyncio.run(work())
    except (DatabaseError, PeopleError, OSError) as error:
        raise CannotRun(str(error)) from error


def _address(web: WebSettings) -> str:
    if web.origin is not None:
        return web.origin
    try:
        port = web.port if web.port_file is None else int(web.port_file.read_text())
    except (OSError, ValueError):  # It does not run yet.
        port = web.port
    return f"http://{web.host}:{port}" if port else ""
