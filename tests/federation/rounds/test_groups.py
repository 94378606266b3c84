"""A head in groups: drawn by lot, summed apart, merged by a robust rule, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from federation import messages as m
from federation.ids import digest_of
from federation.rounds import head_reading, merging
from federation.rounds.effects import Received, model_digest
from federation.rounds.head_coordinator_state import Grouping
from federation.rounds.head_transcript import Merged
from streams.codec import encode
from tests.sim.head_table import MEAN, MEDIAN, NAMES, HeadTable
from tests.sim.table import AGGREGATOR, Table

TRIMMED = Grouping(groups=3, rule=m.GroupRule.TRIMMED_MEAN, trim=1, groups_min=3)


def until(table: HeadTable, kind: type[m.Message], count: int = 1) -> Any:
    """Go on until everybody has read that many more records of this kind; the last of them."""
    found = None
    for _ in range(count):
        found = table.until(kind).message
        table.deliver()
    return found


def without(table: HeadTable, *silent: str) -> None:
    """These contribute nothing from now on."""
    contribute = table.contribute
    table.contribute = lambda name, wanted: None if name in silent else contribute(name, wanted)


def said_otherwise(table: HeadTable, sender: str, kind: type[m.Message], change: Callable[[Any], m.Message]) -> None:
    """Go on until `sender` says a message of this kind, and let it say another in its place."""
    while table.until(kind).sender != sender:
        table.deliver()
    found = table.unread[0]
    message = change(found.message)
    forged = Received(sender, message, digest_of(encode(message)), 1)
    table.unread[0], table.log[table.log.index(found)] = forged, forged


def kinds(table: HeadTable) -> set[tuple[str, str]]:
    return {(report.kind, report.accused) for _, report in table.reports}


# --- what is meant to happen -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("grouping", "made"),
    [
        (MEDIAN, lambda means: np.median(means, axis=0)),
        (TRIMMED, lambda means: np.median(means, axis=0)),  # One off each end of three.
        (MEAN, lambda means: np.mean(means, axis=0)),  # Equal groups of as many customers.
    ],
)
def test_one_model_out_of_three_sums(grouping: Grouping, made: Callable[[list[np.ndarray]], np.ndarray]):
    """Each group opens its own sum; the rule over their means is the next model of all, and all go on from it."""
    table = HeadTable(NAMES, grouping=grouping)
    first = until(table, m.GroupsMerged)
    second = until(table, m.GroupsMerged)

    for merged in (first, second):
        step = table.vectors[merged.model_digest] - table.vectors[merged.base_digest]
        assert np.allclose(step, made(table.plain_means(merged)))
    assert {name for said in first.sums for name in said.contributors} == set(NAMES)
    assert {(state.head.model_version, state.head.model_digest) for state in table.members.values()} == {(2, second.model_digest)}
    assert all(ended.included for _, ended in table.ended)
    assert len(table.ended) == 2 * len(NAMES)
    assert table.reports == []


def test_everybody_works_out_the_same_groups_and_the_next_drawing_mixes_them():
    """Groups of three out of nine lots; the drawing after has other lots and other groups."""
    table = HeadTable(NAMES)
    until(table, m.GroupsMerged)
    first = table.groups()
    until(table, m.GroupsMerged, 2)
    second = table.groups()
    announced = {(said.epoch, said.group): said.invited for said in (received.message for received in table.said(m.EpochAnnounced))}

    assert {state.head.current.groups for state in (table.coordinator, *table.members.values())} == {second}
    assert sorted(name for group in first for name in group) == list(NAMES)
    assert first != second
    assert all(announced[1, group] == names for group, names in enumerate(first, start=1))


def test_a_group_that_fails_falls_out_and_goes_on_from_the_others_model():
    """Its round is abandoned, the others are merged, and the next round has all of them again."""
    table = HeadTable(NAMES, grouping=MEAN, rounds_per_epoch=8)
    until(table, m.GroupsMerged)
    lost = table.groups()[1]
    contribute = table.contribute
    without(table, lost[0])
    merged = until(table, m.GroupsMerged)
    table.contribute = contribute
    abandoned = [received.message for received in table.said(m.RoundAbandoned)]
    ended = {name: end for name, end in table.ended if end.model_version == 2}
    again = until(table, m.GroupsMerged)

    assert [said.group for said in merged.sums] == [1, 3]
    assert [(said.group, said.round, said.reason) for said in abandoned] == [(2, 2, m.AbandonReason.TOO_FEW_UPDATES)]
    assert {name for name, end in ended.items() if not end.included} == set(lost)
    assert {state.head.model_digest for state in table.members.values()} == {again.model_digest}
    assert [said.group for said in again.sums] == [1, 2, 3]
    assert kinds(table) == set()


def test_with_too_few_groups_there_is_no_model():
    """A median of two is none: the round ends with a reason, and the next one makes a model."""
    table = HeadTable(NAMES, rounds_per_epoch=8)
    until(table, m.GroupsMerged)
    contribute = table.contribute
    without(table, table.groups()[0][0])
    ended = until(table, m.MergeAbandoned)
    told = {name: end for name, end in table.ended if end.round_id.round == 2}
    table.contribute = contribute
    merged = until(table, m.GroupsMerged)

    assert (ended.reason, ended.detail) == (m.AbandonReason.TOO_FEW_UPDATES, "2 of 3 groups opened a sum, 3 needed")
    assert set(told) == set(NAMES)
    assert all(end.model_version is None and not end.included for end in told.values())
    assert (merged.round, merged.version) == (3, 2)


def test_one_poisoned_group_moves_the_mean_and_not_the_median():
    """One institution sends the largest update it may, in one direction: the mean follows it, the median stays among the honest."""

    def lives(grouping: Grouping, poisoner: str | None) -> np.ndarray:
        table = HeadTable(NAMES, grouping=grouping)
        honest = table.contribute

        def contribute(name: str, wanted: Any) -> np.ndarray | None:
            values = honest(name, wanted)
            if name == poisoner:
                values = np.full(4, 577, np.uint32)  # A clip norm of 1,000 quanta, in every coordinate alike.
                values[-1] = 100
            return values

        table.contribute = contribute
        merged = until(table, m.GroupsMerged)
        others = [mean for said, mean in zip(merged.sums, table.plain_means(merged), strict=True) if poisoner not in said.contributors]
        vector = table.vectors[merged.model_digest]
        return vector, np.min(others, axis=0), np.max(others, axis=0)

    mean, _, _ = lives(MEAN, None)
    poisoned_mean, _, _ = lives(MEAN, "E")
    poisoned_median, least, most = lives(MEDIAN, "E")

    assert np.all(poisoned_mean - mean > 0.005)
    assert np.all(least - 1e-9 <= poisoned_median)
    assert np.all(poisoned_median <= most + 1e-9)


def test_a_head_without_groups_is_its_one_lane_word_for_word():
    """Minded as a head, the lane's log is the same, byte for byte."""
    plain, head = Table("ABCDE"), HeadTable("ABCDE", grouping=None)
    for table in (plain, head):
        table.until_ended(5)

    assert [(said.sender, said.digest) for said in plain.log] == [(said.sender, said.digest) for said in head.log]
    assert plain.ended == head.ended


# --- restarts ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "kind",
    [
        m.GroupsInvited, m.LotSealed, m.LotsFixed, m.LotRevealed, m.EpochAnnounced, m.EpochShares, m.RoundOpened, m.MaskedUpdate,
        m.SurvivorsNamed, m.SharesRevealed, m.SumOpened, m.GroupsMerged,
    ],
)  # fmt: skip
def test_everybody_restarts_anywhere(kind: type[m.Message]):
    """Members from their saved state, the aggregator from the log, after a record of any kind: rounds go on as if nothing had been."""
    table, other = HeadTable(NAMES), HeadTable(NAMES)
    until(table, kind)
    until(other, kind)
    for name in NAMES:
        table.restart_member(name)
    table.restart_coordinator()
    for each in (table, other):
        while len(each.said(m.GroupsMerged)) < 3:
            until(each, m.GroupsMerged)

    assert [said.message.sums for said in table.said(m.GroupsMerged)[:3]] == [said.message.sums for said in other.said(m.GroupsMerged)[:3]]
    assert kinds(table) == set()


# --- lots --------------------------------------------------------------------------------------------------------------
def test_who_seals_a_lot_and_does_not_show_it_is_named_and_left_out_once():
    """Nobody gets groups out of a drawing in which somebody could still choose; the next one goes without it, a later one with it."""
    table = HeadTable("ABCDEFGHIJ", rounds_per_epoch=2)
    table.silent = lambda sender, message: sender == "J" and isinstance(message, m.LotRevealed) and message.epoch == 1
    voided = until(table, m.DrawingVoided)
    merged = until(table, m.GroupsMerged)
    invited = {said.message.epoch: said.message.invited for said in table.said(m.GroupsInvited)}
    until(table, m.GroupsMerged, 4)

    assert (voided.epoch, voided.at_fault) == (1, ("J",))
    assert "J" not in invited[2]
    assert merged.epoch == 2
    assert "J" in {name for said in table.said(m.GroupsMerged)[-1].message.sums for name in said.contributors}


def test_another_lot_than_was_sealed_is_refused():
    """Who has seen the others' lots cannot change its own any more."""
    table = HeadTable(NAMES)
    said_otherwise(table, "E", m.LotRevealed, lambda said: replace(said, lot=bytes(32)))
    voided = until(table, m.DrawingVoided)

    assert kinds(table) == {("bad_lot", "E")}
    assert voided.at_fault == ("E",)


@pytest.mark.parametrize("kind", [m.LotSealed, m.LotRevealed])
def test_two_lots_under_one_name(kind: type[m.Message]):
    """The first counts, and the second is held against its sender."""
    table = HeadTable(NAMES)
    found = table.until(kind)
    change = {"commitment": bytes(32)} if kind is m.LotSealed else {"lot": bytes(32)}
    table.deliver()
    table.say(found.sender, replace(found.message, **change))
    until(table, m.GroupsMerged)

    assert kinds(table) == {("two_records", found.sender)}


@pytest.mark.parametrize(
    "change",
    [
        lambda said: replace(said, lots=(*said.lots[:-1], replace(said.lots[-1], commitment=bytes(32)))),
        lambda said: replace(said, lots=said.lots[::-1]),
        lambda said: replace(said, lots=(*said.lots, m.LotListed(institution="Z", commitment=bytes(32)))),
        lambda said: replace(said, lots=said.lots[:8]),  # Enough for two groups only.
    ],
    ids=["another lot", "not sorted", "a stranger", "too few"],
)
def test_lots_that_the_log_does_not_bear_out_are_not_shown(change: Callable[[Any], m.Message]):
    """Nobody shows its lot to an aggregator that fixes others than were sealed."""
    table = HeadTable(NAMES)
    said_otherwise(table, AGGREGATOR, m.LotsFixed, change)
    table.drain()

    assert kinds(table) == {("forged_lots", AGGREGATOR)}
    assert table.said(m.LotRevealed) == []


def test_a_late_lot_is_late():
    """A lot sealed after they were fixed is passed over, and its institution is not in the drawing."""
    table = HeadTable("ABCDEFGHIJ")
    found = table.until(m.LotSealed)
    late = next(received for received in table.unread if received.sender == "J")
    table.unread.remove(late)
    table.log.remove(late)
    fixed = until(table, m.LotsFixed)
    table.log.append(late)
    table.unread.append(late)
    table.drain()

    assert found.sender != "J"
    assert "J" not in {listed.institution for listed in fixed.lots}
    assert {report.kind for _, report in table.reports} == {"late"}


def test_an_institution_that_finds_the_groups_too_small_stays_away():
    """Terms of its own, whatever the aggregator proposes: it draws no lot and says why."""
    table = HeadTable(NAMES, terms={"members_min": 4})
    until(table, m.DrawingVoided)

    assert kinds(table) == {("small_groups", AGGREGATOR)}
    assert table.said(m.LotSealed) == []


def test_too_few_institutions_for_the_groups_draw_nothing():
    """Eight of nine come: two groups, where three are needed."""
    table = HeadTable(NAMES)
    table.silent = lambda sender, _: sender == "I"
    voided = until(table, m.DrawingVoided)

    assert voided.reason == "8 institutions are enough for 2 groups only"
    assert voided.at_fault == ()


# --- a dishonest aggregator --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        lambda said: replace(said, invited=tuple(sorted({*said.invited[:2], *(set("ABC") - set(said.invited[:2]))}))[:3]),
        lambda said: replace(said, invited=said.invited[:2]),
        lambda said: replace(said, parameters=replace(said.parameters, clip_quanta=900)),
    ],
    ids=["others", "fewer", "other terms"],
)
def test_a_group_that_was_not_drawn_sets_up_no_keys(change: Callable[[Any], m.Message]):
    """The aggregator cannot put together whom it likes, nor on other terms than those the lots were drawn on."""
    table = HeadTable(NAMES)
    forged: list[int] = []

    def bend(said: m.EpochAnnounced) -> m.EpochAnnounced:
        other = change(said)
        forged.append(said.group)
        return other if other.invited != said.invited or other.parameters != said.parameters else replace(said, invited=("X", "Y", "Z"))

    said_otherwise(table, AGGREGATOR, m.EpochAnnounced, bend)
    table.drain()

    assert kinds(table) == {("forged_group", AGGREGATOR)}
    assert all(said.message.group not in forged for said in table.said(m.EpochKeys))


def test_a_group_that_lost_a_third_sets_up_no_keys():
    """A roster below the threshold of those drawn is too small for its members, even where three are left."""
    table = HeadTable("ABCDEFGHIJKLMNO", grouping=Grouping(groups=3, rule=m.GroupRule.MEDIAN, trim=0, groups_min=3))  # Groups of five.
    until(table, m.LotRevealed, 15)
    group = table.coordinator.head.pending.groups[0]
    lost = set(group[:2])
    table.silent = lambda sender, message: sender in lost and isinstance(message, m.EpochKeys)
    closed = until(table, m.EpochClosed)

    assert (closed.group, closed.reason) == (1, "keys of 3 institutions only")
    honest = table.members[group[4]].lanes[1, 1]
    assert honest.settings.terms.members_min == 4


def test_a_merged_model_comes_of_all_the_sums():
    """Leaving a group's sum out would let the aggregator choose who is in the middle."""
    table = HeadTable(NAMES, grouping=MEAN)
    said_otherwise(table, AGGREGATOR, m.GroupsMerged, lambda said: replace(said, sums=said.sums[:2]))
    table.deliver()

    assert kinds(table) == {("bad_model", AGGREGATOR)}
    assert {state.head.model_version for state in table.members.values()} == {0}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"base_digest": bytes(32)},
    ],
)
def test_a_merged_model_follows_from_the_newest(change: dict[str, Any]):
    """Another version or another base is refused."""
    table = HeadTable(NAMES)
    said_otherwise(table, AGGREGATOR, m.GroupsMerged, lambda said: replace(said, **change))
    table.deliver()

    assert kinds(table) == {("bad_model", AGGREGATOR)}


def test_a_second_end_of_a_round_is_refused():
    """The first in the log's order is the model; another one, or none, comes too late."""
    table = HeadTable(NAMES)
    merged = until(table, m.GroupsMerged)
    table.say(AGGREGATOR, merged)
    table.drain()
    assert table.reports == []
    table.say(AGGREGATOR, replace(merged, model_digest=bytes(32)))
    table.drain()

    assert kinds(table) == {("second_decision", AGGREGATOR)}
    assert {state.head.model_digest for state in table.members.values()} == {merged.model_digest}


def test_no_model_while_a_group_is_in_the_round():
    """A merge, or its abandonment, before the last group has ended is out of phase."""
    table = HeadTable(NAMES)
    until(table, m.SumOpened)
    sum_ = table.said(m.SumOpened)[0].message
    for early in (
        m.MergeAbandoned(head=sum_.head, epoch=1, round=1, reason=m.AbandonReason.BAD_SUM, detail="", abandoned_at_ms=0),
        m.GroupsMerged(
            head=sum_.head,
            epoch=1,
            round=1,
            version=1,
            model_digest=bytes(32),
            base_digest=bytes(32),
            sums=(),
            epsilon=None,
            published_at_ms=0,
        ),
    ):
        with pytest.raises(head_reading.PeerFault, match="waiting for the groups' sums"):
            head_reading.fold(table.members["A"].head, Received(AGGREGATOR, early, bytes(32), 1))


def test_a_group_says_no_model_and_a_head_without_groups_no_sum():
    """A sum becomes a model only together with the others'."""
    table = HeadTable(NAMES)

    def as_model(said: m.SumOpened) -> m.ModelPublished:
        base = table.members["A"].head
        return m.ModelPublished(
            head=said.head, group=said.group, epoch=said.epoch, round=said.round, version=1, model_digest=bytes(32),
            base_digest=base.model_digest, contributors=said.contributors, customers=said.customers,
            survivors_digest=said.survivors_digest, sum_digest=said.sum_digest, noise_sigma=0.0, epsilon=None, published_at_ms=0,
        )  # fmt: skip

    said_otherwise(table, AGGREGATOR, m.SumOpened, as_model)
    table.deliver()
    assert kinds(table) == {("bad_model", AGGREGATOR)}

    plain = HeadTable("ABCDE", grouping=None)

    def as_sum(said: m.ModelPublished) -> m.SumOpened:
        return m.SumOpened(
            head=said.head, group=0, epoch=said.epoch, round=said.round, contributors=said.contributors, customers=said.customers,
            survivors_digest=said.survivors_digest, sum_digest=said.sum_digest, opened_at_ms=0,
        )  # fmt: skip

    said_otherwise(plain, AGGREGATOR, m.ModelPublished, as_sum)
    plain.deliver()
    assert kinds(plain) == {("bad_sum", AGGREGATOR)}


def test_no_round_of_all_beside_a_round_of_groups():
    """A sum over everybody and the groups' sums of the same data would tell apart whoever is missing in one of them."""
    table = HeadTable("ABCDEFGHI", grouping=None)
    until(table, m.EpochReady)
    plain = table.until(m.RoundOpened)
    table.unread.remove(plain)
    table.log.remove(plain)
    # The same institutions, drawn into groups by the same aggregator, which keeps its round of all ready.
    table.grouping = MEDIAN
    table.restart_coordinator()
    until(table, m.RoundOpened)
    table.say(AGGREGATOR, plain.message)
    table.drain()

    assert ("out_of_phase", AGGREGATOR) in kinds(table)
    assert {said.message.group for said in table.said(m.MaskedUpdate)} == {1, 2, 3}


def test_sums_of_two_groupings_are_compared():
    """Who helped to open a sum that gave no model refuses one of another group that differs from it by one institution."""
    table = HeadTable("ABCDEFGHIJKL")  # Groups of four.
    named = table.until(m.SurvivorsNamed).message
    names = [survivor.institution for survivor in named.survivors]
    # As if, before the groups were drawn, its update had been in a sum with all of these but one.
    table.members[names[0]] = replace(table.members[names[0]], unadopted=((1, tuple(names[:3])),))
    until(table, m.GroupsMerged)

    assert [(name, report.kind) for name, report in table.reports] == [(names[0], "differencing")]
    assert names[0] not in {said.sender for said in table.said(m.SurvivorsAcked) if said.message.round == 1}


def test_sums_that_gave_no_model_are_remembered_in_the_next_groups():
    """A sum opened in vain in the last round of a drawing counts for those who helped, whatever group they are drawn into next."""
    table = HeadTable(NAMES, rounds_per_epoch=2)
    until(table, m.GroupsMerged)
    contribute, silent = table.contribute, table.groups()[0]
    without(table, *silent)
    until(table, m.MergeAbandoned)
    table.contribute = contribute
    opened = {said.message.contributors for said in table.said(m.SumOpened) if said.message.round == 2}
    until(table, m.RoundOpened)
    helped = {name: state.unadopted for name, state in table.members.items()}
    until(table, m.GroupsMerged)

    assert {survivors for kept in helped.values() for _, survivors in kept} == opened
    assert {name for name, kept in helped.items() if not kept} == set(silent)
    assert all(state.unadopted == () for state in table.members.values())


# --- what members check of a merged model ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def merged_model() -> tuple[Merged, np.ndarray, dict[bytes, np.ndarray], np.ndarray]:
    """A merged model, its base, its sums and its vector."""
    table = HeadTable(NAMES)
    message = until(table, m.GroupsMerged, 2)
    terms = next(said.message for said in table.said(m.GroupsInvited) if said.message.epoch == message.epoch)
    return Merged(message, terms), table.vectors[message.base_digest], table.sums, table.vectors[message.model_digest]


def test_a_merged_model_is_what_the_rule_makes_of_the_sums(merged_model):
    """Worked out again by a member, to the last bit."""
    assert merging.problem(*merged_model) is None


def test_another_model_than_the_rule_makes_is_seen(merged_model):
    """A shifted vector with a digest to match, another rule, another sum, another base: each is seen."""
    merged, base, sums, vector = merged_model
    shifted = vector + 1e-12
    claimed = replace(merged, message=replace(merged.message, model_digest=model_digest(shifted)))
    in_mean = replace(merged, terms=replace(merged.terms, rule=m.GroupRule.MEAN))
    first = merged.message.sums[0].sum_digest
    bent = {**sums, first: sums[first] + np.uint32(1)}

    assert "makes of the sums of groups 1, 2, 3" in str(merging.problem(claimed, base, sums, shifted))
    assert merging.problem(merged, base, sums, shifted) is not None
    assert merging.problem(in_mean, base, sums, vector) is not None
    assert merging.problem(merged, base, bent, vector) == "not the sum that was named"
    assert merging.problem(merged, base + 1, sums, vector) == "not the model that the round started from"


def test_a_sum_from_which_no_mean_comes_is_named(merged_model):
    """Without customers there is nothing to divide by."""
    merged, base, sums, vector = merged_model
    empty = np.zeros(4, np.uint32)
    said = replace(merged.message.sums[0], sum_digest=digest_of(empty.tobytes()))
    claimed = replace(merged, message=replace(merged.message, sums=(said, *merged.message.sums[1:])))

    assert "too_few_customers" in str(merging.problem(claimed, base, {**sums, said.sum_digest: empty}, vector))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"groups_min": 2}, "groups_min"),
        ({"groups": 2, "groups_min": 3}, "groups_min"),
        ({"groups": 90, "groups_min": 90}, "groups_min"),
        ({"trim": 1}, "trim"),
        ({"rule": m.GroupRule.TRIMMED_MEAN}, "trim"),
        ({"rule": m.GroupRule.TRIMMED_MEAN, "trim": 2, "groups_min": 4}, "groups_min"),
        ({"server_step": 0.0}, "server_step"),
        ({"server_step": float("inf")}, "server_step"),
    ],
)
def test_terms_under_which_no_groups_are_drawn(change: dict[str, Any], why: str):
    """A rule that fewer groups than it needs could bend, or numbers that mean nothing."""
    table = HeadTable(NAMES)
    terms = table.until(m.GroupsInvited).message
    assert head_reading.terms_problem(terms) is None
    problem = head_reading.terms_problem(replace(terms, **change))

    assert problem is not None
    assert why in problem
