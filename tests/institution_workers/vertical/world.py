"""A bank and a partner with their shells, one log, one clock, small keys; either may crash at any labelled point and comes back.

Used by the tests of this folder.
Never talks to a broker."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np

from federation import messages as m
from federation.heads.credit import CreditEncoder
from federation.heads.features import FeatureSchema
from federation.vertical.effects import Parties
from institution_workers.consents import Consents
from institution_workers.customer_keys import CustomerKeys
from institution_workers.speaker import Speaker
from institution_workers.storage import Store
from institution_workers.vertical.bank_desk import BankDesk
from institution_workers.vertical.intake import Intake
from institution_workers.vertical.partner_desk import PartnerDesk
from institution_workers.vertical.people import People
from institution_workers.vertical.requests import Requests
from institution_workers.vertical.runs import Runs, Self
from institution_workers.vertical.scores import Scores
from streams.codec import decode, encode
from streams.courier import Courier
from streams.memory import MemoryLog
from streams.parties import Parties as KnownParties
from streams.ports import Outgoing
from streams.settings import PurposesSettings, VerticalSettings
from streams.signed import open_record
from streams.topology import (
    APPLICATIONS,
    ATTRIBUTES,
    AUDIT,
    FEDERATION_TOPICS,
    OUTCOMES,
    OWN_TOPICS,
    VERTICAL_ASKED,
    VERTICAL_TOLD,
    Cluster,
    partitions_of,
)
from tests.credentials import Credentials

FED, BANK, PARTNER, STRANGER = "fed", "bank", "partner", "stranger"
BITS = 512

BANK_FEATURES = """
head = "credit"
version = 1
prior_log_odds = 0
[[numbers]]
names = ["limit"]
edges = [1, 2]
least = 0
most = 9
"""
PARTNER_FEATURES = BANK_FEATURES.replace("limit", "late")


class Crash(BaseException):
    """The process is gone."""


class Clock:
    """Turned by hand."""

    def __init__(self):
        self.at_ms = 1_700_000_000_000

    def now_ms(self):
        return self.at_ms


def seeded(seed):
    numbers = itertools.count()
    return lambda count: hashlib.shake_256(f"{seed}/{next(numbers)}".encode()).digest(count)


class Party:
    """One party's worker, a step at a time."""

    def __init__(self, world, name, features, **settings):
        self.world, self.name, self.lives = world, name, 0
        self.keys = world.credentials.keys[name]
        self.encoder = CreditEncoder(FeatureSchema.parsed(features))
        own = {"role": name, "peer": BANK if name == PARTNER else PARTNER, "bootstrap": "127.0.0.1:1", "state_dir": "x", "features": "x"}
        usual = {"list_min": 5, "rows_min": 5, "hidden_length": 60, "answer_wait_ms": 60_000, "passes_max": 3}
        self.settings = VerticalSettings(**{**own, **usual, **settings})
        self.reach = lambda _point: None
        self.start()

    def start(self):
        world, self.lives = self.world, self.lives + 1
        self.store = Store.open(world.folder / self.name, self.name)
        parties = Parties(FED, BANK, PARTNER, bits=BITS)
        own = Self(parties, self.name == BANK, lambda: (self.keys.sealing_secret,), self.settings.ridge, self.settings.answer_wait_ms)
        self.people = People(self.store.database)
        reach = lambda point: self.reach(point)  # noqa: E731, PLW0108 - looked up anew each time.
        speakers = [Speaker(self.store, cluster, world.log, reach=reach) for cluster in (Cluster.FEDERATION, Cluster.OWN)]
        courier = Courier(world.log, federation=FED, sender=self.name, sign=self.keys.sign)
        registry = KnownParties(world.log, federation=FED, ca_verify_key=world.credentials.ca_verify_key)
        entropy, width = seeded(f"{self.name}, life {self.lives}"), len(self.encoder.layout)
        bank = BankDesk(self.name, self.people, self.store, self.settings, width) if self.name == BANK else None
        self.desk = bank or PartnerDesk(self.people, self.settings, width)
        clock = world.clock
        self.runs = Runs(world.log, self.store, self.desk, speakers, courier, registry, own=own, clock=clock, entropy=entropy, reach=reach)
        self.scores = Scores(
            world.log, self.store, self.people, self.runs, bank, speakers, courier, registry, own=own, clock=clock, entropy=entropy
        )
        self.intake = Intake(
            world.log, self.store, self.people, speakers[1], self.encoder, name=self.name, is_bank=self.name == BANK, clock=clock, future_ms=10**9,
            consents=Consents(self.store.database, PurposesSettings()), keys=CustomerKeys(self.store.database, entropy),
        )  # fmt: skip
        self.parts = [self.intake, self.runs, self.scores]
        if bank is not None:
            self.parts.append(Requests(world.log, self.store, bank, self.runs, self.scores, speakers, clock=clock))
        self.running = True

    def stop(self):
        self.running = False
        self.store.close()

    async def step(self):
        """How much was done; -1 after a crash, from which it has come back."""
        try:
            return sum([await part.step(0) for part in self.parts])
        except Crash:
            self.stop()
            self.reach = lambda _point: None
            self.start()
            return -1


class World:
    """Both, and what they have in common."""

    def __init__(self, folder: Path, *, bank=None, partner=None):
        self.folder, self.clock = folder, Clock()
        self.credentials = Credentials(FED, [BANK, PARTNER, STRANGER])
        topics = partitions_of(FEDERATION_TOPICS) | partitions_of(OWN_TOPICS, BANK) | partitions_of(OWN_TOPICS, PARTNER)
        self.log = MemoryLog(topics, now_ms=self.clock.now_ms)
        self.parties = {
            BANK: Party(self, BANK, BANK_FEATURES, **(bank or {})),
            PARTNER: Party(self, PARTNER, PARTNER_FEATURES, **(partner or {})),
        }
        self.stranger = self.credentials.keys[STRANGER]
        self.asked = itertools.count(1)

    @property
    def bank(self):
        return self.parties[BANK]

    @property
    def partner(self):
        return self.parties[PARTNER]

    async def certify(self):
        await self.credentials.publish(self.log)

    async def populate(self, people=60, shared=40, first=0):
        """The bank's applications and outcomes, the partner's attributes; `shared` of them know both."""
        rng = np.random.Generator(np.random.PCG64(first + 7))
        for n in range(first, first + people + people - shared):
            limit, late = rng.integers(0, 3, 2).tolist()
            bad = bool(rng.random() < 1 / (1 + np.exp(1.0 - 0.8 * late + 0.5 * limit)))
            name = f"Person {n}"
            if n < first + people:
                application = m.CreditApplication(
                    event_id=f"a{n}", customer=name, occurred_at_ms=1, consented=True, numbers={"limit": float(limit)}, categories={}
                )
                outcome = m.OutcomeObserved(event_id=f"o{n}", head=m.HeadName.CREDIT, subject=f"a{n}", positive=bad, occurred_at_ms=2)
                await self.put(APPLICATIONS.full_name(BANK), application)
                await self.put(OUTCOMES.full_name(BANK), outcome)
            if n >= first + people - shared:
                seen = m.AttributesObserved(
                    event_id=f"s{n}",
                    customer=f" person {n}",
                    occurred_at_ms=1,
                    consented=True,
                    numbers={"late": float(late)},
                    categories={},
                )
                await self.put(ATTRIBUTES.full_name(PARTNER), seen)

    async def put(self, topic, message, key=b""):
        await self.log.append([Outgoing(topic, 0, key, encode(message))])

    async def ask(self, verb, *, customer="", policy=m.OverlapPolicy.SHOWN, warm=False, wait_ms=600_000):
        """A request of the bank's own systems; its id."""
        request_id = f"r{next(self.asked)}"
        asked = m.VerticalAsked(
            request_id=request_id, verb=verb, customer=customer, policy=policy, warm=warm, deadline_ms=self.clock.at_ms + wait_ms
        )
        await self.put(VERTICAL_ASKED.full_name(BANK), asked)
        return request_id

    def told(self):
        """Request id -> what it was told."""
        records = self.log.records(VERTICAL_TOLD.full_name(BANK))
        return {told.request_id: told for record in records for told in [decode(record.value, VERTICAL_TOLD.carries, 10**6)]}

    async def run(self, until, steps=400):
        """Let both step until the condition holds; time passes while nobody has anything to do."""
        for _ in range(steps):
            if until():
                return
            done = [await party.step() for party in self.parties.values() if party.running]
            if not any(done):
                self.clock.at_ms += 500
        raise AssertionError("nothing came of it")

    async def settle(self, request_id, steps=400):
        """Until the request was told; what it was told."""
        await self.run(lambda: request_id in self.told(), steps)
        return self.told()[request_id]

    async def do(self, verb, **more):
        """Ask, and wait for the answer."""
        return await self.settle(await self.ask(verb, **more))

    async def quiet(self):
        """Until nobody has anything to do."""
        idle = 0
        while idle < 3:  # A part's first step only opens it.
            idle = 0 if any([await party.step() for party in self.parties.values() if party.running]) else idle + 1

    def opened(self, topic):
        """What lies on a topic of the federation, as its signers said it."""
        keys = {name: party.keys.verify_key for name, party in self.parties.items()} | {STRANGER: self.stranger.verify_key}

        def verify(_sender, _signed, _signature):
            assert _sender in keys
            return 1

        records = [record for number in range(topic.partitions) for record in self.log.records(topic.full_name(), number)]
        return [open_record(record.value, topic=topic, federation=FED, verify=verify) for record in records]

    def faults(self):
        """(who saw it, kind, whom it accuses) in the audit."""
        return [(e.message.actor, e.message.action, e.message.accused) for e in self.opened(AUDIT) if e.message.outcome != "sent"]

    def model(self):
        """Both halves' weights."""
        return [party.runs.state.half.weights for party in self.parties.values()]
