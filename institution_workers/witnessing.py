"""The institution as a witness of the audit: it cosigns checkpoints that go on from all it cosigned before, and says so where one does not.

Stepped by `worker`; what it knows is in the institution's state, so a restart forgets nothing.
Never cosigns two histories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from audit.checkpoints import Checkpoint, cosigned
from audit.history import checkpoint_in
from audit.witness import Opinion, opinion_of
from federation import messages as m
from federation.errors import PeerFault
from institution_workers.storage import Store
from streams.codec import DecodeError
from streams.courier import Courier, key_of
from streams.identity import Identity
from streams.parties import Parties
from streams.ports import Clock, Log, LogReader, Outgoing, Position, Record
from streams.signed import seal_record
from streams.telemetry import FAULTS
from streams.topology import CHECKPOINTS

_BATCH: Final = 100
_LOG: Final = structlog.get_logger()


class Witnessing:
    """One institution's witness of one federation's audit."""

    def __init__(
        self, log: Log, store: Store, parties: Parties, identity: Identity, courier: Courier, *, clock: Clock,
        reach: Callable[[str], None] = lambda _point: None,
    ) -> None:  # fmt: skip
        """`reach` is told each labelled point, so that tests can crash there."""
        self._log: Final = log
        self._store: Final = store
        self._parties: Final = parties
        self._identity: Final = identity
        self._courier: Final = courier
        self._clock: Final = clock
        self._reach: Final = reach
        self._reader: LogReader | None = None
        self._complained = ""  # Of what; said once, not for every checkpoint that follows.

    async def open(self) -> None:
        """Begin at the record after the last one dealt with."""
        self._reader = await self._opened()

    async def step(self, wait_ms: int) -> int:
        """Deal with what has come; how many records that were. Raises as the log."""
        self._reader = self._reader or await self._opened()
        records = await self._reader.poll(_BATCH, wait_ms)
        for record in records:
            await self._take(record)
        if records:
            with self._store.turn():
                self._store.set_offset(CHECKPOINTS.full_name(), 0, records[-1].offset + 1)
        return len(records)

    async def close(self) -> None:
        """Free the connection; `step` takes it up again."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def _opened(self) -> LogReader:
        topic = CHECKPOINTS.full_name()
        return await self._log.reader([Position(topic, 0, self._store.next_offset(topic, 0))])

    async def _take(self, record: Record) -> None:
        try:
            if record.value is None:
                return
            opened = await self._parties.open(record, CHECKPOINTS)
            if not isinstance(opened.message, m.CheckpointSigned):
                return  # Another witness's word.
            self._parties.require_role(opened.sender, m.PartyRole.AUDIT)
            shown = checkpoint_in(opened.message, self._parties.directory.federation, self._parties.verify_keys)
        except (DecodeError, PeerFault) as fault:
            FAULTS.labels(kind=fault.kind if isinstance(fault, PeerFault) else fault.reason.value).inc()
            _LOG.warning("not a checkpoint", offset=record.offset, reason=str(fault))
            return
        known = self._store.witnessed(shown.origin)
        opinion = opinion_of(known, shown, {proof.size: proof.path for proof in opened.message.proofs})
        if opinion is Opinion.COSIGN:
            await self._cosign(shown)
        elif opinion.refuses and known is not None:
            await self._refuse(opened.message, opinion, known)
        else:
            _LOG.info("a checkpoint without a proof from the one cosigned last", size=shown.size)

    async def _cosign(self, shown: Checkpoint) -> None:
        # Known first, said afterwards: a crash in between has the same checkpoint cosigned again, never another one of its size.
        with self._store.turn():
            self._store.set_witnessed(shown)
        self._reach("witnessed")
        witness, at_s = self._identity.party, self._clock.now_ms() // 1000
        line = cosigned(shown, witness=witness, verify_key=self._identity.verify_key, at_s=at_s, sign=self._identity.sign)
        await self._say(m.CheckpointCosigned(origin=shown.origin, actor=witness, size=shown.size, root=shown.root, line=line))
        self._complained = ""

    async def _refuse(self, said: m.CheckpointSigned, opinion: Opinion, known: Checkpoint) -> None:
        if self._complained == opinion.value:
            return
        detail = f"a checkpoint that does not go on from entry {known.size - 1}, which it signed before"
        _LOG.error("the audit shows another history", kind=opinion.value, known_size=known.size, note=said.note)
        FAULTS.labels(kind=opinion.value).inc()
        at_ms = self._clock.now_ms()
        await self._say(
            m.CheckpointRefused(
                origin=said.origin, actor=self._identity.party, at_ms=at_ms, kind=opinion.value, note=said.note,
                known_size=known.size, known_root=known.root,
            )
        )  # fmt: skip
        await self._courier.send(self._courier.prepare_fault(opinion.value, said.actor, detail, None, at_ms))
        self._complained = opinion.value

    async def _say(self, message: m.CheckpointCosigned | m.CheckpointRefused) -> None:
        """Without an entry in the audit: one for each cosignature would make it grow for being cosigned."""
        federation = self._parties.directory.federation
        value = seal_record(message, sender=self._identity.party, sign=self._identity.sign, federation=federation, topic=CHECKPOINTS)
        await self._log.append([Outgoing(CHECKPOINTS.full_name(), 0, key_of(CHECKPOINTS, message), value)])
