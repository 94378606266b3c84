from __future__ import annotations

import itertools
from collections import defaultdict
from functools import partial

import numpy as np
import pytest

from federation.errors import OwnFault
from federation.members.keys import KeyRing
from federation.messages import AuditEntry, MaskedChunk, ServingModel, SharesRevealed, SurvivorsAcked
from federation.rounds.head_transcript import PLAIN
from federation.secagg.sealing import SEAL_OVERHEAD_BYTES
from institution_workers import global_models, participation
from streams.codec import decode
from streams.courier import Courier
from streams.model_chunks import cut
from streams.ports import Outgoing
from streams.topology import AUDIT, CHUNKS, ROUNDS, Cluster, lane_partition
from tests.institution_workers.world import BANKS, FED, FRAUD, Crash, World

POINTS = ("stepped", "rounds written", "rounds saved", "sent")


@pytest.fixture
async def world(tmp_path, clock, encoders):
    made = World(tmp_path, clock, encoders)
    await made.certify()
    yield made
    for bank in made.banks.values():
        if bank.running:
            bank.stop()


async def test_banks_learn_together(world, scribe):
    """The published model is the mean of what a hundred customers of four banks teach, and everybody rests on it."""
    for bank, count in zip(world.banks.values(), (10, 20, 30, 40), strict=True):
        bank.learn(scribe, count, positive=count > 20)
    expected = np.zeros(len(world.banks["bank-a"].pupil.layout))
    for bank in world.banks.values():
        for update in bank.pupil.updates(lessons for _, lessons in bank.study.window.lessons(FRAUD)):
            expected[list(update)] += np.array(list(update.values())) / 100
    await world.rounds(1)

    bases = [bank.pupil.base for bank in world.banks.values()]
    assert world.published[0].contributors == BANKS
    assert world.published[0].customers == 100
    assert all(np.allclose(base, expected, atol=1e-3) for base in bases)
    assert all(np.allclose(bank.pupil.federated.to_vector(), bank.pupil.base, atol=1e-12) for bank in world.banks.values())
    assert not any(bank.study.window.lessons(FRAUD) for bank in world.banks.values())
    assert world.faults() == []


async def test_rounds_go_on_without_anything_learned(world, scribe):
    """Taking part does not depend on data: with nothing new everybody still contributes, and the model stays."""
    world.banks["bank-a"].learn(scribe, 10, positive=True)
    await world.rounds(1)
    first = world.banks["bank-a"].pupil.base.copy()
    world.banks["bank-b"].learn(scribe, 1, positive=False)
    await world.rounds(1)

    assert [published.contributors for published in world.published[:2]] == [BANKS, BANKS]
    assert not np.array_equal(world.banks["bank-c"].pupil.base, first)


async def test_what_is_learned_during_a_round_goes_into_the_next(world, scribe):
    """After the contribution the bank learns on; after the round that is on top of the new model."""
    bank = world.banks["bank-a"]
    bank.learn(scribe, 10, positive=True)
    await world.run(lambda: bank.pupil.contributed is not None)
    before = bank.pupil.federated.to_vector()
    bank.learn(scribe, 5, positive=True)
    extra = bank.pupil.federated.to_vector() - before
    await world.rounds(1)

    assert np.allclose(bank.pupil.federated.to_vector() - bank.pupil.base, extra, atol=1e-12)
    assert len(bank.study.window.lessons(FRAUD)) == 5


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("number", range(1, 13, 2))
async def test_a_crash_anywhere_says_nothing_twice_differently(world, scribe, point, number):
    """Bank A dies at any labelled point: it goes on from the file, and no record of one identity has two contents."""
    seen = itertools.count(1)

    def reach(reached):
        if reached == point and next(seen) == number:
            raise Crash

    for bank in world.banks.values():
        bank.learn(scribe, 5, positive=True)
    bank = world.banks["bank-a"]
    bank.reach = reach
    await world.rounds(2, scribe)

    assert bank.lives == 2
    said = defaultdict(set)
    for each in [*world.opened(ROUNDS, lane_partition(FRAUD)), *(e for p in range(CHUNKS.partitions) for e in world.opened(CHUNKS, p))]:
        if each.sender == "bank-a":
            message = each.message
            said[type(message).__name__, message.epoch, getattr(message, "round", 0), getattr(message, "chunk", 0)].add(each.digest)
    assert {name for name, *_ in said} == {
        "EpochKeys", "EpochShares", "MaskedChunk", "MaskedUpdate", "SurvivorsAcked", "SharesRevealed",
    }  # fmt: skip
    assert all(len(digests) == 1 for digests in said.values())
    assert all("bank-a" in published.contributors for published in world.published[:2])
    assert [fault for fault in world.faults() if fault[1] != "stale"] == []


async def test_a_bank_that_was_away_rests_on_the_newest_model(world, scribe):
    """Down for several rounds: its last contribution counts once, what it learned since is on top, and it says nothing stale."""
    bank = world.banks["bank-d"]
    for each in world.banks.values():
        each.learn(scribe, 10, positive=True)
    await world.run(lambda: bank.pupil.contributed is not None)
    await world.run(lambda: any(isinstance(e.message, SharesRevealed) and e.sender == "bank-d" for e in world.opened(ROUNDS, 1)))
    bank.stop()
    await world.rounds(3, scribe)
    bank.start()
    before = len(world.opened(ROUNDS, lane_partition(FRAUD)))
    since = bank.pupil.federated.to_vector() - bank.pupil.contributed
    await world.run(bank.rested)
    assert np.allclose(bank.pupil.federated.to_vector() - bank.pupil.base, since, atol=1e-12)
    await world.rounds(2, scribe)

    assert "bank-d" in world.published[0].contributors
    assert all("bank-d" not in published.contributors for published in world.published[1:3])
    assert "bank-d" in world.published[-1].contributors
    spoken = [e for e in world.opened(ROUNDS, lane_partition(FRAUD))[before:] if e.sender == "bank-d"]
    assert all(each.message.round > world.published[2].round for each in spoken)
    assert world.faults() == []


async def test_a_long_absence_is_made_up_for_without_waiting(world, scribe, monkeypatch):
    """Every model that the log names on the way is found in the order of the log, though many newer ones lie behind it."""
    bank = world.banks["bank-d"]
    await world.rounds(1, scribe)
    bank.stop()
    await world.rounds(8, scribe)
    monkeypatch.setattr(participation, "_BATCH", 25)
    bank.start()
    await world.run(bank.rested)

    assert bank.participation._models._shelves[FRAUD].missed == set()
    assert world.faults() == []


async def test_the_masked_vector_tells_nothing_and_status_counts_bytes(world, scribe):
    """What leaves in the clear is neither the update nor its size; bytes said are counted."""
    world.banks["bank-a"].learn(scribe, 10, positive=True)
    await world.rounds(1)
    chunks = [e.message for p in range(CHUNKS.partitions) for e in world.opened(CHUNKS, p) if isinstance(e.message, MaskedChunk)]

    assert {len(chunk.body) for chunk in chunks if chunk.chunk == 0} == {50 * 4 + SEAL_OVERHEAD_BYTES}
    assert world.banks["bank-a"].store.counters()["sent.fraud"] > sum(len(c.body) for c in chunks if c.institution == "bank-a")
    assert world.banks["bank-a"].store.counters()["round.fraud"] >= 1


async def test_every_record_said_is_audited(world, scribe):
    """Each record of ours on the federation's topics has an audit entry that names its digest."""
    await world.rounds(1, scribe)
    entries = {e.message.digest for e in world.opened(AUDIT) if isinstance(e.message, AuditEntry)}
    said = [*world.opened(ROUNDS, lane_partition(FRAUD)), *(e for p in range(CHUNKS.partitions) for e in world.opened(CHUNKS, p))]

    assert all(each.digest in entries for each in said)
    assert any(isinstance(each.message, SurvivorsAcked) for each in said)


async def test_a_forged_record_is_reported_and_the_round_goes_on(world):
    """A record signed by nobody and one that is no record: audit entries, no stop."""
    name, partition = ROUNDS.full_name(), lane_partition(FRAUD)
    bank = world.banks["bank-a"]
    await bank.participation.open()
    forger = Courier(world.log, federation=FED, sender="bank-b", sign=lambda _signed: bytes(64))
    ack = SurvivorsAcked(head=FRAUD, group=0, epoch=1, round=1, institution="bank-b", survivors_digest=bytes(32))
    forged = forger.prepare([ack], 0)[0]
    await world.log.append([forged, Outgoing(name, partition, None, b"noise")])
    await bank.participation.step(0)

    assert ("bank-a", "bad_signature", "bank-b") in world.faults()
    assert [fault for fault in world.faults() if fault[1] in {"malformed", "unknown_schema"}]
    assert bank.store.next_offset(name, partition) == 2


async def test_revealed_shares_are_passed_over_unopened(world):
    """They are for the aggregator: even a forged one is none of an institution's business."""
    bank = world.banks["bank-a"]
    await bank.participation.open()
    forger = Courier(world.log, federation=FED, sender="bank-b", sign=lambda _signed: bytes(64))
    shares = SharesRevealed(head=FRAUD, group=0, epoch=1, round=1, institution="bank-b", survivors_digest=bytes(32), box=b"")
    await world.log.append([forger.prepare([shares], 0)[0]])
    await bank.participation.step(0)

    assert world.faults() == []
    assert bank.store.next_offset(ROUNDS.full_name(), lane_partition(FRAUD)) == 1


async def test_a_flood_of_bad_records_is_one_entry(world):
    """Whoever floods the log does not make us flood the audit: one entry per kind and party in a turn."""
    bank = world.banks["bank-a"]
    await bank.participation.open()
    forger = Courier(world.log, federation=FED, sender="bank-b", sign=lambda _signed: bytes(64))
    forged = [
        forger.prepare([SurvivorsAcked(head=FRAUD, group=0, epoch=1, round=n, institution="bank-b", survivors_digest=bytes(32))], 0)[0]
        for n in range(50)
    ]
    await world.log.append(forged)
    await bank.participation.step(0)

    assert world.faults() == [("bank-a", "bad_signature", "bank-b")]


async def test_a_model_that_cannot_be_found_is_not_contributed_to(world, scribe, monkeypatch):
    """Without the vector of the round's model there is no contribution, only a report; once it is found, all is well again."""
    monkeypatch.setattr(global_models, "_PATIENCE_MS", 1)
    bank, others = world.banks["bank-d"], list(world.banks.values())[:3]
    models = bank.participation._models
    models.get = lambda _head, _digest: None
    for number in (1, 2):
        for each in world.banks.values():
            each.learn(scribe, 5, positive=True)
        await world.run(partial(world.settled, number, others))
    assert "bank-d" not in world.published[1].contributors
    assert ("bank-d", "model_unavailable", "bank-d") in world.faults()
    del models.get
    learned = bank.pupil.federated.to_vector() - bank.pupil.base
    await world.run(bank.rested)

    assert np.allclose(bank.pupil.federated.to_vector() - bank.pupil.base, learned, atol=1e-12)
    await world.rounds(2, scribe)
    assert "bank-d" in world.published[-1].contributors


async def test_a_new_model_is_served_at_once(world, scribe):
    """Adopting a global model journals the portal's model with its round, in the same turn."""
    world.banks["bank-a"].learn(scribe, 10, positive=True)
    await world.rounds(1)
    served = [
        decode(record.value, (ServingModel,), 1_000_000)
        for _, record in world.banks["bank-b"].store.unsaid(Cluster.OWN, 1000)
        if "serving_models" in record.topic
    ]

    assert (served[-1].version, served[-1].round) == (1, world.published[0].round)
    assert np.frombuffer(served[-1].vector, "<f8").any()


async def test_a_sender_certified_later_is_looked_up(tmp_path, clock, encoders, scribe):
    """A certificate that came after the start is read when its party first speaks."""
    late = World(tmp_path / "late", clock, encoders)
    await late.certify({"aggregator", "bank-a"})
    await late.banks["bank-a"].participation.open()
    await late.certify({"bank-b", "bank-c", "bank-d"})
    await late.rounds(1, scribe)

    assert late.published[0].contributors == BANKS
    assert late.faults() == []
    for bank in late.banks.values():
        bank.stop()


async def test_another_key_than_the_certified_one_stops_the_start(world):
    """A wrong key file is noticed before anything is said."""
    bank = world.banks["bank-a"]
    bank.ring = bank.identity.ring = KeyRing((world.credentials.keys["bank-b"],))

    with pytest.raises(OwnFault, match="certificate 1 of bank-a is for keys that are not in its key file"):
        await bank.participation.open()


async def test_erased_round_secrets_leave_the_disk(world, tmp_path, scribe):
    """After a round its keys are gone from the state, and from the file's pages and log."""
    await world.run(lambda: bool(world.banks["bank-a"].participation._heads) and bool(_secrets(world.banks["bank-a"])))
    bank = world.banks["bank-a"]
    await world.run(lambda: world.state.lanes[PLAIN].transcript.round is not None)
    secrets = _secrets(bank)
    used = secrets.round_secret(secrets.first_left).reveal()
    assert _on_disk(tmp_path / "bank-a", used)
    await world.rounds(1, scribe)

    assert not _on_disk(tmp_path / "bank-a", used)


def _secrets(bank):
    return next(iter(bank.participation._heads[FRAUD].lanes[PLAIN].secrets.values()), None)


def _on_disk(folder, secret):
    return any(secret in path.read_bytes() for path in folder.iterdir())


async def test_models_of_strangers_are_not_believed(world, scribe):
    """A model piece said by a bank is not the federation's."""
    bank = world.banks["bank-a"]
    await world.rounds(1, scribe)
    forged = np.full(len(bank.pupil.layout), 9.0)
    courier = world.credentials.courier(world.log, "bank-b")
    await courier.send(courier.prepare(cut(FRAUD, 99, forged), 0))
    await bank.participation._models.obtain({FRAUD: [bytes(32)]})

    assert not any(np.array_equal(found.vector, forged) for found in bank.participation._models._shelves[FRAUD].found.values())
