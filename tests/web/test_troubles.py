"""The operator's first question, answered for injected faults: which institution, since when, why."""

from __future__ import annotations

from dataclasses import replace

from federation import messages as m
from tests.web.test_lag import STATUS
from tests.web.test_rounds import FRAUD, LANE, abandoned, masked, opened, published, survivors
from web.readmodels.institutions import Institutions
from web.readmodels.rounds import Rounds
from web.readmodels.troubles import troubles
from web.views import trouble_rows

MEMBERS = "abcd"


def federation(*messages: m.Message) -> Rounds:
    rounds = Rounds()
    ready = m.EpochReady(
        **LANE, roster_digest=bytes(32), members=tuple(m.ReadyMember(institution=n, shares_digest=bytes(32)) for n in MEMBERS)
    )
    for message in (ready, *messages):
        rounds.apply(message)
    return rounds


def fine(number: int, *late: str) -> list[m.Message]:
    """A round that gave a model; `late`: who was too late for it."""
    punctual = [name for name in MEMBERS if name not in late]
    updates = [masked(number, name) for name in punctual]
    return [opened(number), *updates, survivors(number, *punctual), *(masked(number, name) for name in late), published(number, number)]


def test_a_slow_institution_is_named():
    """Late again and again, since the first of those rounds."""
    found = troubles(federation(*fine(1), *fine(2, "b"), *fine(3, "b"), *fine(4, "b")), Institutions(), 5_000)

    assert [(each.institution, each.since_ms, each.why) for each in found] == [("b", 2_000, "late in each of its last 3 rounds")]


def test_once_is_no_trouble():
    """Anybody is late once; and who is back is not named."""
    assert troubles(federation(*fine(1), *fine(2, "b")), Institutions(), 5_000) == []
    assert troubles(federation(*fine(1, "b"), *fine(2, "b"), *fine(3)), Institutions(), 5_000) == []


def test_a_stuck_consumer_and_a_dead_worker_are_named():
    """The one that has been so for longer comes first."""
    institutions = Institutions()
    for second in range(30):
        stuck = {"events_read": 7, "lag_records": 20, "lag_ms": 1_000 * second}
        institutions.apply(replace(STATUS, at_ms=1_000 * second, **stuck))
        if second < 5:
            institutions.apply(replace(STATUS, institution="dead", at_ms=1_000 * second))
    rows = trouble_rows(Rounds(), institutions, 30_000)

    assert [(row["institution"], row["state"]) for row in rows] == [("a", "err"), ("dead", "err")]
    assert "has read nothing" in rows[0]["why"]
    assert "says nothing" in rows[1]["why"]


def test_rounds_that_come_to_nothing_say_why():
    """The reason of the newest, since the first of them."""
    found = troubles(
        federation(*fine(1), opened(2), *(masked(2, n) for n in "ab"), abandoned(2), opened(3), abandoned(3)), Institutions(), 5_000
    )

    assert (found[0].institution, found[0].head, found[0].since_ms) == ("", FRAUD, 2_000)
    assert found[0].why == "the last 2 rounds came to nothing; the newest: too_few_updates: 2 of 3"
    assert [(each.institution, each.why) for each in found[1:]] == [
        ("c", "missing in each of its last 2 rounds"), ("d", "missing in each of its last 2 rounds"),
    ]  # fmt: skip
