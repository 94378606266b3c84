"""An institution's side of a head as one record for its own database, and back.

Called by `institution_workers`' shell, which saves the record with its offsets before it speaks.
Never sends anything: the record holds secrets, and erased ones are not in it."""

from __future__ import annotations

from dataclasses import replace

from federation import messages as m
from federation.errors import OwnFault
from federation.rounds import head_reading
from federation.rounds.head_participant import HeadParticipantState, group_lane
from federation.rounds.head_transcript import PLAIN, Drawing, Gathering, HeadTranscript, Merged
from federation.rounds.participant_record import (
    ending,
    ending_saved,
    from_record,
    serials_saved,
    serials_seen,
    sums_helped,
    sums_saved,
    to_record,
)
from federation.rounds.participant_state import ParticipantSettings
from federation.rounds.phases import DrawingPhase, GatheringPhase
from federation.secagg.keys import Secret


def to_head_record(state: HeadParticipantState) -> m.HeadSaved:
    """The record: everything but the settings, which the configuration gives again."""
    head = state.head
    return m.HeadSaved(
        head=head.head,
        party=state.settings.party,
        now_ms=state.now_ms,
        model_version=head.model_version,
        model_digest=head.model_digest,
        model_known=head.model_known,
        epoch_first=head.epoch_first,
        epoch_last=head.epoch_last,
        round_next=head.round_next,
        opened_at_ms=head.opened_at_ms,
        current=_drawing_saved(head.current),
        pending=_drawing_saved(head.pending),
        gathering=_gathering_saved(head.gathering),
        ended=ending_saved(head.ended),
        merged=head.merged.message if head.merged is not None else None,
        merged_terms=head.merged.terms if head.merged is not None else None,
        lot=state.lot.reveal() if state.lot is not None else None,
        unadopted=sums_saved(state.unadopted),
        serials=serials_saved(head.serials),
        lanes=tuple(m.LaneSaved(epoch=epoch, state=to_record(lane)) for (epoch, _), lane in sorted(state.lanes.items())),
    )


def from_head_record(settings: ParticipantSettings, record: m.HeadSaved) -> HeadParticipantState:
    """The state that `to_head_record` was given; OwnFault if it is another party's or another head's."""
    if (record.party, record.head) != (settings.party, settings.lane.head):
        raise OwnFault(f"the saved state is of {record.party}, {record.head.value}")
    head = HeadTranscript(
        federation=settings.federation,
        head=record.head,
        aggregator=settings.aggregator,
        model_version=record.model_version,
        model_digest=record.model_digest,
        model_known=record.model_known,
        epoch_first=record.epoch_first,
        epoch_last=record.epoch_last,
        round_next=record.round_next,
        opened_at_ms=record.opened_at_ms,
        gathering=_gathering(record.gathering),
        ended=ending(record.ended),
        serials=serials_seen(record.serials),
        merged=Merged(record.merged, record.merged_terms) if record.merged is not None and record.merged_terms is not None else None,
    )
    head = replace(head, current=_drawing(head, record.current), pending=_drawing(head, record.pending))
    lanes = {}
    for saved in record.lanes:
        key = (saved.epoch, saved.state.group)
        own = settings if key == PLAIN else group_lane(settings, head, key).settings
        lanes[key] = from_record(own, saved.state)
    return HeadParticipantState(
        settings=settings,
        head=head,
        lanes=lanes,
        lot=Secret(record.lot) if record.lot is not None else None,
        unadopted=sums_helped(record.unadopted),
        now_ms=record.now_ms,
    )


def _drawing_saved(drawing: Drawing | None) -> m.DrawingSaved | None:
    if drawing is None:
        return None
    return m.DrawingSaved(
        invited=drawing.invited,
        digest=drawing.digest,
        sealed=tuple(m.LotListed(institution=name, commitment=said) for name, said in sorted(drawing.sealed.items())),
        fixed=drawing.fixed,
        fixed_digest=drawing.fixed_digest,
        revealed=tuple(
            m.LotRevealed(head=drawing.invited.head, epoch=drawing.number, institution=name, fixed_digest=drawing.fixed_digest, lot=lot)
            for name, lot in sorted(drawing.revealed.items())
        ),
    )


def _drawing(head: HeadTranscript, saved: m.DrawingSaved | None) -> Drawing | None:
    if saved is None:
        return None
    revealed = {shown.institution: shown.lot for shown in saved.revealed}
    drawing = Drawing(
        invited=saved.invited,
        digest=saved.digest,
        phase=DrawingPhase.SEALING if saved.fixed is None else DrawingPhase.REVEALING,
        sealed={listed.institution: listed.commitment for listed in saved.sealed},
        fixed=saved.fixed,
        fixed_digest=saved.fixed_digest,
        revealed=revealed,
    )
    if saved.fixed is None or len(revealed) < len(saved.fixed.lots):
        return drawing
    return replace(drawing, phase=DrawingPhase.DRAWN, groups=head_reading.groups_of(head, drawing, revealed))


def _gathering_saved(gathering: Gathering | None) -> m.GatheringSaved | None:
    if gathering is None:
        return None
    return m.GatheringSaved(
        epoch=gathering.epoch,
        round=gathering.round,
        opened=tuple(sorted(gathering.opened)),
        ended=tuple(sorted(gathering.ended)),
        sums=tuple(said for _, said in sorted(gathering.sums.items())),
    )


def _gathering(saved: m.GatheringSaved | None) -> Gathering | None:
    if saved is None:
        return None
    return Gathering(
        epoch=saved.epoch,
        round=saved.round,
        phase=GatheringPhase.MERGING if saved.opened == saved.ended else GatheringPhase.SUMMING,
        opened=frozenset(saved.opened),
        ended=frozenset(saved.ended),
        sums={said.group: said for said in saved.sums},
    )
