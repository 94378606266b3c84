"""The four agents: which records go to which lane or chunk owner, as partitions come and go.

Called by the Faust door, through `wiring`.
Never lets two halves of one job live in different workers: partner partitions must be assigned together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from aggregator_worker.app import Handler, Partition
from aggregator_worker.chunk_owner import ChunkOwner
from aggregator_worker.head_shell import HeadShell
from federation.errors import require
from streams.ports import Record
from streams.topology import CHUNKS, ROUNDS, SUM_REQUESTS, SUMS

_log: Final = structlog.get_logger(__name__)

# Equal numbers of partitions: the group's assignor keeps equal partition numbers of these together.
require(ROUNDS.partitions == SUMS.partitions, "a lane and its sums are not partitioned alike")
require(CHUNKS.partitions == SUM_REQUESTS.partitions, "chunks and the requests for their sums are not partitioned alike")


class Agents:
    """The lanes and chunk partitions of this worker. A record of a partition that is somebody else's now is dropped."""

    def __init__(
        self,
        new_lane: Callable[[int], HeadShell | None],
        new_owner: Callable[[int], ChunkOwner],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """`new_lane`: the lane of a partition of ROUNDS, None for a head without rounds."""
        self._new_lane: Final = new_lane
        self._new_owner: Final = new_owner
        self._on_failure: Final = on_failure
        self._lanes: dict[int, HeadShell | None] = {}
        self._owners: dict[int, ChunkOwner] = {}
        self._rebuilding: set[asyncio.Task[None]] = set()

    def handlers(self) -> Mapping[str, Handler]:
        """Full topic name -> what takes its records."""
        return {
            ROUNDS.full_name(): self._take_round,
            SUMS.full_name(): self._take_sum,
            CHUNKS.full_name(): self._take_chunk,
            SUM_REQUESTS.full_name(): self._take_request,
        }

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """From now on these are this worker's partitions."""
        numbers = {topic: {number for name, number in partitions if name == topic} for topic in self.handlers()}
        lanes, owners = numbers[ROUNDS.full_name()], numbers[CHUNKS.full_name()]
        require(lanes == numbers[SUMS.full_name()], "a lane and its sums were assigned to different workers")
        require(owners == numbers[SUM_REQUESTS.full_name()], "chunks and the requests for their sums were assigned to different workers")
        _log.info("partitions assigned", lanes=sorted(lanes), chunks=sorted(owners))
        for gone in set(self._lanes) - lanes:
            lane = self._lanes.pop(gone)
            if lane is not None:
                lane.close()
        self._owners = {number: self._owners.get(number) or self._new_owner(number) for number in owners}
        for new in lanes - set(self._lanes):
            self._lanes[new] = lane = self._new_lane(new)
            if lane is not None:
                # Not awaited here: Faust would take a long rebuild for a rebalance that hangs.
                task = asyncio.get_running_loop().create_task(lane.rebuild())
                self._rebuilding.add(task)
                task.add_done_callback(self._rebuilt)

    async def look_around(self) -> None:
        """Let every lane see who is a member now, and which keys we hold."""
        for lane in list(self._lanes.values()):
            if lane is not None:
                await lane.look_around()

    async def recovered(self) -> None:
        """Waits until every lane that is being rebuilt has been."""
        while self._rebuilding:
            await asyncio.wait(set(self._rebuilding))

    def close(self) -> None:
        """Stop every timer; nothing is said any more."""
        for lane in self._lanes.values():
            if lane is not None:
                lane.close()
        for task in self._rebuilding:
            task.cancel()

    def _rebuilt(self, task: asyncio.Task[None]) -> None:
        self._rebuilding.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._on_failure(failure)

    async def _take_round(self, record: Record) -> None:
        if (lane := self._lanes.get(record.partition)) is not None:
            await lane.take(record)

    async def _take_sum(self, record: Record) -> None:
        if (lane := self._lanes.get(record.partition)) is not None:
            await lane.take_sum(record)

    async def _take_chunk(self, record: Record) -> None:
        if (owner := self._owners.get(record.partition)) is not None:
            await owner.take_chunk(record)

    async def _take_request(self, record: Record) -> None:
        if (owner := self._owners.get(record.partition)) is not None:
            await owner.take_request(record)
