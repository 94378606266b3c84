"""Records are prepared once, audited each, and may be sent again as they are."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from federation.errors import OwnFault
from federation.ids import Lane, RoundId, digest_of
from federation.messages import (
    AuditEntry,
    ChunkSummed,
    CustomerProfile,
    HeadName,
    InstitutionStatus,
    MaskedChunk,
    Message,
    ModelChunk,
    RoundOpened,
    ServingModel,
    SumRequested,
    SurvivorsAcked,
)
from streams.codec import encode, fingerprint
from streams.courier import Courier, entry_id, key_of, partition_of
from streams.memory import MemoryLog
from streams.ports import Outgoing
from streams.signed import Opened, open_record
from streams.telemetry import SENT_BYTES, SOFTWARE_VERSION
from streams.topology import (
    AUDIT,
    CHUNKS,
    FEDERATION_TOPICS,
    MODELS,
    PROFILES,
    ROUNDS,
    SERVING_MODELS,
    STATUS,
    SUM_REQUESTS,
    SUMS,
    Topic,
    chunk_partition,
    lane_partition,
    partitions_of,
)
from tests.streams.examples import example

ACK = replace(example(SurvivorsAcked), institution="bank-a", head=HeadName.FRAUD, group=2, epoch=3, round=17)


def sign(signed: bytes) -> bytes:
    return hashlib.blake2b(signed).digest()


def trust(sender: str, signed: bytes, signature: bytes) -> None:
    assert signature == sign(signed), sender


def courier(log: MemoryLog | None = None) -> Courier:
    return Courier(log or MemoryLog({}), federation="north", sender="bank-a", sign=sign)


def opened(record: Outgoing, topic: Topic) -> Opened:
    assert record.value is not None
    return open_record(record.value, topic=topic, federation="north", verify=trust)


def test_each_message_comes_with_its_audit_entry():
    """Records first, in order; then an entry each, which says what, where, how large, and under which schema."""
    status = replace(example(InstitutionStatus), institution="bank-a")

    ack, said, *entries = courier().prepare([ACK, status], at_ms=41)

    assert (ack.topic, ack.partition, ack.key) == ("rounds.v1", lane_partition(HeadName.FRAUD), b"fraud")
    assert opened(ack, ROUNDS).message == ACK
    assert opened(said, STATUS).message == status
    assert [entry.topic for entry in entries] == ["audit.v1", "audit.v1"]
    assert opened(entries[0], AUDIT).message == AuditEntry(
        entry_id=digest_of(b"rounds.v1\0" + (ack.value or b"")),
        at_ms=41,
        actor="bank-a",
        action="SurvivorsAcked",
        topic="rounds.v1",
        head="fraud/2",
        epoch=3,
        round=17,
        digest=digest_of(encode(ACK)),
        size_bytes=len(ack.value or b""),
        schema_fingerprint=fingerprint(SurvivorsAcked),
        software_version=SOFTWARE_VERSION,
        outcome="sent",
        accused="",
    )
    assert entries[0].key == entry_id("rounds.v1", ack.value or b"")


def test_preparing_twice_gives_the_same_bytes():
    """Nothing but the arguments goes into a record."""
    assert courier().prepare([ACK], at_ms=41) == courier().prepare([ACK], at_ms=41)


def test_a_fault_has_one_entry_however_often_it_is_seen():
    """Its id does not depend on when; another round's is another."""
    seen = RoundId(Lane(HeadName.CREDIT, 1), 2, 9)
    record = courier().prepare_fault("bad_signature", "bank-b", "does not verify", seen, at_ms=1)[0]
    later = courier().prepare_fault("bad_signature", "bank-b", "does not verify", seen, at_ms=2)[0]
    other = courier().prepare_fault("bad_signature", "bank-b", "does not verify", None, at_ms=2)[0]
    entry = opened(record, AUDIT).message

    assert isinstance(entry, AuditEntry)
    assert (entry.action, entry.accused, entry.outcome) == ("bad_signature", "bank-b", "does not verify")
    assert (entry.head, entry.epoch, entry.round) == ("credit/1", 2, 9)
    assert record.key == later.key != other.key


def test_we_do_not_speak_for_others():
    """Preparing fails, before anything is journaled."""
    with pytest.raises(OwnFault, match="in the name of bank-b"):
        courier().prepare([replace(ACK, institution="bank-b")], at_ms=1)


async def test_what_was_prepared_arrives():
    """On its topics, and counted."""
    log = MemoryLog(partitions_of(FEDERATION_TOPICS))
    before = SENT_BYTES.labels(topic="rounds.v1")._value.get()
    records = courier(log).prepare([ACK], at_ms=1)

    await courier(log).send(records)

    assert [record.value for record in log.records("rounds.v1", lane_partition(HeadName.FRAUD))] == [records[0].value]
    assert [record.value for record in log.records("audit.v1")] == [records[1].value]
    assert SENT_BYTES.labels(topic="rounds.v1")._value.get() - before == len(records[0].value or b"")


@pytest.mark.parametrize(
    ("topic", "message", "key", "partition"),
    [
        (ROUNDS, replace(example(RoundOpened), head=HeadName.PRODUCTS), b"products", lane_partition(HeadName.PRODUCTS)),
        (SUMS, replace(example(ChunkSummed), head=HeadName.FRAUD), b"fraud", lane_partition(HeadName.FRAUD)),
        (MODELS, replace(example(ModelChunk), head=HeadName.CREDIT), b"credit", lane_partition(HeadName.CREDIT)),
        (CHUNKS, replace(example(MaskedChunk), head=HeadName.FRAUD, chunk=2), b"fraud/2", chunk_partition(HeadName.FRAUD, 2)),
        (SUM_REQUESTS, replace(example(SumRequested), head=HeadName.FRAUD, chunk=2), b"fraud/2", chunk_partition(HeadName.FRAUD, 2)),
        (STATUS, replace(example(InstitutionStatus), institution="a", head=HeadName.FRAUD), b"a/fraud", 0),
        (AUDIT, replace(example(AuditEntry), entry_id=b"\xff" * 32), b"\xff" * 32, 0),
        (PROFILES, replace(example(CustomerProfile), customer="c é"), "c é".encode(), 0),
        (SERVING_MODELS, replace(example(ServingModel), head=HeadName.CREDIT), b"credit", 0),
    ],
)
def test_keys_and_partitions(topic: Topic, message: Message, key: bytes, partition: int):
    """As the topic's row says."""
    assert key_of(topic, message) == key
    assert partition_of(topic, message) == partition


def test_equal_keys_share_a_partition():
    """Also where a topic has many: a customer's events stay in order."""
    wide = replace(PROFILES, partitions=8)
    profiles = [replace(example(CustomerProfile), customer=f"c{number}") for number in range(50)]

    places = [partition_of(wide, profile) for profile in profiles]

    assert places == [partition_of(wide, replace(profile, updated_at_ms=1)) for profile in profiles]
    assert set(places) == set(range(8))
