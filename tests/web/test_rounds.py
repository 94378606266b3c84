"""Stories about the rounds' read model."""

from __future__ import annotations

from dataclasses import replace

from federation import messages as m
from web.readmodels.attendance import absent, attendance
from web.readmodels.institutions import Institutions
from web.readmodels.models import Models
from web.readmodels.rounds import RECENT_MAX, Rounds
from web.views import TITLES, head_cards, round_rows

FRAUD = m.HeadName.FRAUD
LANE = {"head": FRAUD, "group": 0, "epoch": 1}


def opened(number: int) -> m.RoundOpened:
    return m.RoundOpened(
        **LANE, round=number, ready_digest=bytes(32), model_version=number - 1, model_digest=bytes(32), opened_at_ms=1000 * number,
        masked_deadline_ms=1000 * number + 500, unmask_deadline_ms=1000 * number + 900, survivors_min=3,
    )  # fmt: skip


def masked(number: int, institution: str) -> m.MaskedUpdate:
    return m.MaskedUpdate(
        **LANE,
        round=number,
        institution=institution,
        ready_digest=bytes(32),
        model_digest=bytes(32),
        chunk_digests=(),
        secret_commitment=bytes(32),
        seed_boxes=(),
        share_tags=b"",
    )


def survivors(number: int, *names: str) -> m.SurvivorsNamed:
    named = tuple(m.Survivor(institution=name, update_digest=bytes(32)) for name in names)
    return m.SurvivorsNamed(**LANE, round=number, ready_digest=bytes(32), survivors=named)


def published(number: int, version: int) -> m.ModelPublished:
    return m.ModelPublished(
        **LANE, round=number, version=version, model_digest=bytes(32), base_digest=bytes(32), contributors=("a", "b", "c"), customers=70,
        survivors_digest=bytes(32), sum_digest=bytes(32), noise_sigma=1.0, epsilon=None, published_at_ms=1000 * number + 600,
    )  # fmt: skip


def abandoned(number: int) -> m.RoundAbandoned:
    return m.RoundAbandoned(
        **LANE, round=number, reason=m.AbandonReason.TOO_FEW_UPDATES, detail="2 of 3", at_fault=(), abandoned_at_ms=1000 * number + 500
    )


def fold(*messages: m.Message) -> Rounds:
    rounds = Rounds()
    for message in messages:
        rounds.apply(message)
    return rounds


def test_a_round_goes_from_masking_to_published():
    """Each record of the log moves the row a person sees."""
    rounds = fold(opened(1), masked(1, "a"), masked(1, "b"), masked(1, "c"), survivors(1, "a", "b", "c"), published(1, 1))

    row = next(rounds.newest(1))
    assert (row.state, row.version, row.updates, row.survivors, row.duration_ms) == ("published", 1, ("a", "b", "c"), ("a", "b", "c"), 600)
    assert rounds.heads[FRAUD].published == 1


def test_the_first_decision_counts():
    """A zombie's second outcome of an ended round changes nothing."""
    rounds = fold(opened(1), abandoned(1), published(1, 1), abandoned(1))

    row = next(rounds.newest(1))
    assert (row.state, rounds.heads[FRAUD].published, rounds.heads[FRAUD].abandoned) == ("abandoned", 0, 1)


def test_a_repeated_opening_does_not_start_the_round_again():
    """The same record delivered twice is one round."""
    rounds = fold(opened(1), masked(1, "a"), opened(1))

    assert [row.updates for row in rounds.newest(5)] == [("a",)]


def test_only_the_newest_rounds_are_kept():
    """Memory is bounded however long the federation runs; the counts go on."""
    rounds = fold(*(message for number in range(1, RECENT_MAX + 50) for message in (opened(number), published(number, number))))

    assert len(rounds.heads[FRAUD].recent) == RECENT_MAX
    assert rounds.heads[FRAUD].published == RECENT_MAX + 49


def in_group(message: m.Message, group: int) -> m.Message:
    return replace(message, group=group)


def summed(number: int, group: int) -> m.SumOpened:
    return m.SumOpened(
        head=FRAUD, group=group, epoch=1, round=number, contributors=("a", "b", "c"), customers=40, survivors_digest=bytes(32),
        sum_digest=bytes(32), opened_at_ms=1000 * number + 400,
    )  # fmt: skip


def merged(number: int, version: int, *groups: int) -> m.GroupsMerged:
    sums = tuple(m.MergedSum(group=group, contributors=("a", "b", "c"), customers=40, sum_digest=bytes(32)) for group in groups)
    return m.GroupsMerged(
        head=FRAUD,
        epoch=1,
        round=number,
        version=version,
        model_digest=bytes(32),
        base_digest=bytes(32),
        sums=sums,
        epsilon=None,
        published_at_ms=0,
    )


def test_a_round_of_groups_has_a_row_for_each_and_is_one_round():
    """Each group's row says whether its sum is in the model; a group that fell out does not count as a round without a model."""
    rounds = fold(
        in_group(opened(1), 1), in_group(opened(1), 2), in_group(opened(1), 3), summed(1, 1), in_group(abandoned(1), 2), summed(1, 3)
    )
    before = [(row.group, row.state) for row in rounds.heads[FRAUD].recent]
    for _ in range(2):  # Said twice is said once.
        rounds.apply(merged(1, 1, 1, 3))

    assert before == [(1, "summed"), (2, "abandoned"), (3, "summed")]
    assert [(row.group, row.state, row.version) for row in rounds.heads[FRAUD].recent] == [
        (1, "published", 1),
        (2, "abandoned", None),
        (3, "published", 1),
    ]
    assert (rounds.heads[FRAUD].published, rounds.heads[FRAUD].abandoned, rounds.heads[FRAUD].version) == (1, 0, 1)
    assert [row["head"] for row in round_rows(rounds)] == ["fraud/1", "fraud/2", "fraud/3"]


def test_a_round_of_too_few_groups_says_why():
    """The sums that were opened came to nothing."""
    ended = m.MergeAbandoned(
        head=FRAUD,
        epoch=1,
        round=1,
        reason=m.AbandonReason.TOO_FEW_UPDATES,
        detail="1 of 3 groups opened a sum, 3 needed",
        abandoned_at_ms=0,
    )
    rounds = fold(in_group(opened(1), 1), summed(1, 1), ended)

    assert [(row.state, row.reason) for row in rounds.newest(1)] == [("abandoned", "too_few_updates: 1 of 3 groups opened a sum, 3 needed")]
    assert rounds.heads[FRAUD].abandoned == 1


def test_the_card_counts_members_over_all_groups():
    """Members of one epoch's groups together; the next epoch starts anew."""
    ready = [
        m.EpochReady(
            head=FRAUD, group=group, epoch=epoch, roster_digest=bytes(32),
            members=tuple(m.ReadyMember(institution=name, shares_digest=bytes(32)) for name in names),
        )
        for epoch, group, names in ((1, 1, "abc"), (1, 2, "def"), (2, 1, "acf"))
    ]  # fmt: skip
    card = next(card for card in head_cards(fold(*ready[:2]), Institutions()) if card["title"] == TITLES[FRAUD])

    assert (card["members"], card["groups"], card["epoch"]) == (6, 2, 1)
    assert fold(*ready).heads[FRAUD].members == {1: ("a", "c", "f")}
    assert fold(*ready[:2]).heads[FRAUD].members_of(1, 2) == ("d", "e", "f")


def acked(number: int, institution: str) -> m.SurvivorsAcked:
    return m.SurvivorsAcked(**LANE, round=number, institution=institution, survivors_digest=bytes(32))


def revealed(number: int, institution: str) -> m.SharesRevealed:
    return m.SharesRevealed(**LANE, round=number, institution=institution, survivors_digest=bytes(32), box=b"")


def test_who_held_a_round_up_is_said_of_everybody():
    """Late, missing, gone before the acknowledgement, gone before the shares: each by name; who did all is not accused."""
    rounds = fold(
        opened(1), *(masked(1, name) for name in "abcd"), survivors(1, "a", "b", "c", "d"), masked(1, "e"), *(acked(1, name) for name in "abc"),
        *(revealed(1, name) for name in "ab"), abandoned(1),
    )  # fmt: skip
    parts = {each.institution: each.part.value for each in absent(next(rounds.newest(1)), "abcdef")}

    assert parts == {"c": "no shares", "d": "no ack", "e": "late", "f": "missing"}


def test_nobody_is_accused_while_there_is_time():
    """A round that still waits for updates has nobody missing."""
    row = next(fold(opened(1), masked(1, "a")).newest(1))

    assert absent(row, "abc") == []
    assert [each.part.value for each in attendance(row, "abc")] == ["sent", "awaited", "awaited"]


def test_models_are_kept_by_head_and_the_first_announcement_counts():
    """A zombie's second word about a round changes nothing; a version is found by its number."""
    models = Models()
    for message in (published(1, 1), published(2, 2), replace(published(2, 2), customers=1)):
        models.apply(message)

    newest = models.newest(FRAUD)
    assert newest is not None
    assert (newest.version, newest.customers, models.of(FRAUD, 1) is not None, models.of(FRAUD, 9)) == (2, 70, True, None)
    assert models.newest(m.HeadName.CREDIT) is None
