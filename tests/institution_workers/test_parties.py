"""Who is certified, as an institution's worker reads it."""

from __future__ import annotations

import hashlib

from federation.messages import PartyRole
from federation.secagg.certificates import PartyKeys, certify
from federation.secagg.keys import Secret, signing_public
from institution_workers.parties import Parties
from streams.codec import encode
from streams.memory import MemoryLog
from streams.ports import Outgoing
from streams.topology import FEDERATION_TOPICS, PARTIES, partitions_of

CA = Secret(b"\x05" * 32)


class SlowReader:
    """Silent for as long as its log is slow, though its end says that there is more."""

    def __init__(self, log, inner):
        self.log, self.end_offsets, self.close, self._poll = log, inner.end_offsets, inner.close, inner.poll

    async def poll(self, records_max, wait_ms):
        return () if self.log.slow else await self._poll(records_max, wait_ms)


class SlowLog(MemoryLog):
    """A broker that is under load."""

    slow = True

    async def reader(self, start):
        return SlowReader(self, await super().reader(start))


async def test_certificates_of_a_slow_broker_are_read_later():
    """What a broker did not deliver in time is not passed over: the aggregator is known as soon as the broker is well."""
    log = SlowLog(partitions_of(FEDERATION_TOPICS))
    keys = PartyKeys.from_entropy(lambda count: hashlib.shake_256(b"keys").digest(count))
    certified = certify(
        CA, federation="fed", party="aggregator", role=PartyRole.AGGREGATOR, verify_key=keys.verify_key, sealing_key=keys.sealing_key
    )
    await log.append([Outgoing(PARTIES.full_name(), 0, b"aggregator", encode(certified))])
    parties = Parties(log, federation="fed", ca_verify_key=signing_public(CA))
    assert not await parties.catch_up()
    log.slow = False
    assert await parties.catch_up()
    assert parties.aggregator() == certified
