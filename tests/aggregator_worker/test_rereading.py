"""Reading again: ranges and windows, also where retention has been at work."""

import pytest

from aggregator_worker.rereading import WINDOW, ends_of, read_range, windows_backwards
from streams.memory import MemoryLog
from streams.ports import Outgoing


async def log_of(count: int) -> MemoryLog:
    log = MemoryLog({"t": 2})
    await log.append([Outgoing("t", 1, None, str(number).encode()) for number in range(count)])
    return log


async def offsets(log: MemoryLog, start: int, end: int) -> list[int]:
    return [record.offset async for batch in read_range(log, "t", 1, start, end, wait_ms=10) for record in batch]


async def test_a_range_is_read_in_order_and_no_further():
    """Exactly the records asked for, although more lie behind them."""
    assert await offsets(await log_of(2000), 3, 1700) == list(range(3, 1700))
    assert await offsets(await log_of(5), 3, 3) == []


async def test_what_retention_took_is_skipped():
    """A range of which the beginning, or everything, is gone ends all the same."""
    log = await log_of(20)
    log.truncate("t", 1, 15)
    assert await offsets(log, 3, 18) == [15, 16, 17]
    log.truncate("t", 1, 20)
    assert await offsets(log, 3, 18) == []


@pytest.mark.parametrize("count", [0, 1, WINDOW, WINDOW + 1, 5 * WINDOW])
async def test_windows_cover_everything_once(count: int):
    """Newest window first, each in order, nothing twice."""
    log = await log_of(count)
    windows = [[record.offset for record in window] async for window in windows_backwards(log, "t", 1, count)]

    assert [offset for window in reversed(windows) for offset in window] == list(range(count))


async def test_windows_stop_at_the_log_s_start():
    """Where retention has begun to delete, the windows end."""
    log = await log_of(300)
    log.truncate("t", 1, 100)
    windows = [[record.offset for record in window] async for window in windows_backwards(log, "t", 1, 300, wait_ms=10)]

    assert sorted(offset for window in windows for offset in window) == list(range(100, 300))


async def test_ends_of_nothing_asks_nobody():
    """A worker without partitions does not open a reader."""
    assert await ends_of(await log_of(0), []) == {}
