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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.live import Live

from audit import queries
from audit.warehouse import WarehouseError
from federation.errors import OwnFault
from federation.messages import HeadName
from riverbank.datasets.selection import Selection
from riverbank.demo.lookups import Lookups, Target
from riverbank.demo.report import as_table, report
from riverbank.demo.screen import draw
from riverbank.demo.stack import FEDERATION, Stack
from riverbank.demo.watch import Watch
from riverbank.embedded.kafka import EmbeddedKafkaError
from riverbank.feed import Progress, read_progress
from riverbank.generator.world import World
from riverbank.processes import ChildError
from streams.ports import LogRefused, LogUnavailable

_LOOK_S: Final = 0.5
FIRST_ROUND_WITHIN_S: Final = 30.0
FIRST_MODEL_WITHIN_S: Final = 120.0
ROUNDS_USUAL: Final = 60
FEED_SHARE: Final = 0.9  # The last rounds learn from what the last events taught.


class DemoFailed(Exception):
    """The demo cannot go on; one sentence, with the log to read."""


EXPECTED: Final = (ChildError, DemoFailed, EmbeddedKafkaError, LogRefused, LogUnavailable, OwnFault, WarehouseError)
"""What an operator can mend, each with a sentence of its own."""


@dataclass(frozen=True)
class Demo:
    """What `riverbank demo` was asked for."""

    data: Path | None  # None: generated events.
    seed: int
    rounds: int | None  # None: until somebody ends it.
    round_ms: int
    headless: bool
    as_json: bool
    directory: Path | None  # None: a temporary one, removed at the end.

    def institutions(self) -> tuple[str, ...]:
        """Who takes part; OwnFault if the data set that names them is missing."""
        return World(seed=self.seed).names if self.data is None else Selection(folder=self.data).names()

    def feed_arguments(self) -> list[str]:
        """What the feed is told: a data set is spread over the rounds, generated events go on at a steady rate."""
        seed = ["--seed", str(self.seed)]
        if self.data is None:
            return seed
        lasts_s = (self.rounds or ROUNDS_USUAL) * self.round_ms / 1000 * FEED_SHARE
        return [*seed, "--data", str(self.data), *(f"--pace={head.value}={lasts_s:g}s" for head in HeadName)]


@dataclass
class _Run:
    """One run's moving parts."""

    demo: Demo
    stack: Stack
    watch: Watch
    lookups: Lookups
    progress_file: Path
    started_s: float
    memory_max_bytes: int = 0
    background: list[asyncio.Task[Any]] = field(default_factory=list)

    def progress(self) -> Progress | None:
        """How far the feed is."""
        return read_progress(self.progress_file)

    def done(self) -> bool:
        """Whether every head has had its rounds, published or not, and every record of a finite feed has been read."""
        if self.demo.rounds is None or any(self.watch.ended(head) < self.demo.rounds for head in HeadName):
            return False
        progress = self.progress()
        if progress is None:
            return False  # On a slow machine rounds may be over before the feed has read its files.
        if any(head.total is None for head in progress.heads.values()):
            return True  # A generated stream has no end to wait for.
        return progress.done and all(
            sum(status.events_read for status in self.watch.institutions.of_head(head)) >= fed.fed for head, fed in progress.heads.items()
        )

    async def start_rest(self) -> None:
        """Start feed, audit and portals once the first round is open, or after a while; then wait for ever."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.watch.first_round.wait(), FIRST_ROUND_WITHIN_S)
        self.stack.start_feed([*self.demo.feed_arguments(), "--progress", str(self.progress_file)])
        await self.stack.start_serving()
        await asyncio.Event().wait()

    def check(self) -> None:
        """Raise what ended in the background, and DemoFailed when there is no model after a long time."""
        for task in self.background:
            if task.done():
                outcome = task.result()
                raise outcome if isinstance(outcome, Exception) else DemoFailed(f"{task.get_name()} ended by itself")
        waited = time.monotonic() - self.started_s
        if self.watch.first_model_ms is None and waited > FIRST_MODEL_WITHIN_S:
            raise DemoFailed(f"no global model after {waited:.0f} s; the processes' logs are in {self.stack.directory}/*/process.log")

    def measured(self) -> dict[str, Any]:
        """Figures of the whole."""
        progress = self.progress()
        return {
            "seconds": round(time.monotonic() - self.started_s, 1),
            "seconds_to_first_round": self._since_start(self.watch.first_round_ms),
            "seconds_to_first_model": self._since_start(self.watch.first_model_ms),
            "memory_mib_max": round(self.memory_max_bytes / 2**20),
            "restarts": {name: count for name, count in self.stack.supervisor.restarts().items() if count},
            "events_fed": {} if progress is None else {head.value: fed.fed for head, fed in progress.heads.items()},
            "rows_refused_by_adapters": {}
            if progress is None
            else {head.value: fed.refused for head, fed in progress.heads.items() if fed.refused},
            "audit": _audit_totals(self.stack.audit_dsn),
        }

    def _since_start(self, at_ms: int | None) -> float | None:
        started_ms = (time.time() - (time.monotonic() - self.started_s)) * 1000
        return None if at_ms is None else round((at_ms - started_ms) / 1000, 1)


async def run_demo(demo: Demo) -> int:
    """Run until the rounds are done or a signal comes; the exit code."""
    started_s = time.monotonic()
    console = Console(stderr=True)
    institutions = demo.institutions()
    stopped = asyncio.Event()
    with _directory(demo.directory) as directory, _signals(stopped):
        console.print(f"Starting Kafka, the aggregator, {len(institutions)} institutions, the audit and the portals; logs in {directory}")
        async with Stack(directory, institutions, demo.round_ms) as stack:
            progress_file = directory / "feed" / "progress.json"
            watch = Watch(stack.kafka.bootstrap, stack.operator, FEDERATION, stack.federation.ca_verify_key, institutions)
            lookups = Lookups(lambda: _portals(stack), watch.customers)
            run = _Run(demo, stack, watch, lookups, progress_file, started_s)
            result = await _follow(run, console, stopped)
            console.print("Stopping ...")
        if demo.as_json:
            sys.stdout.write(json.dumps(result, indent=1) + "\n")
        else:
            Console().print(as_table(result))
    return 0


def _audit_totals(dsn: str) -> Mapping[str, Any] | None:
    """What the audit holds; None before its writer has opened it."""
    try:
        return queries.totals(dsn)
    except WarehouseError:
        return None


def _portals(stack: Stack) -> list[Target]:
    named = ((name, f"portal-{name}") for name in stack.institutions)
    return [Target(name, url, stack.keys[portal]) for name, portal in named if (url := stack.url(portal)) is not None]


async def _follow(run: _Run, console: Console, stopped: asyncio.Event) -> dict[str, Any]:
    """Watch and ask until done or stopped; the result."""
    run.background = [
        asyncio.create_task(run.start_rest(), name="starting the portals"),
        asyncio.create_task(run.watch.run(), name="watching the topics"),
        asyncio.create_task(run.lookups.run(), name="asking the portals"),
        asyncio.create_task(run.stack.supervisor.lost(), name="supervising the processes"),
    ]
    live = contextlib.nullcontext() if run.demo.headless else Live(console=console, refresh_per_second=2)
    try:
        with live as screen:
            while not stopped.is_set() and not run.done():
                run.check()
                run.memory_max_bytes = max(run.memory_max_bytes, await asyncio.to_thread(run.stack.memory_bytes))
                if screen is not None:
                    screen.update(draw(run.stack, run.watch, run.lookups, _notes(run)))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopped.wait(), _LOOK_S)
        return report(run.watch, run.lookups, await asyncio.to_thread(run.measured))
    finally:
        for task in run.background:
            task.cancel()
        await asyncio.gather(*run.background, return_exceptions=True)
        await run.watch.close()


def _notes(run: _Run) -> str:
    progress = run.progress()
    fed = "" if progress is None else ", ".join(f"{head.value} {state.fed:,}" for head, state in progress.heads.items())
    restarts = sum(run.stack.supervisor.restarts().values())
    return f"Events fed: {fed or 'none yet'}. Memory {run.memory_max_bytes / 2**20:,.0f} MiB. Restarted processes: {restarts}."


@contextlib.contextmanager
def _directory(chosen: Path | None) -> Iterator[Path]:
    if chosen is None:
        made = Path(tempfile.mkdtemp(prefix="riverbank-demo-"))
        yield made
        shutil.rmtree(made)  # Not when it failed: the sentence that says so names the logs in there.
    else:
        if chosen.exists() and any(chosen.iterdir()):
            raise DemoFailed(f"{chosen} is not empty: name a new directory, or remove it")
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen


@contextlib.contextmanager
def _signals(stopped: asyncio.Event) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM stops in order; the second ends this process, and with it every child, at once."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        stopped.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
