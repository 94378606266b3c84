"""`riverbank lag` and `riverbank institutions`: how everybody keeps up, and who takes part.

Mounted by `riverbank.cli`.
Never writes to the federation's log."""

from __future__ import annotations

import asyncio
from typing import Any

import typer

from riverbank.commands.frame import Config, Json, settings_of, show
from streams.settings import WebProcess


def lag(config: Config, as_json: Json = False) -> None:
    """How far every institution is behind its own topics, and whether that is a worry; exit 1 if something stands still."""
    rows = asyncio.run(_lags(settings_of(config, WebProcess)))
    show(rows, as_json)
    raise typer.Exit(1 if any(row["state"] == "err" for row in rows) else 0)


def institutions(config: Config, as_json: Json = False) -> None:
    """Who is who: standing, certificate, and what each institution last said of each head."""
    show(asyncio.run(_institutions(settings_of(config, WebProcess))), as_json)


async def _lags(settings: WebProcess) -> list[dict[str, Any]]:
    from riverbank.observer import observing_as
    from web.views import clock_text

    async with observing_as(settings) as observer:
        now_ms, rows = observer.clock.now_ms(), []
        for institution, head in observer.lags.keys():  # noqa: SIM118 Not a mapping.
            newest, verdict = observer.lags.newest(institution, head), observer.lags.verdict(institution, head, now_ms)
            rows.append(
                {
                    "institution": institution,
                    "head": head.value,
                    "state": verdict.state.value,
                    "since": clock_text(verdict.since_ms),
                    "records": newest.lag_records,
                    "seconds": newest.lag_ms / 1000,
                    "why": verdict.why,
                }
            )
        return rows


async def _institutions(settings: WebProcess) -> list[dict[str, Any]]:
    from federation.messages import PartyRole
    from riverbank.membership import standing_rows
    from riverbank.observer import observing_as

    async with observing_as(settings) as observer:
        now_ms = observer.clock.now_ms()
        rows = []
        for party in standing_rows(observer.parties.directory, now_ms):
            if party["role"] not in {PartyRole.INSTITUTION.value, ""}:
                continue
            said = [status for (name, _), status in sorted(observer.institutions.newest.items()) if name == party["party"]]
            rows.append(
                {
                    "institution": party["party"],
                    "standing": party["standing"],
                    "takes_part": party["takes_part"],
                    "expires": party["expires"],
                    "last_rounds": ", ".join(f"{status.head.value} {status.round}" for status in said),
                    "learned": sum(status.events_learned for status in said),
                    "dead_letters": sum(status.dead_letters for status in said),
                    "heard_s_ago": round((now_ms - max(status.at_ms for status in said)) / 1000, 1) if said else None,
                    "why_not": party["why_not"],
                }
            )
        return rows
