"""ClickHouse as the index of the ledger: rows follow the entries, and can all be made again.

Driven by audit.writer, and by `riverbank audit rebuild`.
Never ahead of the ledger for long, and never the truth."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import structlog

from audit.entries import ACTION_COLUMNS, ENTRY_COLUMNS, REFUSED_COLUMNS, row_of
from audit.ledger import Entry, Ledger, verified_root
from audit.warehouse import Warehouse
from streams.telemetry import AUDIT_SECONDS

_log = structlog.get_logger(__name__)
_COLUMNS: Final = {"entries": ENTRY_COLUMNS, "actions": ACTION_COLUMNS, "refused": REFUSED_COLUMNS}
_BATCH: Final = 10_000


class Index:
    """What ClickHouse holds of one ledger."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    async def add(self, entries: Sequence[Entry]) -> None:
        """Index consecutive entries. WarehouseError: not all of them may be there; `catch_up` puts that right."""
        started = time.monotonic()
        rows = [row_of(entry) for entry in entries]
        for table, columns in _COLUMNS.items():
            await self._warehouse.insert(table, columns, [row.values for row in rows if row.table == table])
        # Last: what fails before this line is indexed again, and the rows replace themselves.
        await self._warehouse.insert("indexed", ("next_sequence", "last_leaf"), [(entries[-1].sequence + 1, entries[-1].leaf)])
        AUDIT_SECONDS.observe(time.monotonic() - started)

    async def catch_up(self, ledger: Ledger) -> int:
        """Index what the ledger holds and the index does not; how many entries it has then. WarehouseError; TamperedError."""
        (indexed,) = await self._warehouse.rows(
            "SELECT max(i.next_sequence) AS next_sequence, lower(hex(argMax(i.last_leaf, i.next_sequence))) AS last_leaf FROM indexed AS i"
        )
        start = int(indexed["next_sequence"])
        if start > ledger.size or (start and ledger.node(0, start - 1).hex() != indexed["last_leaf"]):
            _log.warning("the index is of another ledger, or of entries that were lost: it is made again", entries=start)
            start = await self.clear()
        for batch in _batches(ledger.read(start)):
            await self.add(batch)
            start = batch[-1].sequence + 1
        return start

    async def clear(self) -> int:
        """Forget everything; the sequence to begin with, 0."""
        for table in (*_COLUMNS, "indexed"):
            await self._warehouse.command(f"TRUNCATE TABLE {table}")
        return 0


async def rebuild(ledger_dir: Path, dsn: str, password: str) -> tuple[int, bytes]:
    """Forget the index and make it again, after checking the whole ledger; (entries, root).

    LedgerError, WarehouseError: in use, by a running audit writer most likely. TamperedError: nothing was changed.
    """
    ledger = Ledger.open(ledger_dir)
    try:
        checked = verified_root(ledger_dir)
        warehouse = await Warehouse.open(dsn, password)
        try:
            index = Index(warehouse)
            await index.clear()
            await index.catch_up(ledger)
        finally:
            await warehouse.close()
        return checked
    finally:
        ledger.close()


def _batches(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    iterator = iter(entries)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch
