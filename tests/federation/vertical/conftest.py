"""Two parties and nothing between them: the cores of a bank and a partner, with small keys.

Collected by pytest.
Never used outside tests: 512-bit keys hide nothing, and a recorded seed is no secret."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from federation import messages as m
from federation.errors import PeerFault
from federation.vertical import bank, partner
from federation.vertical.effects import Abandoned, Heard, Names, Parties, Report, Say, StartIntersection, StartTraining, Table
from federation.vertical.phases import BankPhase, PartnerPhase
from federation.vertical.run import State
from federation.vertical.scorecard import Rows

BITS = 512
ANSWER_BY_MS = 60_000


def seeded(seed: int | str) -> Callable[[int], bytes]:
    """Entropy that is the same for the same seed."""
    calls = 0

    def entropy(count: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(f"{seed}/{calls}".encode()).digest(count)

    return entropy


class Two:
    """A bank and a partner; what they say lies in `said`, in order, and what came of it in `effects`."""

    report, abandoned = Report, Abandoned

    def __init__(self, seed: int | str = 1, *, bits: int = BITS) -> None:
        parties = Parties("fed", "bank", "partner", bits=bits)
        self.states = {"bank": State(parties, BankPhase.IDLE), "partner": State(parties, PartnerPhase.IDLE)}
        self.entropy = {name: seeded(f"{seed}/{name}") for name in self.states}
        self.said: list[tuple[str, Say]] = []
        self.effects: dict[str, list[object]] = {"bank": [], "partner": []}
        self.names: tuple[str, ...] = ()
        self.table: Table | None = None
        self.most = 10_000
        self.ridge = 1.0
        self.twist: Callable[[str, Say], list[m.Message]] = lambda _sender, said: [said.message]

    def step(self, name: str, event: object) -> None:
        if name == "bank":
            self.states[name], effects = bank.step(self.states[name], event, entropy=self.entropy[name], answer_by_ms=ANSWER_BY_MS)
        else:
            self.states[name], effects = partner.step(
                self.states[name], event, entropy=self.entropy[name], answer_by_ms=ANSWER_BY_MS, ridge=self.ridge
            )
        self.effects[name] += effects
        self.said += [(name, effect) for effect in effects if isinstance(effect, Say)]

    def own(self, message: m.Message) -> object:
        if isinstance(message, m.IntersectionAsked):
            return Names(self.names, self.most)
        return self.table if isinstance(message, m.TrainingAsked) else None

    def heard(self, said: Say) -> Heard:
        return Heard(said.run, said.sequence, said.message, self.own(said.message))

    def run(self) -> None:
        """Deliver what is said until nobody says anything; faults are kept as effects of the hearer."""
        at = 0
        while at < len(self.said):
            sender, said = self.said[at]
            hearer = "partner" if sender == "bank" else "bank"
            for message in self.twist(sender, said):
                try:
                    self.step(hearer, self.heard(replace(said, message=message)))
                except PeerFault as fault:
                    self.effects[hearer].append(fault)
            at += 1
        self.said_all = list(self.said)
        self.said.clear()

    def intersect(self, ours, theirs, policy, *, run=1, length=0):
        self.names = tuple(theirs)
        self.step("bank", StartIntersection(run, tuple(ours), policy, length))
        self.run()

    def train(self, ours, theirs, labels, *, held_out, run=2, warm=False, passes_max=30, bits=None, prior=-1.0, rows_min=5, ridge=1.0):
        """`ours`, `theirs`: 0/1 matrices; `bits`: (bank's, partner's) bytes for a hidden alignment."""
        self.ridge = ridge
        mine, yours = bits or (b"", b"")
        self.table = Table(rows_of(theirs), theirs.shape[1] + 1, rows_min, yours)
        table = Table(rows_of(ours), ours.shape[1] + 1, rows_min, mine)
        self.step(
            "bank",
            StartTraining(
                run, table, bytes(labels.astype(np.uint8).tolist()), b"", run - 1 if bits else 0, held_out, passes_max, warm, ridge, prior
            ),
        )
        self.run()

    def of(self, name: str, kind: type) -> list:
        return [effect for effect in self.effects[name] if isinstance(effect, kind)]


def rows_of(matrix) -> Rows:
    return Rows.of(tuple((np.flatnonzero(row) + 1).tolist()) for row in matrix)


def population(rows: int, seed: int = 3):
    """Bank's and partner's 0/1 columns (one-hot features) and labels that depend on both."""
    rng = np.random.Generator(np.random.PCG64(seed))
    ours = np.concatenate([np.eye(3)[rng.integers(0, 3, rows)], np.eye(4)[rng.integers(0, 4, rows)]], axis=1)
    theirs = np.concatenate([np.eye(4)[rng.integers(0, 4, rows)], np.eye(2)[rng.integers(0, 2, rows)]], axis=1)
    score = -1.0 + ours @ rng.normal(0, 0.8, 7) + theirs @ rng.normal(0, 1.0, 6)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-score))).astype(np.uint8)
    return ours, theirs, labels


@pytest.fixture
def two() -> Two:
    return Two()
