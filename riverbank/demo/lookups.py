"""Asks the portals for recommendations during the demo and keeps the times.

Run by `riverbank.demo.run`.
Never asks faster than its rate: it shows what a customer-facing app sees, it is no load test."""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp


@dataclass(frozen=True)
class Target:
    """A portal, and a key that it knows."""

    institution: str
    address: str
    key: str = field(repr=False)


@dataclass
class Lookups:
    """`targets()` gives the portals once they listen, `customers(name)` whom to ask about."""

    targets: Callable[[], Sequence[Target]]
    customers: Callable[[str], Sequence[str]]
    per_second: float = 20.0
    seconds: array[float] = field(default_factory=lambda: array("d"))
    refused: int = 0
    newest: str = ""

    async def run(self) -> None:
        """Ask in turn until cancelled; answers other than 200 are counted, a portal that is away is asked again later."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            for number in itertools.count():
                await asyncio.sleep(1 / self.per_second)
                targets = self.targets()
                if targets:
                    target = targets[number % len(targets)]
                    people = self.customers(target.institution)
                    await self._ask(session, target, people[number % len(people)] if people else f"newcomer-{number % 100}")

    async def _ask(self, session: aiohttp.ClientSession, target: Target, customer: str) -> None:
        started = time.perf_counter()
        try:
            headers = {"Authorization": f"Bearer {target.key}"}
            async with session.get(f"{target.address}/api/v1/recommendations/{customer}", headers=headers) as answer:
                body = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError):
            self.refused += 1
            return
        if answer.status != HTTPStatus.OK:
            self.refused += 1
            return
        self.seconds.append(time.perf_counter() - started)
        if body["known"] and body["items"]:
            self.newest = f"{body['institution']}: {body['customer']} -> {body['items'][0]['title']} ({body['items'][0]['score']:.2f})"

    def percentile_ms(self, share: float) -> float | None:
        """Time below which this share of the answers came; None without answers."""
        ordered = sorted(self.seconds)
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3) if ordered else None
