"""`riverbank doctor`: what a process needs, looked over before it starts.

Mounted by `riverbank.cli`.
Never repairs: it says how."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import typer

from riverbank.commands.frame import Config, Json, show


def doctor(config: Config, as_json: Json = False) -> None:
    """Look over everything the process of a settings file needs, and say how to mend what is wrong; exit 1 if something is."""
    from riverbank.doctor.examination import examine
    from riverbank.doctor.findings import Level

    async def examined() -> list[dict[str, Any]]:
        return [dataclasses.asdict(finding) async for finding in examine(config)]

    found = asyncio.run(examined())
    show(found, as_json)
    raise typer.Exit(1 if any(finding["level"] == Level.WRONG for finding in found) else 0)
