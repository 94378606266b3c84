"""Two shells over one log: intersect, train, predict; crash anywhere; who is refused and named."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from federation import messages as m
from federation.heads.scoring import probability_of
from federation.vertical.phases import PartnerPhase
from institution_workers.vertical.parcels import Address, cut
from streams.ports import Outgoing
from streams.signed import seal_record
from streams.topology import AUDIT, DEAD_LETTERS, VERTICAL, VERTICAL_SCORES, Cluster
from tests.institution_workers.vertical.world import BANK, FED, PARTNER, STRANGER, Crash, World, seeded

INTERSECT, TRAIN, PREDICT = m.VerticalVerb
SHOWN, COUNTED, HIDDEN = m.OverlapPolicy


@pytest.fixture
async def world(tmp_path):
    made = World(tmp_path)
    await made.certify()
    await made.populate()
    yield made
    for party in made.parties.values():
        if party.running:
            party.stop()


@pytest.fixture
async def taught(world):
    await world.quiet()
    assert (await world.do(INTERSECT)).done
    assert (await world.do(TRAIN)).done
    return world


async def test_from_events_to_a_joint_prediction(taught):
    """Applications and attributes arrive, are intersected, trained on and predicted from; the score is both halves' sum."""
    told = await taught.do(PREDICT, customer="PERSON 30")
    bank, partner = taught.bank, taught.partner
    halves = [float(party.runs.state.half.weights[[0, *party.people.actives(["person 30"])[0]]].sum()) for party in (bank, partner)]

    assert bank.people.counts() == (60, 40)
    assert (told.done, told.degraded, told.detail) == (True, False, "")
    assert told.probability == pytest.approx(probability_of(bank.desk.alone().prior + sum(halves)))
    assert told.version == bank.runs.state.version == partner.runs.state.version
    assert taught.faults() == []


async def test_everything_said_is_in_the_audit(taught):
    """Every part of every message, by its name, of both parties."""
    await taught.do(PREDICT, customer="person 30")
    said = [(opened.sender, opened.message.says) for opened in taught.opened(VERTICAL)]
    entries = [opened.message for opened in taught.opened(AUDIT)]
    audited = [(entry.actor, entry.action) for entry in entries if entry.topic == VERTICAL.name]

    assert sorted(audited) == sorted(said)
    assert {action for _, action in audited} >= {
        "IntersectionAsked",
        "IntersectionClosed",
        "TrainingAsked",
        "NumbersEncrypted",
        "PassEnded",
    }
    assert {entry.head for entry in entries if entry.topic == VERTICAL.name} == {"vertical/bank/partner"}
    assert sum(entry.topic == VERTICAL_SCORES.name for entry in entries) == 2


async def test_what_lies_on_the_log_is_sealed(taught):
    """No name, no feature, no count: whoever reads the topics sees who speaks and how long."""
    await taught.do(PREDICT, customer="person 30")
    raw = b"".join(
        record.value for topic in (VERTICAL, VERTICAL_SCORES) for number in range(topic.partitions)
        for record in taught.log.records(topic.full_name(), number)
    )  # fmt: skip

    assert b"erson" not in raw
    assert b"late" not in raw
    for weights in taught.model():
        for weight in weights[weights != 0]:
            assert np.float64(weight).tobytes() not in raw


async def test_counted_and_hidden_show_no_name(tmp_path):
    """Counted: both know how many. Hidden: the bank how many, neither which; and the hidden rows can be trained on."""
    world = World(tmp_path, bank={"policies": ("hidden",)}, partner={"policies": ("counted", "hidden")})
    await world.certify()
    await world.populate()
    await world.quiet()
    counted = await world.do(INTERSECT, policy=COUNTED)
    hidden = await world.do(INTERSECT, policy=HIDDEN)
    refused = await world.do(INTERSECT, policy=SHOWN)
    trained = await world.do(TRAIN)
    alone = await world.do(PREDICT, customer="person 30")

    assert (counted.shared, hidden.shared) == (40, 40)
    assert (refused.done, "may be counted, hidden here" in refused.detail) == (False, True)
    assert world.bank.people.counts()[1] == world.partner.people.counts()[1] == 0
    assert trained.done
    assert all(weights.any() for weights in world.model())
    assert (alone.done, alone.degraded) == (True, True)
    names, bits = world.bank.people.rows_of(world.bank.people.newest_hidden())
    theirs, coins = world.partner.people.rows_of(world.bank.people.newest_hidden())
    assert [bool(bit ^ coin) for bit, coin in zip(bits, coins, strict=True)] == [a == b for a, b in zip(names, theirs, strict=True)]
    for party in world.parties.values():
        party.stop()


# --- crashes ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The model without a crash, and how often each point is passed."""

    async def story():
        world = World(tmp_path_factory.mktemp("undisturbed"))
        passed = {name: [] for name in world.parties}
        for name, party in world.parties.items():
            party.reach = passed[name].append
        await world.certify()
        await world.populate()
        await world.quiet()
        for verb in (INTERSECT, TRAIN):
            assert (await world.do(verb)).done
        for party in world.parties.values():
            party.stop()
        return world.model(), passed

    return asyncio.run(story())


class Countdown:
    """Crashes when `point` is reached for the `due`-th time; never without one."""

    def __init__(self, point, due):
        self.point, self.left = point, due

    def __call__(self, point):
        if point == self.point and self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise Crash
        return self


POINTS = ("stepped", "written", "saved", "sent")


@pytest.mark.parametrize("name", [BANK, PARTNER])
@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_anywhere_leads_to_the_same_model(tmp_path, undisturbed, name, point):
    """Killed at a labelled point, early, in the middle and late: both resume, and end with the same bits."""
    expected, passed = undisturbed
    times = passed[name].count(point)
    assert times >= 6
    world = World(tmp_path)
    await world.certify()
    await world.populate()
    await world.quiet()
    crashes = iter(sorted({1, 2, times // 3, times // 2, times - 2}))
    party = world.parties[name]
    for verb in (INTERSECT, TRAIN):
        request = await world.ask(verb)
        while request not in world.told():
            if party.reach(None) is None:
                party.reach = Countdown(point, next(crashes, None))
            if not any([await each.step() for each in world.parties.values()]):
                world.clock.at_ms += 500
        assert world.told()[request].done, world.told()[request].detail

    assert party.lives > 2
    for one, other in zip(world.model(), expected, strict=True):
        assert one.any()
        assert np.array_equal(one, other)
    assert world.faults() == []
    for each in world.parties.values():
        each.stop()


async def test_what_was_saved_is_said_again_unchanged(taught):
    """A partner that was killed after saving says the very bytes it had saved, in their order."""
    request = await taught.ask(TRAIN)
    partner = taught.partner
    unsaid = []

    def reach(point):
        if point == "saved" and partner.runs.state.phase is PartnerPhase.OPENING_SCORES:
            unsaid.extend(record.value for _, record in partner.store.unsaid(Cluster.FEDERATION, 100))
            raise Crash

    partner.reach = reach
    await taught.run(lambda: partner.lives == 2)
    await taught.settle(request)
    lying = [record.value for number in range(VERTICAL.partitions) for record in taught.log.records(VERTICAL.full_name(), number)]

    assert unsaid
    assert [value for value in unsaid if value in lying] == [value for value in lying if value in unsaid]


# --- deadlines and degraded answers ------------------------------------------------------------------------------
async def test_without_the_partner_the_bank_answers_alone(taught):
    """The deadline passes, the answer is the bank's own scorecard's and says so; nobody waits longer."""
    taught.partner.stop()
    began = taught.clock.at_ms
    told = await taught.do(PREDICT, customer="person 30")

    assert (told.done, told.degraded, told.detail) == (True, True, "the partner did not answer in time")
    assert told.probability == taught.bank.desk.probability_alone("person 30")
    assert taught.clock.at_ms - began <= taught.bank.settings.score_wait_ms + 1000


async def test_who_is_not_shared_is_never_asked_about(taught):
    """The partner does not learn that they have applied; the unknown get no score at all."""
    before = len(taught.opened(VERTICAL_SCORES))
    alone = await taught.do(PREDICT, customer="person 3")
    unknown = await taught.do(PREDICT, customer="nobody")

    assert (alone.done, alone.degraded, alone.detail) == (True, True, "not known to be shared with the partner")
    assert (unknown.done, unknown.probability) == (False, -1.0)
    assert len(taught.opened(VERTICAL_SCORES)) == before


async def test_an_answer_from_another_version_does_not_count(taught):
    """The partner's points belong to the version asked about, or the answer is the bank's own."""
    taught.partner.runs.state = replace(taught.partner.runs.state, version=7)
    told = await taught.do(PREDICT, customer="person 30")

    assert told.degraded
    assert "version 7" in told.detail


async def test_a_run_without_an_answer_is_abandoned(taught):
    """The partner is away for longer than the deadline: the bank says so, the scorecard stays, the next run goes well."""
    version = taught.bank.runs.state.version
    taught.partner.stop()
    told = await taught.do(TRAIN)
    assert (told.done, told.detail.startswith("deadline: no answer in time")) == (False, True)
    assert taught.bank.runs.state.version == version
    taught.partner.start()
    again = await taught.do(TRAIN)
    assert again.done
    assert taught.partner.runs.state.version == again.version > version


async def test_a_partner_that_nobody_certified_is_said_so(tmp_path):
    """The request is told; the worker goes on."""
    world = World(tmp_path)
    await world.populate()
    await world.quiet()
    told = await world.do(INTERSECT)

    assert (told.done, "certified nobody called partner" in told.detail) == (False, True)
    await world.certify()
    assert (await world.do(INTERSECT)).done
    for party in world.parties.values():
        party.stop()


# --- online -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("standing", "why"), [(m.Standing.SUSPENDED, "is suspended"), (m.Standing.REVOKED, "is revoked")])
async def test_with_a_partner_that_is_no_member_nothing_is_shared(taught, standing, why):
    """No run is begun and nobody is asked about; the bank goes on alone. What the partner says is refused and named."""
    entry = taught.credentials.act(PARTNER, standing, at_ms=taught.clock.at_ms)
    await taught.credentials.enter(taught.log, entry)
    taught.partner.stop()
    told = await taught.do(TRAIN)
    assert (told.done, told.detail) == (False, f"partner {why}")
    before = len(taught.opened(VERTICAL_SCORES))
    told = await taught.do(PREDICT, customer="Person 30")
    assert (told.done, told.degraded, told.detail) == (True, True, f"the partner {why}")
    assert len(taught.opened(VERTICAL_SCORES)) == before


async def test_a_partner_suspended_in_a_run_is_heard_no_longer(taught):
    """What it said meanwhile is refused and named, and the run ends at its deadline."""
    asked = await taught.ask(TRAIN)
    await taught.run(lambda: not taught.bank.runs.idle)
    entry = taught.credentials.act(PARTNER, m.Standing.SUSPENDED, at_ms=taught.clock.at_ms)
    await taught.credentials.enter(taught.log, entry)
    await taught.bank.runs._registry.catch_up()
    told = await taught.settle(asked)

    assert (told.done, told.detail.startswith("deadline")) == (False, True)
    assert (BANK, "unfit_member", PARTNER) in taught.faults()


async def test_new_applications_are_aligned_and_learned_by_themselves(tmp_path):
    """Events arrive; after enough of them the bank intersects and trains, from zero and then from what is known."""
    world = World(tmp_path, bank={"align_after": 20, "train_after": 20})
    await world.certify()
    await world.populate()
    await world.run(lambda: world.partner.runs.state.version > 0 and world.bank.runs.idle)
    first, model = world.bank.runs.state.version, world.model()
    await world.populate(first=500)
    await world.run(lambda: world.partner.runs.state.version > first and world.bank.runs.idle)

    assert world.bank.people.counts() == (120, 80)
    assert not np.array_equal(world.model()[0], model[0])
    assert len(world.bank.people.teachable(fresh=True)) == 0
    for party in world.parties.values():
        party.stop()


# --- the partner's terms ----------------------------------------------------------------------------------------
async def test_the_partners_limits_hold(tmp_path):
    """Too short a list, too many runs a day: refused with a sentence, and nothing is shown."""
    world = World(tmp_path, partner={"list_min": 50, "runs_per_day": 2})
    await world.certify()
    await world.populate(people=45, shared=30)
    await world.quiet()
    short = await world.do(INTERSECT)
    await world.populate(people=20, shared=10, first=900)
    await world.quiet()
    answers = [await world.do(INTERSECT, policy=SHOWN) for _ in range(3)]
    world.clock.at_ms += 25 * 3_600_000
    tomorrow = await world.do(INTERSECT)

    assert (short.done, "a list of 45 names, where 50 to" in short.detail) == (False, True)
    assert [answer.done for answer in answers] == [True, True, False]
    assert "2 runs of this kind within 24 hours" in answers[2].detail
    assert tomorrow.done
    for party in world.parties.values():
        party.stop()


async def test_only_whole_shared_rows_are_trained_on(taught):
    """A row of no shown alignment, or one twice, is refused by the partner, not by the bank's good will."""
    for rows, why in (
        (lambda body: body[:12] * (len(body) // 12), "there twice"),
        (lambda body: body[:-12] + b"\xff" * 7 + b"\x00" + body[-4:], "in no shown alignment"),
        (lambda body: body[:-1], "cannot be read"),
    ):
        training = taught.bank.desk.training

        def bent(run, *, warm, training=training, rows=rows):
            event, people = training(run, warm=warm)
            return replace(event, references=rows(event.references)), people

        object.__setattr__(taught.bank.desk, "training", bent)
        told = await taught.do(TRAIN)
        object.__delattr__(taught.bank.desk, "training")
        assert (told.done, why in told.detail) == (False, True), told.detail


async def test_a_refused_event_is_kept_as_a_dead_letter(world):
    """What the feature schema refuses becomes a dead letter of the partner's, and nobody is listed for it."""
    topic = "partner.events.attributes.v1"
    await world.put(
        topic, m.AttributesObserved(event_id="e", customer="x", occurred_at_ms=1, consented=True, numbers={"age": 3.0}, categories={})
    )
    await world.log.append([Outgoing(topic, 0, b"", b"junk")])
    await world.quiet()

    assert len(world.log.records(DEAD_LETTERS.full_name(PARTNER))) == 2
    assert world.partner.people.counts()[0] == 60


async def test_who_withdraws_consent_is_listed_no_longer(world):
    """And gives no points from then on, though the row stays."""
    await world.quiet()
    withdrawn = m.AttributesObserved(
        event_id="w", customer="person 30", occurred_at_ms=9, consented=False, numbers={"late": 1.0}, categories={}
    )
    await world.put("partner.events.attributes.v1", withdrawn)
    await world.quiet()

    assert (await world.do(INTERSECT)).shared == 39
    assert world.partner.people.actives(["person 30"]) == [()]


@pytest.mark.parametrize("refused", [m.Purpose.LEARNING, m.Purpose.FEDERATION])
async def test_who_refuses_on_the_topic_of_consents_is_listed_no_longer(world, refused):
    """From his statement on, and his later events do not bring him back; when he permits it again, the next one does."""
    await world.quiet()

    def observed(event_id):
        return m.AttributesObserved(
            event_id=event_id, customer="person 30", occurred_at_ms=9, consented=True, numbers={"late": 1.0}, categories={}
        )

    for said, listed in (((), (refused,)), 59), (((refused,), ()), 60):
        stated = m.ConsentsStated(customer="person 30", permitted=said[0], refused=said[1], stated_at_ms=1)
        await world.put("partner.consents.v1", stated, b"person 30")
        await world.put("partner.events.attributes.v1", observed(f"w{listed}"))
        await world.quiet()
        assert world.partner.people.counts()[0] == listed


# --- who is named -----------------------------------------------------------------------------------------------
async def forged(world, sender, part, keys=None):
    keys = keys or world.parties[sender].keys
    value = seal_record(part, sender=sender, sign=keys.sign, federation=FED, topic=VERTICAL)
    place = next(number for number in range(VERTICAL.partitions) if world.log.records(VERTICAL.full_name(), number))
    await world.log.append([Outgoing(VERTICAL.full_name(), place, b"bank/partner", value)])


async def test_replayed_flipped_and_foreign_records_are_refused_and_named(taught):
    """An old record again, other bytes under its number, a stranger's, a piece out of order, a body that does not open."""
    parts = [opened.message for opened in taught.opened(VERTICAL)]
    newest = [part for part in parts if part.institution == BANK][-1]
    version = taught.partner.runs.state.version
    for sender, part, keys in (
        (BANK, newest, None),  # Itself: passed over.
        (BANK, parts[0], None),  # An older run's: passed over.
        (BANK, replace(newest, body=newest.body[:-1] + bytes([newest.body[-1] ^ 1])), None),
        (STRANGER, replace(newest, institution=STRANGER, sequence=newest.sequence + 1), taught.stranger),
        (BANK, replace(newest, sequence=newest.sequence + 1, part=1, parts=2), None),
        (BANK, replace(newest, sequence=newest.sequence + 1, part=3, parts=2), None),
        (BANK, replace(newest, sequence=newest.sequence + 2, body=b"\x09" * 100), None),
    ):
        await forged(taught, sender, part, keys)
        await taught.quiet()

    assert taught.faults() == [
        (PARTNER, "two_records", BANK),
        (BANK, "not_entitled", STRANGER),
        (PARTNER, "not_entitled", STRANGER),
        (PARTNER, "bad_part", BANK),
        (PARTNER, "bad_part", BANK),
        (PARTNER, "bad_seal", BANK),
    ]
    assert taught.partner.runs.state.version == version
    assert (await taught.do(TRAIN)).done


async def test_a_message_that_is_not_what_it_says_is_refused(taught):
    """The name in the clear, which the audit shows, must be that of the message inside; and junk inside is the sender's."""
    address = Address(BANK, PARTNER, BANK, taught.clock.at_ms + 10**6, 1, taught.clock.at_ms + 10**6)
    key = taught.partner.keys.sealing_key
    (abandoned,) = cut(m.RunAbandoned(reason="x", detail="y"), address, sealing_key=key, entropy=seeded("x"))
    (status,) = cut(m.PassEnded(number=1, finished=True, kept=1, version=1), address, sealing_key=key, entropy=seeded("y"))
    await forged(taught, BANK, replace(abandoned, says="PassEnded"))
    await taught.quiet()
    await forged(taught, BANK, replace(status, run=status.run + 1))
    await taught.quiet()

    assert taught.faults() == [(PARTNER, "bad_part", BANK), (PARTNER, "out_of_phase", BANK)]
