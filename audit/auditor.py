"""How an institution's own processes write to its audit: one call, which returns once the entry is on the audit writer's disk.

Held by the portal, by the institution's worker and by commands; entered as a context.
Never says that an entry is safe before the writer has synced it: while the audit is down, whoever must not act unrecorded does not act."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import structlog

from audit.actions import action_of, problem_in
from federation.errors import OwnFault
from federation.messages import ActionKind, ActionRecorded, ActionsLogged
from streams.codec import DecodeError, decode, encode
from streams.courier import key_of
from streams.ports import Clock, Entropy, Log, LogReader, LogRefused, LogUnavailable, Outgoing, Position
from streams.topology import ACTIONS, ACTIONS_LOGGED

_WAIT_MS: Final = 1_000
_PAUSE_S: Final = 0.5
_KEY_BYTES: Final = 16
_BATCH: Final = 500
_PARTITION: Final = 0  # Both topics have one.
_log: Final = structlog.get_logger(__name__)


class AuditUnavailable(Exception):
    """The audit does not take entries now, so nothing may be done that has to stand in it; trying again later may help."""


class Auditor:
    """Writes one process's entries. `wait_s`: how long `record` waits for the writer's acknowledgement."""

    def __init__(self, log: Log, *, institution: str, process: str, clock: Clock, entropy: Entropy, wait_s: float = 5.0) -> None:
        """`log`: the institution's own; `process`: a name for this process, as in "portal"."""
        self._log: Final = log
        self._topic: Final = ACTIONS.full_name(institution)
        self._said: Final = ACTIONS_LOGGED.full_name(institution)
        self._process: Final = process
        self._clock: Final = clock
        self._entropy: Final = entropy
        self._wait_s: Final = wait_s
        self._safe = 0  # Offsets of the topic of actions below this are on the writer's disk.
        self._missed = -1  # The highest offset that somebody waited for in vain.
        self._moved: Final = asyncio.Condition()
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to listen to the writer."""
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def record(
        self, kind: ActionKind, action: str, *, actor: str, subject: str = "", detail: Mapping[str, str] | None = None, key: str = ""
    ) -> ActionRecorded:
        """Put an entry into the audit; when this returns it is on the writer's disk, and the action may be done.

        `subject`: the customer's pseudonym; `key`: the same key is the same entry, by default a new one. Call it before acting: an entry may
        then stand for an action that failed, never an action without an entry.
        AuditUnavailable: do not act. OwnFault: not an entry; the sentence says what is wrong with it.
        """
        if self._missed >= self._safe:
            raise AuditUnavailable("the audit has not acknowledged an earlier entry yet: nothing is changed until it has")
        entry, offset = await self._sent(kind, action, actor, subject, detail, key)
        try:
            async with asyncio.timeout(self._wait_s), self._moved:
                await self._moved.wait_for(lambda: self._safe > offset)
        except TimeoutError:
            self._missed = max(self._missed, offset)
            raise AuditUnavailable(f"the audit has not acknowledged the entry within {self._wait_s:g} seconds") from None
        return entry

    async def note(
        self, kind: ActionKind, action: str, *, actor: str, subject: str = "", detail: Mapping[str, str] | None = None, key: str = ""
    ) -> ActionRecorded:
        """As `record`, but returns once Kafka has the entry: for what has happened and cannot be refused any more."""
        return (await self._sent(kind, action, actor, subject, detail, key))[0]

    async def _sent(
        self, kind: ActionKind, action: str, actor: str, subject: str, detail: Mapping[str, str] | None, key: str
    ) -> tuple[ActionRecorded, int]:
        entry = action_of(
            kind, action, actor=actor, subject=subject, detail=detail or {}, key=key or self._entropy(_KEY_BYTES).hex(),
            process=self._process, at_ms=self._clock.now_ms(),
        )  # fmt: skip
        problem = problem_in(entry)
        if problem is not None:
            raise OwnFault(f"not an audit entry: {problem}")
        try:
            # Whoever does not hear the writer could not tell its acknowledgement.
            await asyncio.wait_for(self._listening.wait(), self._wait_s)
            (offset,) = await self._log.append([Outgoing(self._topic, _PARTITION, key_of(ACTIONS, entry), encode(entry))])
        except (LogRefused, LogUnavailable, TimeoutError) as error:
            raise AuditUnavailable(f"the institution's Kafka does not take audit entries: {error or 'no answer'}") from error
        return entry, offset

    async def _listen(self) -> None:
        while True:
            try:
                reader = await self._reader()
                try:
                    self._listening.set()
                    while True:
                        await self._heard(reader)
                finally:
                    await reader.close()
            except (LogUnavailable, LogRefused) as error:
                self._listening.clear()
                _log.warning("the audit's acknowledgements cannot be read", error=str(error))
                await asyncio.sleep(_PAUSE_S)

    async def _reader(self) -> LogReader:
        """From the newest acknowledgement on, which says how things stand."""
        probe = await self._log.reader([Position(self._said, _PARTITION, 0)])
        try:
            end = (await probe.end_offsets())[self._said, _PARTITION]
        finally:
            await probe.close()
        return await self._log.reader([Position(self._said, _PARTITION, max(0, end - 1))])

    async def _heard(self, reader: LogReader) -> None:
        for record in await reader.poll(_BATCH, _WAIT_MS):
            try:
                said = decode(record.value or b"", ACTIONS_LOGGED.carries, ACTIONS_LOGGED.bytes_max)
            except DecodeError as error:
                _log.warning("not an acknowledgement of the audit", offset=record.offset, reason=str(error))
                continue
            if isinstance(said, ActionsLogged):
                async with self._moved:
                    self._safe = max(self._safe, said.next_offset)
                    self._moved.notify_all()
