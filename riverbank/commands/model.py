"""`riverbank model`: the global models of every head, and one version in full.

Mounted by `riverbank.cli`.
Never writes to the federation's log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from riverbank.commands.frame import CannotRun, Config, Head, Json, settings_of, show
from streams.settings import WebProcess

if TYPE_CHECKING:
    from web.readmodels.models import Announced

group: Final = typer.Typer(no_args_is_help=True, help="Global models, with the console's settings or a portal's.")


@group.command("list")
def model_list(
    config: Config,
    head: Annotated[Head | None, typer.Argument(help="A head, whose versions are listed; without one, the newest of each.")] = None,
    newest: Annotated[int, typer.Option(min=1, max=200, help="How many versions, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest global model of each head, or the versions of one."""
    rows = asyncio.run(_kept(settings_of(config, WebProcess)))
    shown = [kept[-1] for kept in rows.values() if kept] if head is None else rows[head.value][: -newest - 1 : -1]
    show([_line(each) for each in shown], as_json)


@group.command("show")
def model_show(
    config: Config,
    head: Annotated[Head, typer.Argument(help="A head.")],
    version: Annotated[int | None, typer.Argument(min=1, help="A version; without one, the newest.")] = None,
    as_json: Json = False,
) -> None:
    """Show one version: round, digest, what it rests on, who contributed, what it may cost a customer."""
    kept = asyncio.run(_kept(settings_of(config, WebProcess)))[head.value]
    found = [each for each in kept if version is None or each.version == version]
    if not found:
        raise CannotRun(f"{head.value} has no model yet" if not kept else f"version {version} of {head.value} is not among the newest kept")
    newest = found[-1]
    whole = _line(newest) | {
        "digest": newest.digest.hex(), "base_digest": newest.base_digest.hex(), "contributors": ", ".join(newest.contributors),
    }  # fmt: skip
    show([whole] if as_json else [{"what": name, "is": value} for name, value in whole.items()], as_json)


async def _kept(settings: WebProcess) -> dict[str, list[Announced]]:
    from riverbank.observer import observing_as

    async with observing_as(settings) as observer:
        return {head.value: list(kept) for head, kept in observer.models.heads.items()}


def _line(announced: Announced) -> dict[str, Any]:
    return {
        "head": announced.head.value,
        "version": announced.version,
        "epoch": announced.epoch,
        "round": announced.round,
        "published": datetime.fromtimestamp(announced.published_at_ms / 1000, UTC).isoformat(timespec="seconds"),
        "contributors": len(announced.contributors),
        "customers": announced.customers,
        "epsilon": announced.epsilon,
        "digest": announced.digest.hex()[:16],
    }
