"""Says what the journal holds: records that a committed turn has decided on, in their order, as long as it takes.

Called by `worker` after every turn, and first of all at start.
Never says anything that is not on disk: a crash in between leads to the same bytes again, never to others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import groupby
from typing import Final

from institution_workers.storage import Store
from streams.ports import Log
from streams.telemetry import SENT_BYTES
from streams.topology import Cluster

_BATCH: Final = 500


class Speaker:
    """The way from one cluster's part of the journal to its log."""

    def __init__(self, store: Store, cluster: Cluster, log: Log, *, reach: Callable[[str], None] = lambda _point: None) -> None:
        """`reach` is told each labelled point, so that tests can crash there."""
        self._store = store
        self._cluster = cluster
        self._log = log
        self._reach = reach
        self._one_at_a_time = asyncio.Lock()

    async def flush(self) -> None:
        """Send all that is journaled and not yet acknowledged; LogUnavailable or LogRefused as the log says."""
        async with self._one_at_a_time:
            while batch := self._store.unsaid(self._cluster, _BATCH):
                # A topic's records together, topics one after the other: a masked update must not arrive before its chunks.
                for _, run in groupby(batch, key=lambda numbered: numbered[1].topic):
                    numbers, records = zip(*run, strict=True)
                    await self._log.append(records)
                    self._reach("sent")
                    with self._store.turn():
                        self._store.forget_said(self._cluster, numbers[-1])
                    for record in records:
                        SENT_BYTES.labels(record.topic).inc(len(record.value or b""))
