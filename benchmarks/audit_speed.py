"""The audit's speed: verifying a ledger, ingesting into the embedded ClickHouse, a filtered search over ten million entries; prints JSON.

Run by benchmarks/run.py, or as `python benchmarks/audit_speed.py [--entries 200000] [--rows 10000000]`.
Never measures less than the audit does: entries are signed records judged by the writer's code, and a search is the CLI's own."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from audit.entries import judged_exchange
from audit.index import Index
from audit.ledger import Ledger
from audit.queries import answer
from audit.signing import verified_ledger
from audit.warehouse import Warehouse
from federation import messages as m
from federation.ids import digest_of
from federation.members.keys import PartyKeys
from streams.codec import encode
from streams.ports import Record
from streams.signed import Opened, seal_record
from streams.topology import AUDIT

NOW_MS = time.time_ns() // 1_000_000
REPEATS = 5
# What a federation of 500 institutions and three heads says, spread over 400 days.
_FILL = """
    INSERT INTO entries
    SELECT fromUnixTimestamp64Milli(toInt64({now:Int64} - number * 3456)), fromUnixTimestamp64Milli(toInt64({now:Int64} - number * 3456)),
        concat('bank-', toString(number % 500)), ['MaskedUpdate', 'SurvivorsAcked', 'SharesRevealed', 'InstitutionStatus'][number % 4 + 1],
        'rounds.v1', ['credit', 'fraud', 'products'][number % 3 + 1], intDiv(number, 96000), intDiv(number, 1500),
        toFixedString(reverse(leftPad(toString(number), 32, '0')), 32), toFixedString(leftPad(toString(cityHash64(number)), 32, '0'), 32),
        1000 + number % 500, '0123456789abcdef', '0.1.0', 'sent', '', toFixedString(leftPad(toString(number), 32, '0'), 32), number, number
    FROM numbers({first:UInt64}, {count:UInt64})
"""


def contents(count: int) -> list[bytes]:
    """Ledger entries as the writer makes them, of signed audit entries."""
    keys, made = PartyKeys.from_entropy(lambda size: bytes(range(size))), []
    for number in range(count):
        said = m.AuditEntry(
            entry_id=digest_of(b"%d" % number), at_ms=NOW_MS + number, actor="north", action="MaskedUpdate", topic="rounds.v1", head="credit",
            epoch=1, round=number, digest=digest_of(b"payload %d" % number), size_bytes=100, schema_fingerprint="0123456789abcdef",
            software_version="0.1.0", outcome="sent", accused="",
        )  # fmt: skip
        value = seal_record(said, sender="north", sign=keys.sign, federation="bench", topic=AUDIT)
        opened = Opened("north", said, b"", 1)
        made.append(encode(judged_exchange(Record(AUDIT.full_name(), 0, number, b"", value, NOW_MS + number), lambda _, of=opened: of)))
    return made


def timed(work: Callable[[], object]) -> float:
    """Processor seconds of this thread."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


async def measured(entries: int, rows: int) -> dict[str, object]:
    """Everything, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        ledger, made = Ledger.open(directory / "ledger"), contents(entries)
        appending = timed(lambda: [ledger.append(made[at : at + 500]) for at in range(0, entries, 500)])
        verifying = min(timed(lambda: verified_ledger(directory / "ledger")) for _ in range(REPEATS))
        warehouse = await Warehouse.open(f"chdb://{directory / 'clickhouse'}")
        try:
            started, processor = time.perf_counter(), time.process_time()
            indexed = await Index(warehouse).catch_up(ledger)
            ingesting, ingesting_processor = time.perf_counter() - started, time.process_time() - processor
            step = 250_000
            for first in range(0, rows, step):
                values = {"now": NOW_MS, "first": first, "count": min(step, rows - first)}
                await warehouse.rows(_FILL, values)
            searches = {}
            for name, given in {
                "one head and round": {"head": "credit", "round": 4000},
                "one actor, newest first": {"actor": "bank-77"},
                "one entry by its id": {"entry": f"{4_000_000:032d}"[::-1].encode().hex()},
                "one actor and action in a week": {"actor": "bank-77", "action": "SharesRevealed", "from_ms": NOW_MS - 7 * 86_400_000},
            }.items():
                seconds, found = [], 0
                for _ in range(REPEATS):
                    started = time.perf_counter()
                    found = len(await answer(warehouse, "search", given))
                    seconds.append(time.perf_counter() - started)
                searches[name] = {"min": round(min(seconds), 3), "median": round(statistics.median(seconds), 3), "found": found}
            (total,) = await warehouse.rows("SELECT count() AS rows FROM entries")
        finally:
            await warehouse.close()
            ledger.close()
    return {
        "entries": indexed, "append_per_s": round(entries / appending), "verify_per_s": round(entries / verifying),
        "ingest_per_s": round(entries / ingesting), "ingest_per_processor_s": round(entries / ingesting_processor), "rows": total["rows"], "searches": searches,
    }  # fmt: skip


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    asked = parser.parse_args()
    print(json.dumps(asyncio.run(measured(asked.entries, asked.rows))))


if __name__ == "__main__":
    main()
