"""Who is who, read from two topics that a broker may delay, repeat, forge and take back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from federation import messages as m
from federation.errors import PeerFault
from federation.members.keys import PartyKeys
from streams.codec import encode
from streams.memory import MemoryLog
from streams.parties import Parties
from streams.ports import Outgoing, Record
from streams.signed import seal_record
from streams.topology import FEDERATION_TOPICS, MEMBERS, PARTIES, STATUS, partitions_of
from tests.credentials import OPERATOR, Credentials, keys_of

STATUS_OF_A = m.InstitutionStatus(
    institution="a", head=m.HeadName.CREDIT, at_ms=0, round=0, model_version=0, events_read=0, events_learned=0, dead_letters=0,
    waiting_for_label=0, lag_records=0, lag_ms=0, scored=0, quality_federated=-1.0, quality_local=-1.0, bytes_sent=0, updates_clipped=0,
)  # fmt: skip


class SlowLog(MemoryLog):
    """A broker under load: silent for as long as it is slow, though its end says that there is more."""

    slow = False

    async def reader(self, start):
        await asyncio.sleep(0)  # As a real one, it lets others run meanwhile.
        reader, log = await super().reader(start), self

        class SlowReader:
            end_offsets, close = reader.end_offsets, reader.close

            async def poll(self, records_max, wait_ms):
                return () if log.slow else await reader.poll(records_max, wait_ms)

        return SlowReader()


class Kept:
    """A memory in a list."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def recall(self) -> list[Record]:
        return sorted(self.records, key=lambda record: record.topic == MEMBERS.full_name())

    def keep(self, record: Record) -> None:
        self.records.append(record)


def parties_of(log: MemoryLog, credentials: Credentials, memory: Kept | None = None) -> Parties:
    return Parties(log, federation=credentials.federation, ca_verify_key=credentials.ca_verify_key, memory=memory)


def status(keys: PartyKeys, at_ms: int = 0, sender: str = "a") -> Record:
    """A status of a's as it lies in the log, signed with these keys."""
    value = seal_record(replace(STATUS_OF_A, institution=sender), sender=sender, sign=keys.sign, federation="f", topic=STATUS)
    return Record(STATUS.full_name(), 0, 0, None, value, at_ms)


@pytest.fixture
def credentials() -> Credentials:
    return Credentials("f", "abc")


@pytest.fixture
async def log(credentials: Credentials) -> SlowLog:
    made = SlowLog(partitions_of(FEDERATION_TOPICS))
    await credentials.publish(made)
    return made


async def test_what_the_ca_has_not_signed_is_not_believed(credentials: Credentials, log: SlowLog):
    """A key put in another's place, a tombstone and noise change nothing."""
    forged = replace(credentials.certified[2], serial=2, verify_key=credentials.certified[3].verify_key)
    await credentials.certify(log, forged)
    await log.append([Outgoing(PARTIES.full_name(), 0, b"a/1", None), Outgoing(PARTIES.full_name(), 0, b"a/1", b"noise")])
    parties = parties_of(log, credentials)
    await parties.catch_up()

    assert parties.directory.certificates == credentials.directory.certificates
    assert parties.directory.standings == credentials.directory.standings


async def test_certificates_of_a_slow_broker_are_read_later(credentials: Credentials, log: SlowLog):
    """What a broker did not deliver in time is not passed over: everybody is known as soon as the broker is well."""
    log.slow = True
    parties = parties_of(log, credentials)
    assert not await parties.catch_up()
    log.slow = False
    assert await parties.catch_up()

    assert parties.directory.aggregator() == credentials.certified[0]


async def test_a_renewed_key_is_looked_for_when_a_signature_does_not_hold(credentials: Credentials, log: SlowLog):
    """Whoever speaks under a certificate that we have not read is heard at once; a key nobody certified is not."""
    parties = parties_of(log, credentials)
    await parties.catch_up()
    await credentials.certify(log, credentials.certificate("a", keys_of("newer"), serial=2))

    assert (await parties.open(status(keys_of("newer")), STATUS)).serial == 2
    with pytest.raises(PeerFault, match="bad_signature by a"):
        await parties.open(status(keys_of("never certified")), STATUS)


async def test_two_readers_catch_up_at_once(credentials: Credentials, log: SlowLog):
    """Whoever waits while another one reads the certificates opens his record with what that one has read."""
    parties = parties_of(log, credentials)
    opened = await asyncio.gather(*(parties.open(status(credentials.keys["a"]), STATUS) for _ in range(3)))

    assert [each.serial for each in opened] == [1, 1, 1]


async def test_a_stolen_old_key_is_dead_when_the_overlap_is_over(credentials: Credentials, log: SlowLog):
    """Under the older certificate a record counts if the log took it in time, however late it is read."""
    await credentials.certify(log, credentials.certificate("a", keys_of("newer"), serial=2, previous_until_ms=1_000))
    parties, old = parties_of(log, credentials), credentials.keys["a"]

    assert (await parties.open(status(old, at_ms=999), STATUS)).serial == 1
    with pytest.raises(PeerFault, match="stale_certificate by a: signed under certificate 1; a newer one had taken its place"):
        await parties.open(status(old, at_ms=1_000), STATUS)


async def test_an_expired_certificate_is_refused(credentials: Credentials, log: SlowLog):
    """From the moment on that it names."""
    await credentials.certify(log, credentials.certificate("d", keys_of("d"), expires_at_ms=500))
    parties = parties_of(log, credentials)

    assert await parties.open(status(keys_of("d"), at_ms=499, sender="d"), STATUS)
    with pytest.raises(PeerFault, match="stale_certificate by d: signed under certificate 1; it had expired"):
        await parties.open(status(keys_of("d"), at_ms=500, sender="d"), STATUS)


async def test_a_revoked_key_is_refused_from_then_on(credentials: Credentials, log: SlowLog):
    """What was said before stays readable; what is said afterwards is refused, whoever says it."""
    await credentials.enter(log, credentials.act("a", m.Standing.REVOKED, at_ms=700))
    parties, keys = parties_of(log, credentials), credentials.keys["a"]
    await parties.catch_up()

    assert await parties.open(status(keys, at_ms=699), STATUS)
    with pytest.raises(PeerFault, match="stale_certificate by a: signed under certificate 1; it was revoked"):
        await parties.open(status(keys, at_ms=700), STATUS)
    assert (await parties.open(status(keys, at_ms=700), STATUS, in_lane=True)).serial == 1  # A lane's log has its own order.


async def test_an_entry_waits_for_its_operators_certificate(credentials: Credentials):
    """Topics have no order among each other: an operator's word may be read before the operator is known."""
    log = SlowLog(partitions_of(FEDERATION_TOPICS))
    await credentials.enter(log, *credentials.entries)
    parties = parties_of(log, credentials)
    await parties.catch_up()
    assert not parties.directory.standings

    await credentials.certify(log, *credentials.certified)
    await parties.catch_up()
    assert set(parties.directory.standings) == set("abc")


async def test_only_an_operator_says_who_is_a_member(credentials: Credentials, log: SlowLog):
    """Neither an institution nor the aggregator verifies anybody, nor suspends."""
    entry = credentials.act("b", m.Standing.SUSPENDED)
    for name in ("a", "aggregator"):
        await log.append(credentials.courier(log, name).prepare([entry], 0)[:1])
    parties = parties_of(log, credentials)
    await parties.catch_up()
    assert parties.directory.standings["b"].standing is m.Standing.VERIFIED

    await credentials.enter(log, entry)
    await parties.catch_up()
    assert parties.directory.standings["b"].standing is m.Standing.SUSPENDED


async def test_a_broker_cannot_take_back_what_was_known(credentials: Credentials, log: SlowLog):
    """After a revocation a worker restarts on a log that has forgotten it: the worker has not."""
    memory = Kept()
    await credentials.enter(log, credentials.act("a", m.Standing.REVOKED, at_ms=1))
    await parties_of(log, credentials, memory).catch_up()

    earlier = SlowLog(partitions_of(FEDERATION_TOPICS))
    await credentials.publish(earlier)
    parties = parties_of(earlier, credentials, memory)
    await parties.catch_up()
    assert parties.directory.standings["a"].standing is m.Standing.REVOKED
    assert "a" not in parties.directory.acceptable(0, *m.PartyRole)


async def test_a_genuine_record_under_anothers_key_pushes_nothing_out(credentials: Credentials, log: SlowLog):
    """A memory keeps the newest record of each key, which nobody has signed: a broker must not hide a's revocation behind a word on b."""
    memory = Kept()
    await credentials.enter(log, credentials.act("a", m.Standing.REVOKED, at_ms=1))
    (said,) = credentials.courier(log, OPERATOR).prepare([credentials.act("b", m.Standing.SUSPENDED)], 0)[:1]
    await log.append([replace(said, key=b"a")])
    newer = credentials.certificate("b", keys_of("newer"), serial=2)
    await log.append([Outgoing(PARTIES.full_name(), 0, b"a/1", encode(newer))])
    parties = parties_of(log, credentials, memory)
    await parties.catch_up()

    assert parties.directory.standings["b"].standing is m.Standing.VERIFIED
    assert parties.directory.newest("b").serial == 1
    assert [record.offset for record in memory.records if record.key == b"a"] == [0, 1, 6]  # Invited, verified, revoked.


async def test_who_is_fit_to_be_dealt_with(credentials: Credentials, log: SlowLog):
    """A verified institution, and nobody else."""
    parties = parties_of(log, credentials)
    await parties.catch_up()
    assert parties.unfit("a", 0) is None
    assert parties.unfit(OPERATOR, 0) == "is an operator"
    assert parties.unfit("z", 0) == "is not certified by the federation"

    await credentials.enter(log, credentials.act("a", m.Standing.SUSPENDED))
    await parties.catch_up()
    assert parties.unfit("a", 0) == "is suspended"


async def test_a_role_is_what_the_ca_says(credentials: Credentials, log: SlowLog):
    """An institution is not the aggregator, nor the other way round."""
    parties = parties_of(log, credentials)
    await parties.catch_up()
    parties.require_role("a", m.PartyRole.INSTITUTION)

    with pytest.raises(PeerFault, match="wrong_role by a"):
        parties.require_role("a", m.PartyRole.AGGREGATOR)
    with pytest.raises(PeerFault, match="unknown_sender by z"):
        await parties.open(status(keys_of("z"), sender="z"), STATUS)


async def test_a_forged_entry_of_the_same_serial_is_refused(credentials: Credentials, log: SlowLog):
    """Two words of an operator about one party under one number: the first one counts."""
    first = credentials.entries[-1]
    forged = replace(first, standing=m.Standing.SUSPENDED)
    await log.append(
        [
            Outgoing(
                MEMBERS.full_name(), 0, b"c", encode(m.SignedRecord(sender=OPERATOR, payload=encode(forged), signature=bytes(64), body=b""))
            )
        ]
    )
    await credentials.enter(log, forged)
    parties = parties_of(log, credentials)
    await parties.catch_up()

    assert parties.directory.standings["c"] == first
