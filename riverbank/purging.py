"""After an erasure: what the brokers still hold of the customer goes at once, instead of when its retention ends; and a look whether it has.

Called by `riverbank rights purge`, with the certificate of whoever may change the cluster.
Never deletes an event that the worker had not read when it certified the erasure. Run it while the portals run: of flagged events, it
deletes those before the erasure, which a portal turns into cases as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from federation.errors import OwnFault
from federation.messages import ErasureCertified
from streams.access import Principal
from streams.kafka import KafkaLog
from streams.kafka_admin import KafkaAdmin
from streams.ports import Log, Outgoing, Position, Record
from streams.settings import ClusterSettings
from streams.tls import open_tls
from streams.topology import CONSENTS, FLAGS, OWN_TOPICS, PROFILES, Role, Topic

_COMPACTED: Final = (CONSENTS, PROFILES)
_SWEEP_KEY: Final = b""  # Of the tombstone that lets Kafka begin a new segment: nobody's.
_PAUSE_S: Final = 0.5
_PATIENCE_S: Final = 3.0
_BATCH: Final = 2_000
_WAIT_MS: Final = 200


async def purge(settings: ClusterSettings, certified: ErasureCertified, customer: str, *, wait_s: float) -> list[str]:
    """Delete what was read and is deleted by age, compact what is compacted; the topics in which the customer can still be read, which should be none.

    OwnFault: the institution's topics do not lie on this cluster. LogRefused and LogUnavailable as the broker says.
    """
    institution = certified.institution
    if institution not in settings.institutions:
        raise OwnFault(f"the topics of {institution} do not lie on this cluster: take the settings of the one where they do")
    compacted = [topic.full_name(institution) for topic in _COMPACTED]
    operator = Principal(settings.operator, Role.OPERATOR)
    log = KafkaLog(settings.bootstrap, client_id=f"{operator.name}-purge", tls=open_tls(settings.tls, operator))
    try:
        async with KafkaAdmin.connected(settings.bootstrap, open_tls(settings.tls, operator)) as admin:
            read = {(to.topic, to.partition): to.offset for to in certified.read_to if to.topic not in compacted}
            flags = FLAGS.full_name(institution)
            await admin.delete_before(read | {(flags, 0): await _after_tombstone(log, flags, customer)})
            async with admin.compacting(compacted):
                await _compacted(log, compacted, customer, time.monotonic() + wait_s)
        return await readable_in(log, [(topic, institution) for topic in OWN_TOPICS], customer)
    finally:
        await log.close()


async def _after_tombstone(log: Log, topic: str, customer: str) -> int:
    """The offset behind the worker's last word about the customer, at which a running portal has erased his cases; 0 if there is none."""
    tombstones = [record.offset + 1 async for record in _records(log, topic, 1) if record.value is None and record.key == customer.encode()]
    return max(tombstones, default=0)


async def _compacted(log: Log, topics: Sequence[str], customer: str, until_s: float) -> None:
    """Append until Kafka's cleaner has taken the customer out, or time is up."""
    while time.monotonic() < until_s:
        await log.append([Outgoing(topic, 0, _SWEEP_KEY, None) for topic in topics])
        await asyncio.sleep(_PAUSE_S)
        if not [topic for topic in topics if await _holds(log, topic, 1, customer.encode())]:
            return


async def readable_in(log: Log, topics: Sequence[tuple[Topic, str]], customer: str) -> list[str]:
    """The topics of which some record has the customer's name in its key or its value."""
    names = {topic.full_name(institution): topic.partitions for topic, institution in topics}
    held = await asyncio.gather(*(_holds(log, name, partitions, customer.encode()) for name, partitions in names.items()))
    return [name for name, holds in zip(names, held, strict=True) if holds]


async def _holds(log: Log, topic: str, partitions: int, name: bytes) -> bool:
    async with aclosing(_records(log, topic, partitions)) as records:
        async for record in records:
            if _names(record, name):
                return True
    return False


async def _records(log: Log, topic: str, partitions: int) -> AsyncGenerator[Record, None]:
    """Everything in a topic, to its end as it is now."""
    reader = await log.reader([Position(topic, partition, 0) for partition in range(partitions)])
    try:
        ends = await reader.end_offsets()
        at, came_s = dict.fromkeys(ends, 0), time.monotonic()
        # Where nothing comes for so long, compaction or deletion took what was before the end.
        while any(at[place] < end for place, end in ends.items()) and time.monotonic() - came_s < _PATIENCE_S:
            for record in await reader.poll(_BATCH, _WAIT_MS):
                came_s = time.monotonic()
                at[record.topic, record.partition] = record.offset + 1
                yield record
    finally:
        await reader.close()


def _names(record: Record, name: bytes) -> bool:
    return name in (record.key or b"") or name in (record.value or b"")
