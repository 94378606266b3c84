"""Looks from outside whether records that lie in the log are being handled; the client libraries have no such signal.

Called by `wiring`; the supervisor starts a process anew that ends because of it.
Never trusts what Faust says of itself: the ends are the broker's, the progress is what handlers have finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Partition = tuple[str, int]


@dataclass
class _Seen:
    reference: int  # Where it stood when last seen to move: the offset after the last record handled, or else the end.
    since_s: float  # When it was first found standing there as it does.
    behind: bool  # With records waiting.


class Watchdog:
    """Partitions and when they last moved. `patience_s`: how long one may stand still with records waiting."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._seen: dict[Partition, _Seen] = {}

    def look(self, ends: Mapping[Partition, int], handled: Mapping[Partition, int], now_s: float) -> tuple[Partition, ...]:
        """The partitions that are stuck. `ends` of this worker's partitions, `handled` offsets + 1 of those that have any.

        `now_s` is a clock that only goes forward. A partition without handled records counts from its end when first seen.
        """
        self._seen = {partition: seen for partition, seen in self._seen.items() if partition in ends}
        stuck = []
        for partition, end in ends.items():
            seen = self._seen.get(partition)
            reference = handled.get(partition, end if seen is None else seen.reference)
            if seen is None or reference != seen.reference or not seen.behind:
                self._seen[partition] = _Seen(reference, now_s, behind=end > reference)
            elif now_s - seen.since_s > self._patience_s:
                stuck.append(partition)
        return tuple(stuck)
