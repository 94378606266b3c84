"""What the aggregator's agents share: the log, who is certified, the courier, the clock; opening, saying and refusing.

Called by `head_shell`, `chunk_owner` and `wiring`.
Never decides what is said: it signs, sends and counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from federation.errors import PeerFault
from federation.ids import RoundId
from federation.messages import Message, PartyRole
from streams.codec import DecodeError
from streams.courier import Courier
from streams.identity import Identity
from streams.parties import Parties
from streams.ports import Clock, Log, Record
from streams.signed import Opened
from streams.telemetry import FAULTS
from streams.topology import ROUNDS, Topic

_log: Final = structlog.get_logger(__name__)


class SystemClock:
    """The machine's wall clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Office:
    """The surroundings of one aggregator process."""

    log: Log
    parties: Parties
    identity: Identity
    courier: Courier
    clock: Clock

    async def say(self, messages: Sequence[Message]) -> None:
        """Sign these and append them with their audit entries, as one batch; raises as `Log.append`."""
        await self.courier.send(self.courier.prepare(messages, self.clock.now_ms()))

    async def open(self, record: Record, topic: Topic, role: PartyRole | None = None) -> Opened | None:
        """The message in a record; None if it was refused, which is then counted and audited.

        `role`: who alone may say it; None where the protocol's core decides that.
        """
        try:
            opened = await self.parties.open(record, topic, in_lane=topic is ROUNDS)
            if role is not None:
                self.parties.require_role(opened.sender, role)
        except PeerFault as fault:
            await self.report(fault)
        except DecodeError as error:
            await self.refuse(record, error)
        else:
            return opened
        return None

    async def report(self, fault: PeerFault, round_id: RoundId | None = None) -> None:
        """Count, log and audit a fault."""
        FAULTS.labels(kind=fault.kind).inc()
        _log.warning("refused", kind=fault.kind, accused=fault.accused, detail=fault.detail, round=str(round_id or ""))
        entry = self.courier.prepare_fault(fault.kind, fault.accused, fault.detail, round_id, self.clock.now_ms())
        await self.courier.send(entry)

    async def refuse(self, record: Record, error: DecodeError) -> None:
        """As `report`, for bytes that nobody can be accused of."""
        where = f"{record.topic}/{record.partition} at {record.offset}"
        await self.report(PeerFault(error.reason.value, f"{where}: {error.detail}", accused=""))
