"""The table of phases: complete, drawn, and the only thing that permits a message."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from federation import messages as m
from federation.errors import PeerFault
from federation.rounds import phases, reading
from federation.rounds.effects import ContributionReady, Received
from federation.rounds.phases import (
    AGGREGATOR_SAYS,
    DRAWING_MOVES,
    EPOCH_MOVES,
    GATHERING_MOVES,
    INSTITUTION_SAYS,
    MEMBER_MOVES,
    ROUND_MOVES,
    DrawingPhase,
    GatheringPhase,
    MemberStage,
    RoundPhase,
)
from federation.rounds.transcript import Transcript
from streams.topology import ROUNDS
from tests.sim.table import AGGREGATOR, Table


def test_the_document_is_drawn_from_the_table():
    """docs/phases.md is what `rendered` gives; render it again after a change of the table."""
    assert (Path(__file__).parents[3] / "docs" / "phases.md").read_text() == phases.rendered()


def test_every_message_of_the_log_has_a_speaker():
    """What rounds.v1 carries is exactly what the aggregator or an institution says."""
    assert set(ROUNDS.carries) == {*AGGREGATOR_SAYS, *INSTITUTION_SAYS}


def test_every_message_is_permitted_somewhere():
    """No message that nobody may ever say."""
    tables = (EPOCH_MOVES, ROUND_MOVES, DRAWING_MOVES, GATHERING_MOVES)
    permitted = {word for moves in tables for row in moves.values() for word in row}

    assert permitted >= {*AGGREGATOR_SAYS, *INSTITUTION_SAYS}


def test_every_round_can_end():
    """From every phase of an open round there is a way out that needs nobody but the aggregator."""
    for phase in RoundPhase:
        if phase is not RoundPhase.IDLE:
            assert ROUND_MOVES[phase][m.RoundAbandoned] is RoundPhase.IDLE
    assert GATHERING_MOVES[GatheringPhase.MERGING][m.MergeAbandoned] is GatheringPhase.IDLE
    assert all(DRAWING_MOVES[phase][m.DrawingVoided] is DrawingPhase.VOID for phase in DrawingPhase if phase is not DrawingPhase.VOID)


def test_a_second_mask_is_not_in_the_table():
    """Once masked, no stage of a member takes a contribution."""
    taking = {stage for stage, row in MEMBER_MOVES.items() if ContributionReady in row}

    assert taking == {MemberStage.PREPARING}


def _whole_round() -> dict[type, Received]:
    """One record of each kind, out of a first round that ran to its end."""
    table = Table("ABCDE")
    table.until_ended()
    opened = table.said(m.RoundOpened)[0].message
    assert isinstance(opened, m.RoundOpened)
    abandoned = m.RoundAbandoned(
        head=opened.head, group=0, epoch=opened.epoch, round=opened.round, reason=m.AbandonReason.BAD_SUM, detail="", at_fault=(),
        abandoned_at_ms=0,
    )  # fmt: skip
    return {type(received.message): received for received in [*table.log, Received(AGGREGATOR, abandoned, bytes(32), 1)]}


def _fault(transcript: Transcript, received: Received) -> PeerFault | None:
    try:
        reading.fold(transcript, received)
    except PeerFault as fault:
        return fault
    return None


@pytest.mark.parametrize("phase", [phase for phase in RoundPhase if phase is not RoundPhase.IDLE])
def test_a_message_that_the_table_does_not_permit_changes_nothing(phase: RoundPhase):
    """In every phase of a round, every absent move is refused and names its sender."""
    table = Table("ABCDE")  # The same seed, hence the same history, word for word.
    while table.coordinator.transcript.round is None or table.coordinator.transcript.round.phase is not phase:
        if table.unread:
            table.deliver()
        else:
            table.tick()
    transcript = table.coordinator.transcript
    of_rounds = {kind for row in ROUND_MOVES.values() for kind in row} - {m.RoundOpened, phases.AckQuorum}
    for kind, received in _whole_round().items():
        if kind not in of_rounds or kind in {m.ModelPublished, m.SumOpened}:
            continue
        fault = _fault(transcript, Received(received.sender, received.message, b"\x01" * 32, 1))
        if kind in ROUND_MOVES[phase]:
            assert fault is None or fault.kind != "out_of_phase"
        else:
            assert fault is not None
            assert fault.kind in {"out_of_phase", "late", "second_decision", "two_records"}
            assert fault.accused == received.sender
    assert table.coordinator.transcript is transcript


def test_a_round_does_not_open_inside_a_round():
    """The aggregator may not open the next round before it has ended this one."""
    table = Table("ABCDE")
    opened = table.until(m.RoundOpened)
    table.deliver()
    assert isinstance(opened.message, m.RoundOpened)
    with pytest.raises(PeerFault, match="RoundOpened while waiting for masked updates"):
        reading.fold(table.coordinator.transcript, Received(AGGREGATOR, replace(opened.message, round=2), bytes(32), 1))
