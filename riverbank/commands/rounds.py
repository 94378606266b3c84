"""`riverbank rounds`: the newest rounds, one round in full, or rounds as they end.

Mounted by `riverbank.cli`.
Never writes to the federation's log."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from riverbank.commands.frame import CannotRun, Config, Head, Json, settings_of, show
from streams.settings import WebProcess

if TYPE_CHECKING:
    from riverbank.observer import Observer
    from web.readmodels.rounds import RoundRow

group: Final = typer.Typer(no_args_is_help=True, help="Rounds of the federation, with the console's settings or a portal's.")
_LOOK_S: Final = 0.25


@group.command("show")
def rounds_show(
    config: Config,
    head: Annotated[Head | None, typer.Argument(help="A head; without one, all.")] = None,
    number: Annotated[int | None, typer.Argument(metavar="ROUND", min=1, help="One round, with everybody's part in it.")] = None,
    newest: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the newest rounds, or who did what in one of them; exit 1 if that one was abandoned."""
    settings = settings_of(config, WebProcess)
    if head is None or number is None:
        show(asyncio.run(_newest(settings, head, newest)), as_json)
        return
    rows = asyncio.run(_one(settings, head, number))
    if not rows:
        raise CannotRun(f"round {number} of {head.value} is not among the newest that are kept in memory: `riverbank audit search` has all")
    show(rows, as_json)
    raise typer.Exit(1 if any(row["state"] == "abandoned" for row in rows) else 0)


@group.command("watch")
def rounds_watch(
    config: Config,
    head: Annotated[Head | None, typer.Argument(help="A head; without one, all.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many rounds.")] = None,
    as_json: Json = False,
) -> None:
    """Print each round when it ends, a line each; Ctrl-C ends it."""
    try:
        asyncio.run(_watch(settings_of(config, WebProcess), head, count, as_json))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _newest(settings: WebProcess, head: Head | None, most: int) -> list[dict[str, Any]]:
    from riverbank.observer import observing_as

    async with observing_as(settings) as observer:
        rows = [row for row in observer.rounds.newest(10_000) if head is None or row.head == head.value]
        return [_line(observer, row) for row in rows[:most]]


async def _one(settings: WebProcess, head: Head, number: int) -> list[dict[str, Any]]:
    from riverbank.observer import observing_as
    from web.readmodels.attendance import attendance

    async with observing_as(settings) as observer:
        found = [row for row in observer.rounds.newest(10_000) if (row.head, row.round) == (head.value, number)]
        return [
            {
                "head": row.head.value, "group": row.group, "round": row.round, "state": row.state, "institution": each.institution,
                "part": each.part.value, "reason": row.reason,
            }
            for row in found
            for each in attendance(row, observer.rounds.heads[row.head].members_of(row.epoch, row.group))
        ]  # fmt: skip


async def _watch(settings: WebProcess, head: Head | None, count: int | None, as_json: bool) -> None:
    from riverbank.observer import observing_as

    async with observing_as(settings) as observer:
        told = {_name(row) for row in observer.rounds.newest(10_000) if row.ended_at_ms is not None}
        left = count
        while left is None or left > 0:
            await asyncio.sleep(_LOOK_S)
            kept = list(observer.rounds.newest(10_000))
            ended = [
                row for row in kept if row.ended_at_ms is not None and _name(row) not in told and (head is None or row.head == head.value)
            ]
            told = {name for name in map(_name, kept) if name in told} | set(map(_name, ended))
            for row in reversed(ended if left is None else ended[-left:]):
                line = _line(observer, row)
                typer.echo(json.dumps(line) if as_json else _sentence(line))
            left = None if left is None else left - len(ended)


def _name(row: RoundRow) -> tuple[str, int, int]:
    return row.head.value, row.group, row.round


def _line(observer: Observer, row: RoundRow) -> dict[str, Any]:
    from web.readmodels.attendance import absent
    from web.views import clock_text

    members = observer.rounds.heads[row.head].members_of(row.epoch, row.group)
    return {
        "head": row.head.value,
        "group": row.group,
        "round": row.round,
        "opened": clock_text(row.opened_at_ms),
        "state": row.state,
        "updates": len(row.updates),
        "took_ms": row.duration_ms,
        "version": row.version,
        "absent": ", ".join(f"{each.institution} ({each.part})" for each in absent(row, members)),
        "reason": row.reason,
    }


def _sentence(line: dict[str, Any]) -> str:
    what = f"model {line['version']}" if line["version"] is not None else line["reason"] or line["state"]
    head = line["head"] if line["group"] == 0 else f"{line['head']}/{line['group']}"
    missing = f"; {line['absent']}" if line["absent"] else ""
    return f"{line['opened']} {head} round {line['round']}: {line['state']} in {line['took_ms']} ms, {line['updates']} updates, {what}{missing}"
