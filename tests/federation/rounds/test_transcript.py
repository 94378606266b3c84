"""The one reading of the log: each record that could be forged in one detail, forged in that detail, is refused for that detail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from federation import messages as m
from federation.errors import PeerFault
from federation.rounds import reading
from federation.rounds.effects import Received
from federation.rounds.transcript import Transcript
from tests.sim.table import AGGREGATOR, Table

Change = Callable[[Any], m.Message]
OTHER = bytes(range(32))


@cache
def before(kind: type[m.Message], count: int = 1) -> tuple[Transcript, Received]:
    """The transcript when the `count`-th record of this kind is about to be read, and that record."""
    table = Table("ABCDE", rounds_per_epoch=3, rounds_left_min=2)
    found = table.until(kind, count=count)
    return table.coordinator.transcript, found


def fault(transcript: Transcript, sender: str, message: m.Message) -> str:
    with pytest.raises(PeerFault) as refused:
        reading.fold(transcript, Received(sender, message, OTHER, 1))
    assert refused.value.accused == sender
    return refused.value.kind


FORGED: list[tuple[type[m.Message], str, Change]] = [
    (m.EpochAnnounced, "bad_invitation", lambda said: replace(said, invited=("A", "B"))),
    (m.EpochAnnounced, "bad_invitation", lambda said: replace(said, invited=("B", "A", "C"))),
    (m.EpochAnnounced, "bad_invitation", lambda said: replace(said, invited=("A", "A", "B"))),
    (m.EpochAnnounced, "bad_invitation", lambda said: replace(said, invited=tuple(sorted((AGGREGATOR, "A", "B"))))),
    (m.EpochAnnounced, "bad_invitation", lambda said: replace(said, invited=tuple(f"{at:04}" for at in range(257)))),
    (m.EpochAnnounced, "bad_invitation", lambda said: replace(said, rounds=0)),
    (m.EpochAnnounced, "bad_invitation", lambda said: replace(said, rounds=65)),
    (m.EpochAnnounced, "bad_invitation", lambda said: replace(said, first_round=0)),
    (m.EpochAnnounced, "bad_invitation", lambda said: replace(said, shares_deadline_ms=said.keys_deadline_ms - 1)),
    (m.EpochAnnounced, "bad_parameters", lambda said: replace(said, parameters=replace(said.parameters, clip_quanta=0))),
    (m.EpochAnnounced, "bad_parameters", lambda said: replace(said, parameters=replace(said.parameters, chunk_length=2**17 + 1))),
    (m.EpochAnnounced, "stale", lambda said: replace(said, epoch=0)),
    (m.EpochKeys, "bad_key", lambda said: replace(said, round_keys=said.round_keys[:-1])),
    (m.EpochKeys, "bad_key", lambda said: replace(said, round_keys=said.round_keys[:32] * 3)),
    (m.EpochKeys, "bad_key", lambda said: replace(said, channel_key=bytes(32))),
    (m.EpochKeys, "stale", lambda said: replace(said, epoch=9)),
    (m.EpochShares, "split_view", lambda said: replace(said, roster_digest=OTHER)),
    (m.EpochShares, "bad_box", lambda said: replace(said, boxes=said.boxes[:-1])),
    (m.EpochShares, "bad_box", lambda said: replace(said, boxes=said.boxes + bytes(1))),
    (m.EpochShares, "bad_share", lambda said: replace(said, share_tags=said.share_tags[:-1])),
    (m.EpochReady, "forged_ready", lambda said: replace(said, roster_digest=OTHER)),
    (m.RoundOpened, "bad_round", lambda said: replace(said, round=4)),
    (m.RoundOpened, "stale", lambda said: replace(said, round=0)),
    (m.RoundOpened, "stale", lambda said: replace(said, epoch=2)),
    (m.RoundOpened, "wrong_digest", lambda said: replace(said, ready_digest=OTHER)),
    (m.RoundOpened, "bad_round", lambda said: replace(said, masked_deadline_ms=said.opened_at_ms - 1)),
    (m.RoundOpened, "bad_round", lambda said: replace(said, unmask_deadline_ms=said.masked_deadline_ms - 1)),
    (m.RoundOpened, "bad_round", lambda said: replace(said, survivors_min=2)),
    (m.RoundOpened, "bad_round", lambda said: replace(said, survivors_min=6)),
    (m.RoundOpened, "wrong_digest", lambda said: replace(said, model_digest=OTHER)),
    (m.MaskedUpdate, "split_view", lambda said: replace(said, ready_digest=OTHER)),
    (m.MaskedUpdate, "split_view", lambda said: replace(said, model_digest=OTHER)),
    (m.MaskedUpdate, "bad_shape", lambda said: replace(said, chunk_digests=said.chunk_digests[:1])),
    (m.MaskedUpdate, "bad_box", lambda said: replace(said, seed_boxes=said.seed_boxes[1:])),
    (m.MaskedUpdate, "bad_box", lambda said: replace(said, seed_boxes=said.seed_boxes + bytes(1))),
    (m.MaskedUpdate, "bad_share", lambda said: replace(said, share_tags=said.share_tags[:-1])),
    (m.MaskedUpdate, "stale", lambda said: replace(said, round=2)),
    (m.SurvivorsNamed, "wrong_digest", lambda said: replace(said, ready_digest=OTHER)),
    (m.SurvivorsNamed, "bad_survivors", lambda said: replace(said, survivors=said.survivors[::-1])),
    (m.SurvivorsNamed, "stale", lambda said: replace(said, epoch=2)),
    (m.SurvivorsAcked, "split_view", lambda said: replace(said, survivors_digest=OTHER)),
    (m.SharesRevealed, "split_view", lambda said: replace(said, survivors_digest=OTHER)),
    (m.ModelPublished, "bad_model", lambda said: replace(said, version=2)),
    (m.ModelPublished, "bad_model", lambda said: replace(said, base_digest=OTHER)),
    (m.ModelPublished, "bad_model", lambda said: replace(said, contributors=said.contributors[:4])),
    (m.ModelPublished, "bad_model", lambda said: replace(said, survivors_digest=OTHER)),
    (m.ModelPublished, "stale", lambda said: replace(said, round=2)),
]


@pytest.mark.parametrize(
    ("kind", "expected", "forge"), FORGED, ids=[f"{kind.__name__} {number}" for number, (kind, _, _) in enumerate(FORGED)]
)
def test_one_detail_forged(kind: type[m.Message], expected: str, forge: Change):
    """The record as it was said is taken; with one detail forged it is refused, its sender named, for that detail."""
    transcript, received = before(kind)
    assert reading.fold(transcript, received) is not transcript
    # Before the first invitation nothing is read but an invitation.
    assert fault(transcript, received.sender, forge(received.message)) == expected


def test_two_set_ups_at_once():
    """While one epoch is being set up, no other is: its announcement is refused, whatever its number."""
    transcript, _ = before(m.EpochRoster)
    pending = transcript.pending
    assert pending is not None

    assert fault(transcript, AGGREGATOR, replace(pending.announced, epoch=pending.number + 1)) == "out_of_phase"
    assert fault(transcript, AGGREGATOR, replace(pending.announced, rounds=2)) == "second_decision"


def test_an_epoch_announced_again():
    """An epoch that is in use, or was, is not set up a second time."""
    transcript, _ = before(m.RoundOpened, 2)
    current = transcript.running()

    assert fault(replace(transcript, pending=None), AGGREGATOR, current.announced) == "stale"


def test_an_invitation_to_rounds_that_are_over():
    """Keys for rounds that have all been opened would be drawn for nothing."""
    transcript, _ = before(m.RoundOpened, 3)
    announced = transcript.running().announced
    late = replace(announced, epoch=9, first_round=1, rounds=transcript.round_next - 1)

    assert fault(replace(transcript, pending=None), AGGREGATOR, late) == "bad_invitation"
    assert reading.fold(replace(transcript, pending=None), Received(AGGREGATOR, replace(late, rounds=late.rounds + 1), OTHER, 1))


def test_a_round_is_not_opened_twice():
    """A number that was used is not used again, in the same epoch or in another."""
    transcript, received = before(m.RoundOpened, 2)

    assert fault(transcript, AGGREGATOR, replace(received.message, round=1)) == "stale"


def test_a_model_that_nobody_published():
    """Once the log has named a model, no opening can bring in another."""
    transcript, received = before(m.RoundOpened, 2)

    assert fault(transcript, AGGREGATOR, replace(received.message, model_version=9, model_digest=OTHER)) == "wrong_digest"


def test_an_epoch_is_not_closed_under_an_open_round():
    """The round must end first; then the epoch can be closed."""
    transcript, _ = before(m.SurvivorsNamed)
    closed = m.EpochClosed(head=transcript.lane.head, group=0, epoch=1, reason="")
    assert fault(transcript, AGGREGATOR, closed) == "out_of_phase"
    between, _ = before(m.RoundOpened, 2)

    assert reading.fold(between, Received(AGGREGATOR, closed, OTHER, 1)).current is None


def test_what_does_not_belong_in_the_log():
    """A message of another topic is refused, whoever says it."""
    transcript, _ = before(m.RoundOpened)
    chunk = m.ModelChunk(head=transcript.lane.head, version=1, chunk=0, chunks=1, model_digest=OTHER, body=b"")

    assert fault(transcript, "A", chunk) == "not_entitled"


def test_a_reader_from_the_middle_accuses_nobody():
    """Before the first invitation that it reads, and of epochs before that, a reader passes over everything."""
    fresh = Table("ABCDE").coordinator.transcript
    for kind in (m.EpochKeys, m.RoundOpened, m.SharesRevealed, m.ModelPublished):
        assert reading.fold(fresh, before(kind)[1]) is fresh
    second = reading.fold(fresh, Received(AGGREGATOR, replace(before(m.EpochAnnounced)[1].message, epoch=2), OTHER, 1))

    assert reading.fold(second, before(m.EpochKeys)[1]) is second
