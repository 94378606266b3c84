"""The audit's checkpoints: signed when it has grown, kept on disk before they are said, and the witnesses' cosignatures collected.

Driven by audit.writer.
Never signs two histories: what was signed last lies beside the ledger, and a ledger that does not go on from it is not opened."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

import structlog

from audit.checkpoints import Checkpoint, parsed, signed
from audit.frames import TamperedError
from audit.history import History, origin_of
from audit.ledger import Ledger, read_entries
from audit.merkle import Frontier, consistency_proof, root_of
from federation.errors import PeerFault
from federation.messages import CheckpointSigned, ConsistencyShown, PartyRole
from streams.codec import DecodeError, decode, encode
from streams.courier import key_of
from streams.identity import KEEP_UP_S, Identity
from streams.parties import Parties
from streams.ports import Clock, Log, LogReader, LogUnavailable, Outgoing, Position, Record
from streams.signed import seal_record
from streams.telemetry import CHECKPOINT_COSIGNATURES, CHECKPOINT_SIZE
from streams.topology import CHECKPOINTS

_SIGNED: Final = "checkpoint.avro"
_COSIGNED: Final = "cosigned.note"
_BATCH: Final = 500
_LOOK_MS: Final = 200
_PROOFS_MAX: Final = 32
_log: Final = structlog.get_logger(__name__)


def last_signed(ledger_dir: Path) -> tuple[CheckpointSigned, Checkpoint] | None:
    """What was signed last for the ledger in a directory; None if nothing was."""
    path = ledger_dir / _SIGNED
    if not path.exists():
        return None
    try:
        said = decode(path.read_bytes(), (CheckpointSigned,), CHECKPOINTS.bytes_max)
    except DecodeError as error:
        raise TamperedError(0, f"{path} is not the checkpoint that was written: {error}") from error
    if not isinstance(said, CheckpointSigned):
        raise TamperedError(0, f"{path} is not a checkpoint")
    return said, parsed(said.note)[0]


def cosigned_note(ledger_dir: Path) -> str | None:
    """The checkpoint with the most cosignatures, as a note; None before the first."""
    path = ledger_dir / _COSIGNED
    return path.read_text() if path.exists() else None


def open_ledger(directory: Path) -> Ledger:
    """The ledger, if it goes on from the checkpoint that was signed last. Errors as `Ledger.open`."""
    last = last_signed(directory)
    ledger = Ledger.open(directory, covered=0 if last is None else last[1].size)
    if last is not None and root_of(last[1].size, ledger.node) != last[1].root:
        ledger.close()
        raise TamperedError(last[1].size - 1, "it or one before it is not what a signed checkpoint covers; run `riverbank audit verify`")
    return ledger


def verified_ledger(directory: Path) -> tuple[int, bytes, int]:
    """(entries, root, entries that the checkpoint signed last covers) of the whole ledger, every hash, link and the checkpoint checked.

    TamperedError names the first entry that is wrong; where the checkpoint alone differs, the last one that it covers.
    """
    last = last_signed(directory)
    frontier, covered = Frontier(), 0 if last is None else last[1].size
    for entry in read_entries(directory):
        frontier.add(entry.leaf)
        if last is not None and frontier.size == covered and frontier.root() != last[1].root:
            raise TamperedError(covered - 1, "it or one before it is not what the signed checkpoint covers")
    if frontier.size < covered:
        raise TamperedError(
            frontier.size, f"it and what follows, up to entry {covered - 1}, are missing, and a signed checkpoint covers them"
        )
    return frontier.size, frontier.root(), covered


class Checkpoints:
    """Signs one ledger's checkpoints. `every_ms`: at most so often."""

    def __init__(self, directory: Path, log: Log, parties: Parties, identity: Identity, *, clock: Clock, every_ms: int) -> None:
        self._directory: Final = directory
        self._log: Final = log
        self._parties: Final = parties
        self._identity: Final = identity
        self._clock: Final = clock
        self._every_ms: Final = every_ms
        self._federation: Final = parties.directory.federation
        last = last_signed(directory)
        self._last: CheckpointSigned | None = None if last is None else last[0]
        self._size = 0 if last is None else last[1].size
        self._said = last is None  # Whether the log has what was signed last.
        self.history: Final = History(self._federation, parties.verify_keys)
        """What was signed and cosigned."""

    # --- signing: in the writer's own loop, where nothing is appended meanwhile ----------------------------------------
    async def sign_if_due(self, ledger: Ledger) -> None:
        """Sign if the ledger has grown and the last one is old enough. Raises as the log; then it is said at the next call."""
        if not self._said:
            await self._say()
        if self._last is None or self._clock.now_ms() >= self._last.at_ms + self._every_ms:
            await self.sign(ledger)

    async def sign(self, ledger: Ledger) -> None:
        """Sign the ledger as it is, unless it is as it was. Raises as the log."""
        if not ledger.size or ledger.size == self._size:
            return
        origin = origin_of(self._federation, self._identity.party)
        checkpoint = Checkpoint(origin, ledger.size, ledger.root())
        note = signed(checkpoint, verify_key=self._identity.verify_key, sign=self._identity.sign)
        since = sorted({size for size in (self._size, *self.history.cosigned_sizes.values()) if 0 < size <= ledger.size}, reverse=True)
        proofs = [
            ConsistencyShown(size=size, path=tuple(consistency_proof(size, ledger.size, ledger.node))) for size in since[:_PROOFS_MAX]
        ]
        self._last = CheckpointSigned(
            origin=origin, actor=self._identity.party, at_ms=self._clock.now_ms(), note=note, proofs=tuple(proofs)
        )
        _write(self._directory / _SIGNED, encode(self._last))
        self._size, self._said = ledger.size, False
        await self._say()

    async def _say(self) -> None:
        if self._last is not None:
            value = seal_record(
                self._last, sender=self._identity.party, sign=self._identity.sign, federation=self._federation, topic=CHECKPOINTS
            )
            await self._log.append([Outgoing(CHECKPOINTS.full_name(), 0, key_of(CHECKPOINTS, self._last), value)])
            CHECKPOINT_SIZE.set(self._size)
        self._said = True

    # --- collecting: a task of its own ---------------------------------------------------------------------------------
    async def collect(self, stop: asyncio.Event) -> None:
        """Follow the topic until `stop`. A log that is away is waited for."""
        while not stop.is_set():
            try:
                await self._identity.keep_up()
                reader = await self._log.reader([Position(CHECKPOINTS.full_name(), 0, 0)])
                try:
                    await self._follow(reader, stop)
                finally:
                    await reader.close()
            except LogUnavailable as error:
                _log.warning("cosignatures cannot be read", error=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), KEEP_UP_S)

    async def _follow(self, reader: LogReader, stop: asyncio.Event) -> None:
        keep_up_at_ms = 0
        while not stop.is_set():
            if self._clock.now_ms() >= keep_up_at_ms:
                await self._identity.keep_up()
                keep_up_at_ms = self._clock.now_ms() + int(KEEP_UP_S * 1000)
            records = await reader.poll(_BATCH, _LOOK_MS)
            for record in records:
                await self._take(record)
            best = self.history.best
            if records and best is not None:
                await asyncio.to_thread(_write, self._directory / _COSIGNED, best.cosigned_note.encode())
                CHECKPOINT_COSIGNATURES.set(len(best.cosigned))

    async def _take(self, record: Record) -> None:
        if record.value is None:
            return
        try:
            opened = await self._parties.open(record, CHECKPOINTS)
            self._parties.require_role(opened.sender, role_of(opened.message))
            self.history.apply(opened.message)
        except (DecodeError, PeerFault) as fault:
            _log.warning("not a word on a checkpoint", offset=record.offset, reason=str(fault))


def role_of(said: object) -> PartyRole:
    """Who may say this on checkpoints.v1."""
    return PartyRole.AUDIT if isinstance(said, CheckpointSigned) else PartyRole.INSTITUTION


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and on the disk when this returns."""
    draft = path.with_name(f"{path.name}.new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
