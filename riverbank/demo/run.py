"""Runs the demo: start, follow, show, and stop when the rounds are done or somebody presses Ctrl-C.

Called by `riverbank demo`.
Never ends with a process of its own still running."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.live import Live

from federation import messages as m
from riverbank.demo.lookups import Lookups
from riverbank.demo.report import as_table, report
from riverbank.demo.screen import draw
from riverbank.demo.stack import FEDERATION, Stack
from riverbank.demo.watch import Watch
from riverbank.feed import Progress, read_progress

_LOOK_S: Final = 0.5
_DRAIN_MAX_S: Final = 300.0


@dataclass(frozen=True)
class Demo:
    """What `riverbank demo` was asked for."""

    institutions: Sequence[str]
    feed_arguments: Sequence[str]
    rounds: int | None
    round_ms: int
    headless: bool
    as_json: bool
    directory: Path | None  # None: a temporary one, removed at the end.


class _Ended(Exception):
    """Why the demo stops before its rounds are done; empty when somebody asked for it."""


async def run_demo(demo: Demo) -> int:
    """Run until done; the exit code."""
    started = time.monotonic()
    console = Console(stderr=True)
    with _directory(demo.directory) as directory:
        stack = Stack(directory, demo.institutions, demo.round_ms)
        async with _stopped_by_signals():
            console.print(f"Starting Kafka, the aggregator, {len(demo.institutions)} institutions, the audit and the portals; logs in {directory}")
            async with stack:
                progress_file = directory / "feed" / "progress.json"
                stack.start_feed([*demo.feed_arguments, "--progress", str(progress_file)])
                result = await _follow(demo, stack, progress_file, console, started)
        if result is not None:
            if demo.as_json:
                sys.stdout.write(json.dumps(result, indent=1) + "\n")
            else:
                Console().print(as_table(result))
    return 0


async def _follow(demo: Demo, stack: Stack, progress_file: Path, console: Console, started: float) -> dict[str, Any]:
    watch = Watch(stack.kafka.bootstrap, FEDERATION, stack.federation.ca_verify_key, demo.institutions)
    portals = [(name, f"portal-{name}") for name in demo.institutions]

    def targets() -> list[tuple[str, str]]:
        return [(name, url) for name, web in portals if (url := stack.url(web)) is not None]

    lookups = Lookups(targets, watch.customers)
    measured: dict[str, Any] = {"memory_mib_max": 0.0}
    helpers = [asyncio.create_task(watch.run()), asyncio.create_task(lookups.run()), asyncio.create_task(stack.supervisor.lost())]
    live = contextlib.nullcontext() if demo.headless else Live(console=console, refresh_per_second=2, screen=False)
    try:
        with live as screen:
            while not _done(demo, watch, read_progress(progress_file)):
                for helper in helpers:
                    if helper.done():
                        lost = helper.result()  # Raises what a helper failed with; the supervisor's says which process was given up.
                        raise lost if isinstance(lost, Exception) else RuntimeError("the demo's watch ended by itself")
                measured["memory_mib_max"] = max(measured["memory_mib_max"], round(stack.memory_bytes() / 2**20, 1))
                if screen is not None:
                    screen.update(draw(stack, watch, lookups, _notes(measured, read_progress(progress_file))))
                await asyncio.sleep(_LOOK_S)
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        await watch.close()
    return report(watch, lookups, measured)
