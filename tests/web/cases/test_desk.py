"""Officers at work over a real database: who gets a case, what is told to the local model, what the audit has."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from sqlalchemy import select

from audit.auditor import AuditUnavailable
from federation.errors import PeerFault
from federation.messages import HeadName, Verdict
from tests.web.cases.office import Office, flagged, office
from web.cases.case import HOUR_MS, Case, CaseError, Outcome, State, Step
from web.cases.desk import Decision
from web.cases.filters import Filters
from web.cases.priority import priority
from web.database.tables import METADATA

FALSE_ALARM = Decision(Outcome.FALSE_POSITIVE, "customer_confirms", "She was there herself.")


@pytest_asyncio.fixture
async def bank() -> AsyncIterator[Office]:
    async with office() as made:
        yield made


async def only_case(bank: Office) -> Case:
    (case,), _ = await bank.store.listed(Filters(state="all"), "", bank.clock.ms)
    return case


async def taken(bank: Office, who: int = 0) -> Case:
    case = await bank.desk.take_next(bank.officers[who])
    assert case is not None
    return case


async def test_fifty_take_all_cases_and_none_twice(bank: Office):
    """Whoever asks gets the most urgent case that nobody has; in the end everybody has worked and nothing is left."""
    many = 2_000 if "RIVERBANK_NIGHTLY" in os.environ else 300
    for number in range(many):
        await bank.flag(f"customer-{number}", f"e-{number}", amount=float(number % 89 + 1))
    got: list[list[str]] = []

    async def work(by: str) -> None:
        mine: list[str] = []
        got.append(mine)
        while (case := await bank.desk.take_next(by)) is not None:
            assert case.assignee == by
            mine.append(case.id)

    await asyncio.gather(*(work(bank.officers[number % 2]) for number in range(50)))

    all_got = [case_id for mine in got for case_id in mine]
    assert (len(all_got), len(set(all_got))) == (many, many)
    assert min(len(mine) for mine in got) > 0
    assert len([entry for entry in bank.audit.entries if entry[0] == "case_claim"]) == many


async def test_of_two_portals_that_give_one_case_one_does(bank: Office):
    """What one process remembers of itself does not count: the database decides."""
    await bank.flag("anna", "e-1")
    case = await only_case(bank)
    outcomes = await asyncio.gather(*(bank.desk.claim(case, by) for by in bank.officers), return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Case", "CaseError"]


async def test_events_of_a_customer_are_one_case_until_it_is_closed(bank: Office):
    """A second event folds in, a repeated record changes nothing, and after the close a new case is opened."""
    await bank.flag("anna", "e-1", amount=10.0, log_odds=0.0)
    await bank.flag("anna", "e-2", amount=30.0, log_odds=2.0)
    await bank.flag("anna", "e-2", amount=30.0, log_odds=2.0)
    await bank.flag("anna", "a-1", head=HeadName.CREDIT)
    folded = next(case for case in await bank.store.of_customer("anna") if case.head is HeadName.FRAUD)
    await bank.desk.decide(await bank.desk.claim(folded, bank.officers[0]), bank.officers[0], FALSE_ALARM)
    await bank.flag("anna", "e-3")
    cases = await bank.store.of_customer("anna")

    assert (folded.amount, round(folded.risk, 3), folded.version) == (40.0, 0.881, 1)
    assert sorted((case.head, case.state) for case in cases) == [
        (HeadName.CREDIT, State.OPEN), (HeadName.FRAUD, State.CLOSED), (HeadName.FRAUD, State.OPEN),
    ]  # fmt: skip


async def test_a_restart_reads_on_where_the_cases_end(bank: Office):
    """The place is saved with the case, and records that are none are passed over."""
    await bank.flag("anna", "e-1")
    bad = bank.record(replace(flagged("anna", "e-2"), points=(1.0,)))
    with pytest.raises(PeerFault, match="not a flagged event"):
        await bank.intake.take(bad)

    assert (await bank.store.position(bad.topic, 0)).offset == 2
    assert (await only_case(bank)).amount == 120.0


async def test_a_false_positive_is_told_once(bank: Office):
    """One record per event, with the same id however often it is sent; closed is closed."""
    await bank.flag("anna", "e-1")
    await bank.flag("anna", "e-2")
    mine = await taken(bank)
    closed = await bank.desk.decide(mine, bank.officers[0], FALSE_ALARM)
    with pytest.raises(CaseError, match="changed"):  # The form sent twice.
        await bank.desk.decide(mine, bank.officers[0], FALSE_ALARM)
    await bank.feedback.send()

    assert closed.state is State.CLOSED
    assert [(told.subject, told.verdict) for told in bank.told] == [("e-1", Verdict.FALSE_POSITIVE), ("e-2", Verdict.FALSE_POSITIVE)]
    assert len({told.event_id for told in bank.told}) == 2


async def test_a_decision_stands_while_the_log_is_away_and_is_told_later(bank: Office):
    """Nothing is lost, nothing is told twice."""
    await bank.flag("anna", "e-1")
    mine = await taken(bank)
    bank.log_away = True
    closed = await bank.desk.decide(mine, bank.officers[0], FALSE_ALARM)
    waiting = await bank.store.unsent(10)
    bank.log_away = False
    sent = [await bank.feedback.send(), await bank.feedback.send()]

    assert (closed.state, len(waiting), sent, len(bank.told)) == (State.CLOSED, 1, [1, 0], 1)


async def test_what_is_inconclusive_teaches_nothing(bank: Office):
    """A guess would be learned as the truth."""
    await bank.flag("anna", "e-1")
    await bank.desk.decide(await taken(bank), bank.officers[0], Decision(Outcome.INCONCLUSIVE, "not_reached", "Rang three times."))

    assert bank.told == []


async def test_large_amounts_need_four_eyes(bank: Office):
    """The second officer is another; until then the model hears nothing; who disagrees sends it back."""
    first, second = bank.officers
    await bank.flag("anna", "e-1", amount=5_000.0)
    proposed = await bank.desk.decide(await taken(bank), first, FALSE_ALARM)
    with pytest.raises(CaseError, match="own decision"):
        await bank.desk.approve(proposed, first)
    told_before = list(bank.told)
    back = await bank.desk.send_back(proposed, second, "Who says so?")
    proposed = await bank.desk.decide(back, first, FALSE_ALARM)
    closed = await bank.desk.approve(proposed, second)

    assert (proposed.state, told_before) == (State.DECIDED, [])
    assert (closed.state, closed.decided_by, closed.approved_by) == (State.CLOSED, first, second)
    assert len(bank.told) == 1


async def test_more_of_the_same_undoes_a_decision_that_waits(bank: Office):
    """The second officer agrees to what the first saw, not to more."""
    await bank.flag("anna", "e-1", amount=5_000.0)
    proposed = await bank.desk.decide(await taken(bank), bank.officers[0], FALSE_ALARM)
    await bank.flag("anna", "e-2")
    with pytest.raises(CaseError, match="changed"):
        await bank.desk.approve(proposed, bank.officers[1])

    assert (await only_case(bank)).state is State.ASSIGNED
    assert bank.told == []


async def test_nothing_is_done_that_the_audit_does_not_take(bank: Office):
    """Neither a claim nor a decision; and what was taken back can be tried again."""
    await bank.flag("anna", "e-1")
    bank.audit.away = True
    with pytest.raises(AuditUnavailable):
        await bank.desk.take_next(bank.officers[0])
    untouched = await only_case(bank)
    bank.audit.away = False

    assert untouched.state is State.OPEN
    assert (await taken(bank)).id == untouched.id


async def test_a_snoozed_case_comes_back(bank: Office):
    """To whoever had it, when its time has come."""
    await bank.flag("anna", "e-1")
    asleep = await bank.desk.snooze(await taken(bank), bank.officers[0], 24, "Waits for the client's call.")
    early = await bank.store.wake(bank.clock.ms + 23 * HOUR_MS)
    late = await bank.store.wake(bank.clock.ms + 24 * HOUR_MS)
    awake = await only_case(bank)

    assert (asleep.state, early, late, awake.state, awake.assignee) == (State.SNOOZED, 0, 1, State.ASSIGNED, bank.officers[0])


async def test_the_queue_is_in_the_order_that_the_page_names(bank: Office):
    """Risk times amount times urgency, as the database computes it and as Python does."""
    for number, (amount, log_odds) in enumerate([(10.0, 3.0), (900.0, -1.0), (0.0, 4.0), (300.0, 0.0)]):
        await bank.flag(f"customer-{number}", f"e-{number}", amount=amount, log_odds=log_odds)
        bank.clock.ms += HOUR_MS
    await bank.flag("late", "e-9", amount=280.0, log_odds=0.0)
    listed, many = await bank.store.listed(Filters(), "", bank.clock.ms)
    weighed = [priority(case.risk, case.amount, case.opened_at_ms, case.due_at_ms, bank.clock.ms) for case in listed]

    assert many == 5
    assert weighed == sorted(weighed, reverse=True)


async def test_filters_and_their_address_say_the_same(bank: Office):
    """What is in the address is what is shown, and an address of nonsense is the usual queue."""
    await bank.flag("anna-1", "e-1", amount=5.0)
    await bank.flag("bert-1", "e-2", amount=500.0)
    await taken(bank)
    filters = Filters(state="assigned", owner="me", head=HeadName.FRAUD, amount_min=100.0, customer="bert", sort="due")
    again = Filters.of(dict(pair.split("=") for pair in filters.query().split("&")))
    mine, _ = await bank.store.listed(again, bank.officers[0], bank.clock.ms)
    others, _ = await bank.store.listed(again, bank.officers[1], bank.clock.ms)

    assert again == filters
    assert ([case.customer for case in mine], list(others)) == (["bert-1"], [])
    assert Filters.of({"state": "x", "page": "-1", "customer": "an", "sort": "'", "amount_min": "1e9"}) == Filters()


async def test_every_line_of_history_has_its_entry_in_the_audit(bank: Office):
    """In the same order, by the same people; free text stays with the officers."""
    await bank.flag("anna", "e-1")
    case = await bank.desk.step(await taken(bank), bank.officers[0], Step.CONTACTED, "Rang the client.")
    await bank.desk.decide(case, bank.officers[0], FALSE_ALARM)
    lines = [line for line in reversed(await bank.store.history_of(case.id)) if line.actor is not None]

    assert [(f"case_{line.move}", line.actor) for line in lines] == [(action, actor) for action, actor, _ in bank.audit.entries]
    assert "Rang" not in str(bank.audit.entries)


async def test_an_offer_is_answered_once(bank: Office):
    """The same product twice is one answer."""
    await bank.flag("anna", "e-1")
    case = await only_case(bank)
    answers = [await bank.desk.answer_offer(case, bank.officers[0], "funds", verdict) for verdict in (Verdict.ACCEPTED, Verdict.DECLINED)]

    assert (answers, [told.verdict for told in bank.told]) == ([True, False], [Verdict.ACCEPTED])


async def test_an_erased_customer_has_no_cases_any_more(bank: Office):
    """The worker's tombstone takes his cases, open and closed, with their events, history and untold feedback; others' stay; a restart reads on behind it."""
    bank.log_away = True
    await bank.flag("leaving-7", "e1")
    await bank.desk.decide(await taken(bank), bank.officers[0], FALSE_ALARM)
    await bank.flag("leaving-7", "e2")
    await bank.flag("staying-8", "e3")
    tombstone = replace(bank.record(flagged("leaving-7", "e9")), value=None)
    await bank.intake.take(tombstone)
    left, _ = await bank.store.listed(Filters(state="all"), "", bank.clock.ms)
    async with bank.identity.database.read() as connection:
        rows = [str(row) for table in METADATA.sorted_tables for row in (await connection.execute(select(table))).all()]

    assert [case.customer for case in left] == ["staying-8"]
    assert not [row for row in rows if "leaving-7" in row or "'e1'" in row or "'e2'" in row]
    assert (await bank.store.position(tombstone.topic, 0)).offset == tombstone.offset + 1
