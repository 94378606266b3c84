"""Who is certified: only the pinned CA's word counts, and its newest word at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aggregator_worker.parties import Parties as KnownParties
from federation import messages as m
from federation.errors import PeerFault
from streams.codec import encode
from streams.memory import MemoryLog
from streams.ports import Outgoing, Record
from streams.topology import FEDERATION_TOPICS, PARTIES, STATUS, partitions_of
from tests.aggregator_worker.cast import Parties, cancelled


async def known(log: MemoryLog, parties: Parties) -> KnownParties:
    made = KnownParties(log, federation=parties.federation, ca_verify_key=parties.ca_verify_key)
    await made.catch_up()
    return made


async def appended(log: MemoryLog, *certified: m.PartyCertified) -> None:
    await log.append([Outgoing(PARTIES.full_name(), 0, each.party.encode(), encode(each)) for each in certified])


async def test_what_the_ca_has_not_signed_is_not_believed():
    """A key put in another's place, a tombstone and noise change nothing."""
    log, parties = MemoryLog(partitions_of(FEDERATION_TOPICS)), Parties("f", "ab")
    await parties.publish(log)
    forged = replace(parties.registry.party("a"), verify_key=parties.registry.party("b").verify_key)
    await appended(log, forged)
    await log.append([Outgoing(PARTIES.full_name(), 0, b"a", None), Outgoing(PARTIES.full_name(), 0, b"a", b"noise")])

    assert (await known(log, parties)).registry.parties == parties.registry.parties


async def test_a_renewed_key_counts_soon():
    """A certificate that comes while we run is followed."""
    log, before, after = MemoryLog(partitions_of(FEDERATION_TOPICS)), Parties("f", "ab"), Parties("f", "ab")
    await before.publish(log)
    following = await known(log, before)
    task = asyncio.create_task(following.follow())
    await appended(log, after.registry.party("a"))
    for _ in range(300):
        if following.registry.party("a") == after.registry.party("a"):
            break
        await asyncio.sleep(0.01)
    await cancelled(task)

    assert following.registry.party("a") == after.registry.party("a")
    assert following.registry.party("b") == before.registry.party("b")


async def test_a_role_is_what_the_ca_says():
    """An institution is not the aggregator, nor the other way round."""
    log, parties = MemoryLog(partitions_of(FEDERATION_TOPICS)), Parties("f", "ab")
    await parties.publish(log)
    registry = await known(log, parties)
    registry.require_role("a", m.PartyRole.INSTITUTION)
    registry.require_role("aggregator", m.PartyRole.AGGREGATOR)

    with pytest.raises(PeerFault, match="wrong_role by a"):
        registry.require_role("a", m.PartyRole.AGGREGATOR)
    with pytest.raises(PeerFault, match="wrong_role by aggregator"):
        registry.require_role("aggregator", m.PartyRole.INSTITUTION)


async def test_a_stranger_stays_one():
    """A sender whom the log does not know after a second look is refused."""
    log, parties, others = MemoryLog(partitions_of(FEDERATION_TOPICS)), Parties("f", "ab"), Parties("f", "z")
    await parties.publish(log)
    status = m.InstitutionStatus(
        institution="z", head=m.HeadName.CREDIT, at_ms=0, round=0, model_version=0, events_read=0, events_learned=0, dead_letters=0,
        waiting_for_label=0, lag_records=0, lag_ms=0, scored=0, quality_federated=-1.0, quality_local=-1.0, bytes_sent=0, updates_clipped=0,
    )  # fmt: skip
    value = others.courier(log, "z").prepare([status], 0)[0].value

    with pytest.raises(PeerFault, match="unknown_sender by z"):
        await (await known(log, parties)).open(Record(STATUS.full_name(), 0, 0, None, value, 0), STATUS)
