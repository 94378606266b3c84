"""Whatever a party signs, however malformed, a core neither crashes nor moves on it: it refuses and names the sender."""

from __future__ import annotations

import dataclasses
import random
from functools import cache, partial
from typing import Any

import pytest

from federation import messages as m
from federation.rounds import coordinator, head_coordinator, head_participant, participant
from federation.rounds.effects import Received, Report, Tick
from federation.rounds.phases import AGGREGATOR_SAYS, INSTITUTION_SAYS
from tests.sim.head_table import NAMES, HeadTable
from tests.sim.table import AGGREGATOR, Stream, Table

PER_KIND = 60
NUMBERS = (-(2**63), -1, 0, 1, 2, 7, 2**31, 2**63 - 1)


def changed(value: Any, rng: random.Random) -> Any:  # noqa: PLR0911  # One line per type.
    """Another value of the same type, as nasty as its type allows."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice([*NUMBERS, value + 1, value - 1])
    if isinstance(value, float):
        return rng.choice([0.0, -1.0, 1e308, -1e308, 5e-324, value * 2, value / 2])
    if isinstance(value, str) and type(value) is str:
        return rng.choice(["", "Z", "A", "B" * 200, "\x00", AGGREGATOR, value + " "])
    if isinstance(value, bytes):
        return rng.choice([b"", bytes(32), rng.randbytes(32), value[:-1], value + b"\x00", value[::-1], rng.randbytes(len(value))])
    if isinstance(value, tuple):
        bent = [*value[:-1], changed(value[-1], rng)] if value else []
        return rng.choice([(), value[:1], value[::-1], value + value, tuple(bent), value[:-1]])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return mutated(value, rng)
    return value


def mutated(message: Any, rng: random.Random) -> Any:
    """The message with one or two fields changed."""
    names = [field.name for field in dataclasses.fields(message) if field.name not in {"head", "group"}]
    chosen = rng.sample(names, min(len(names), rng.choice([1, 1, 2])))
    return dataclasses.replace(message, **{name: changed(getattr(message, name), rng) for name in chosen})


@cache
def moments(in_groups: bool = False) -> tuple[tuple[Any, Any, Received], ...]:
    """Before each record of some rounds: both sides' states and the record they are about to read."""
    table = HeadTable(NAMES) if in_groups else Table("ABCDE")
    found = []
    while len(found) < (260 if in_groups else 80):
        if table.unread:
            found.append((table.coordinator, table.members["A"], table.unread[0]))
            table.deliver()
        else:
            table.tick()
    return tuple(found)


def readings(state: Any) -> tuple[Any, ...]:
    """What a side has read: of a lane its transcript, of a head that of every lane besides its own."""
    return (state.transcript,) if hasattr(state, "transcript") else (state.head, *(lane.transcript for lane in state.lanes.values()))


def settle(state: Any) -> Any:
    """What a record may not move when it is refused: everything but what the side itself proposes meanwhile."""
    lanes = [state] if hasattr(state, "transcript") else state.lanes.values()
    return readings(state), [(getattr(lane, "secrets", None), getattr(lane, "stage", None)) for lane in lanes]


def kinds(*, in_groups: bool) -> list[type]:
    """Every kind of record in the moments."""
    return sorted({type(received.message) for _, _, received in moments(in_groups)}, key=lambda kind: kind.__name__)


CASES = [(kind, in_groups) for in_groups in (False, True) for kind in kinds(in_groups=in_groups)]


@pytest.mark.parametrize(("kind", "in_groups"), CASES, ids=lambda case: case.__name__ if isinstance(case, type) else str(case))
def test_a_bent_record_is_refused_or_taken_whole(kind: type[m.Message], in_groups: bool):
    """At every moment of a round, from the right sender and from a wrong one: no exception; a refusal changes nothing and names the sender."""
    rng = random.Random(kind.__name__)
    coordinates, participates = (head_coordinator, head_participant) if in_groups else (coordinator, participant)
    forms = [received for _, _, received in moments(in_groups) if type(received.message) is kind]
    for number in range(PER_KIND):
        aggregator, member, _ = rng.choice(moments(in_groups))
        original = rng.choice(forms)
        sender = original.sender if rng.random() < 0.8 else rng.choice(["A", "B", "Z", AGGREGATOR])
        received = Received(sender, mutated(original.message, rng), rng.randbytes(32), 1)
        for before, step in (
            (aggregator, coordinates.step),
            (member, partial(participates.step, entropy=Stream("fuzz", number))),
        ):
            after, effects = step(before, received)  # type: ignore[arg-type]
            reports = [effect for effect in effects if isinstance(effect, Report)]
            if reports and all(now is then for now, then in zip(readings(after), readings(before), strict=True)):
                assert settle(after) == settle(before)
                assert reports[0].accused == sender
            # What was taken in can be lived with: time passes, and nothing breaks.
            step(after, Tick(10_000_000_000))  # type: ignore[arg-type]


def test_every_kind_is_bent():
    """The moments above hold every message that both sides say, so each is bent."""
    endings = {m.EpochClosed, m.RoundAbandoned, m.DrawingVoided, m.MergeAbandoned}

    assert {*kinds(in_groups=False), *kinds(in_groups=True)} >= {*AGGREGATOR_SAYS, *INSTITUTION_SAYS} - endings
