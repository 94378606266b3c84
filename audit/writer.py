"""An audit writer: reads its source, judges every record, appends to the ledger, says that it is safe, signs it, and has ClickHouse follow.

Run as the audit process (`run`), one per federation and one per institution; started by the CLI and the demo.
Never skips a record: where to read on is in the ledger's last entry, and the index follows the ledger, however far behind it is."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from audit.desk import open_desk
from audit.entries import logged_of
from audit.index import Index
from audit.ledger import Ledger
from audit.queries import answer
from audit.signing import Checkpoints, open_ledger
from audit.sources import Actions, Exchanges, Source
from audit.warehouse import Warehouse, WarehouseError, embedded_directory
from streams.access import Principal, alone
from streams.codec import encode
from streams.identity import Identity, key_file
from streams.kafka import KafkaLog
from streams.ops import open_ops
from streams.parties import Parties
from streams.ports import Log, LogReader, LogUnavailable, Position, Record
from streams.settings import AuditProcess, read_private_file
from streams.telemetry import AUDIT_APPEND_SECONDS, AUDIT_ENTRIES, AUDIT_INDEX_LAG, DEGRADED
from streams.tls import open_tls
from streams.topology import Role

_LOOK_MS: Final = 200  # How long a stop may go unnoticed.
_OWN_WAIT_S: Final = 3.0  # Somebody who asks while no writer runs owns the directory for a moment.
_PAUSE_FIRST_S: Final = 0.5
_PAUSE_MAX_S: Final = 10.0

_log = structlog.get_logger(__name__)


class Writer:
    """Moves records from its source into the ledger, and from there into the warehouse, if there is one."""

    def __init__(
        self, log: Log, ledger: Ledger, index: Index | None, source: Source, checkpoints: Checkpoints | None = None, *,
        batch_records: int = 500, flush_ms: int = 500,
    ) -> None:  # fmt: skip
        self._log = log
        self._ledger = ledger
        self._index = index
        self._source = source
        self._checkpoints = checkpoints
        self._batch_records = batch_records
        self._flush_s = flush_ms / 1000
        self._grown = asyncio.Event()
        self._complete = False  # Nothing more will be written.
        self.written = 0
        """Entries appended to the ledger by this process, the refused included."""
        self.indexed = 0
        """Entries of the ledger that are in the index."""
        self.refused: Counter[str] = Counter()
        """Reason -> records refused by this process."""

    async def run(self, stop: asyncio.Event) -> None:
        """Write until `stop`; what was read by then is written, and indexed if ClickHouse answers. A log or warehouse that is away is waited for.

        LogRefused: the topic does not exist, or lost records that were read before. OSError: the ledger cannot be written.
        """
        try:
            async with asyncio.TaskGroup() as group:
                if self._index is not None:
                    group.create_task(self._keep_indexed(self._index, stop))
                if self._checkpoints is not None:
                    group.create_task(self._checkpoints.collect(stop))
                await self._keep_written(stop)
                await self._sign_at_last()
                self._complete = True
                self._grown.set()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures  # The first ended the others; the operator gets its sentence.

    async def _keep_written(self, stop: asyncio.Event) -> None:
        pause = _Pause()
        while not stop.is_set():
            before = self.written
            try:
                await self._follow(stop)
            except LogUnavailable as error:
                DEGRADED.labels(part="federation").set(1)
                await pause.after(error, stop, anew=self.written > before)

    async def _keep_indexed(self, index: Index, stop: asyncio.Event) -> None:
        """ClickHouse may be away for as long as it likes; the ledger goes on, and at the next start the index follows."""
        pause = _Pause()
        while True:
            complete, before = self._complete, self.indexed
            self._grown.clear()
            try:
                self.indexed = await index.catch_up(self._ledger)
                AUDIT_INDEX_LAG.set(self._ledger.size - self.indexed)
                DEGRADED.labels(part="clickhouse").set(0)
            except WarehouseError as error:
                DEGRADED.labels(part="clickhouse").set(1)
                AUDIT_INDEX_LAG.set(self._ledger.size - self.indexed)
                if stop.is_set():
                    _log.warning("the index stays behind the ledger", error=str(error), entries=self._ledger.size - self.indexed)
                    return
                await pause.after(error, stop, anew=self.indexed > before)
                continue
            if complete:
                return
            await self._grown.wait()

    async def _follow(self, stop: asyncio.Event) -> None:
        """From behind the ledger's last entry on; whatever fails, nothing is lost by starting here again."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._source.close)
            reader = await self._log.reader([Position(self._source.topic, 0, self._next_offset())])
            stack.push_async_callback(reader.close)
            DEGRADED.labels(part="federation").set(0)
            await self._source.safe(self._next_offset(), self._ledger.size)
            while not stop.is_set():
                if records := await self._batch(reader, stop):
                    await self._write(records)
                if self._checkpoints is not None:
                    await self._checkpoints.sign_if_due(self._ledger)

    async def _sign_at_last(self) -> None:
        if self._checkpoints is not None:
            try:
                await self._checkpoints.sign(self._ledger)
            except LogUnavailable as error:
                _log.warning("the last checkpoint is said at the next start", error=str(error))

    def _next_offset(self) -> int:
        last = next(self._ledger.read(self._ledger.size - 1), None) if self._ledger.size else None
        return 0 if last is None else logged_of(last).offset + 1

    async def _batch(self, reader: LogReader, stop: asyncio.Event) -> list[Record]:
        """Records until there are enough of them, or the first has waited long enough, or a stop; none after a short while."""
        batch = list(await reader.poll(self._batch_records, _LOOK_MS))
        flush_at = time.monotonic() + self._flush_s
        while batch and len(batch) < self._batch_records and not stop.is_set():
            left_ms = int((flush_at - time.monotonic()) * 1000)
            if left_ms <= 0:
                break
            batch += await reader.poll(self._batch_records - len(batch), min(left_ms, _LOOK_MS))
        return batch

    async def _write(self, records: Sequence[Record]) -> None:
        logged = await self._source.judged(records)
        # In a thread: a sync may take as long as the disk likes, and whoever asks the desk should not wait for it.
        with AUDIT_APPEND_SECONDS.time():
            await asyncio.to_thread(self._ledger.append, [encode(each) for each in logged])
        self._grown.set()
        self.written += len(logged)
        AUDIT_ENTRIES.inc(len(logged))
        for each in logged:
            if each.reason:
                self.refused[each.reason] += 1
                _log.warning("audit record refused", topic=each.topic, offset=each.offset, reason=each.reason, accused=each.accused)

        await self._source.safe(logged[-1].offset + 1, self._ledger.size)


class _Pause:
    """Waits between attempts, longer each time until something is achieved again; a stop ends the wait."""

    def __init__(self) -> None:
        self._s = _PAUSE_FIRST_S

    async def after(self, error: Exception, stop: asyncio.Event, *, anew: bool) -> None:
        """Wait because of `error`; `anew`: something was achieved since the last time."""
        self._s = _PAUSE_FIRST_S if anew else min(2 * self._s, _PAUSE_MAX_S)
        _log.warning("the audit waits", error=str(error), pause_s=self._s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), self._s)


async def run(settings: AuditProcess) -> None:
    """The audit process, until SIGTERM or SIGINT.

    WarehouseError: ClickHouse cannot be used, or the embedded directory is in use. LedgerError, TamperedError: the ledger. LogUnavailable, LogRefused:
    Kafka does not answer or lacks the topic. SettingsError: the password file, or certificates that cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await serve(settings, log_of(settings), stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def log_of(settings: AuditProcess) -> KafkaLog:
    """The cluster that this audit reads, as itself."""
    audit, federation = settings.audit, settings.federation
    if audit.institution is not None and audit.bootstrap is not None:
        ourselves = Principal(audit.institution, Role.LEDGER)
        return KafkaLog(audit.bootstrap, client_id=ourselves.name, tls=open_tls(audit.tls, ourselves))
    ourselves = alone(Role.AUDIT)
    return KafkaLog(federation.bootstrap, client_id=ourselves.name, tls=open_tls(federation.tls, ourselves))


class _WallClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000


def _source_of(settings: AuditProcess, log: Log, ledger_dir: Path) -> tuple[Source, Checkpoints | None]:
    if settings.audit.institution is not None:
        return Actions(settings.audit.institution, log), None
    federation, party = settings.federation, settings.party
    parties = Parties(log, federation=federation.name, ca_verify_key=bytes.fromhex(federation.ca_verify_key))
    if party is None:
        return Exchanges(parties), None
    identity = Identity(party.name, parties, key_file(party))
    clock, every_ms = _WallClock(), settings.audit.checkpoint_ms
    return Exchanges(parties), Checkpoints(ledger_dir, log, parties, identity, clock=clock, every_ms=every_ms)


async def serve(settings: AuditProcess, log: Log, stop: asyncio.Event) -> None:
    """Write and answer until `stop`; closes `log`. Errors as `run`."""
    audit = settings.audit
    open_ops(settings.ops)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(log.close)
        index = None
        if audit.dsn is not None:
            warehouse = await Warehouse.open(audit.dsn, password_in(audit.password_file), wait_s=_OWN_WAIT_S)
            stack.push_async_callback(warehouse.close)
            index = Index(warehouse)
        ledger = open_ledger(audit.ledger_dir)
        stack.callback(ledger.close)
        source, checkpoints = _source_of(settings, log, audit.ledger_dir)
        await (await log.reader([Position(source.topic, 0, 0)])).close()  # A wrong address is said now, not waited for.
        directory = None if audit.dsn is None else embedded_directory(audit.dsn)
        if directory is not None:
            await stack.enter_async_context(open_desk(directory, partial(answer, warehouse)))
        writer = Writer(log, ledger, index, source, checkpoints, batch_records=audit.batch_records, flush_ms=audit.flush_ms)
        _log.info("audit writer ready", dsn=audit.dsn, entries=ledger.size)
        await writer.run(stop)
        _log.info("audit writer stopped", written=writer.written, refused=writer.refused.total())


def password_in(path: Path | None) -> str:
    """The password in a file that only its owner can read, without the line's end; empty without a file."""
    return "" if path is None else read_private_file(path).decode().rstrip("\r\n")
