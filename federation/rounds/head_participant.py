"""An institution's side of a head: its lanes, its lot in the drawing of groups, and what comes of the groups' sums.

Called by `institution_workers`' shell for every record of the head's log, every contribution and every tick.
Never takes part in two groupings at once, and like a lane never says anything that its returned state does not account for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.ids import Lane, RoundId
from federation.limits import threshold_of
from federation.rounds import head_reading, participant
from federation.rounds.effects import (
    ContributionReady,
    Effect,
    Event,
    PartiesKnown,
    PrepareContribution,
    Publish,
    Received,
    Report,
    RoundEnded,
    Tick,
)
from federation.rounds.head_transcript import PLAIN, HeadMessage, HeadTranscript, LaneKey, lane_key, lane_of
from federation.rounds.lots import LOT_BYTES, commitment, groups_possible
from federation.rounds.participant_state import ParticipantSettings, ParticipantState, SumsHelped
from federation.rounds.phases import AGGREGATOR_ALONE_READS
from federation.rounds.reading import check_entitled
from federation.rounds.transcript import LATE, Ending, LaneMessage, Transcript
from federation.secagg.keys import Entropy, Secret, drawn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadParticipantState:
    """Everything; saved as a whole with the offset of the record that led to it (`head_record`)."""

    settings: ParticipantSettings  # Of the lane without groups.
    head: HeadTranscript
    lanes: Mapping[LaneKey, ParticipantState]  # Everybody reads all lanes; secrets are in our own alone.
    lot: Secret | None = None  # Ours in the drawing under way, until it is revealed.
    unadopted: SumsHelped = ()  # In groups that are over: of sums that gave no model.
    now_ms: int | None = None

    def group(self) -> int | None:
        """Which group of the rounds' drawing is ours; None without groups, or without a place in one."""
        return _group_of(self.head.current.groups, self.settings.party) if self.head.current is not None else None

    def lane_of(self, message: LaneMessage | m.MaskedChunk) -> ParticipantState | None:
        """The lane that a message belongs to; None if it is over."""
        return self.lanes.get(lane_key(message))

    def ended(self) -> Ending | None:
        """The round that the newest model came of, or the last without one."""
        return self.head.ended if self.head.merged is not None else self.lanes[PLAIN].transcript.ended


Outcome = tuple[HeadParticipantState, tuple[Effect, ...]]


def initial(settings: ParticipantSettings, *, model_version: int, model_digest: bytes) -> HeadParticipantState:
    """The state of an institution that has read nothing: feed it the head's log from its start.

    `settings`: of the head's lane without groups, number 0. The model is the one everybody starts from, version 0.
    """
    if settings.lane.group != 0:
        raise OwnFault("a head is more than one of its groups")
    head = HeadTranscript(
        federation=settings.federation,
        head=settings.lane.head,
        aggregator=settings.aggregator,
        model_version=model_version,
        model_digest=model_digest,
    )
    plain = participant.initial(settings, model_version=model_version, model_digest=model_digest)
    return HeadParticipantState(settings=settings, head=head, lanes={PLAIN: plain})


def wanted(state: HeadParticipantState) -> PrepareContribution | None:
    """The contribution that an open round still waits for from us, or None. A shell asks again after a restart."""
    return next((asked for lane in state.lanes.values() if (asked := participant.wanted(lane)) is not None), None)


def step(state: HeadParticipantState, event: Event, entropy: Entropy) -> Outcome:
    """One event; OwnFault as `participant.step`."""
    match event:
        case Tick(now_ms):
            lanes = {key: participant.step(lane, event, entropy)[0] for key, lane in state.lanes.items()}
            return replace(state, lanes=lanes, now_ms=max(now_ms, state.now_ms or 0)), ()
        case PartiesKnown():
            lanes = {key: participant.step(lane, event, entropy)[0] for key, lane in state.lanes.items()}
            return replace(state, lanes=lanes), ()
        case ContributionReady(round_id):
            key = lane_of(round_id)
            if key not in state.lanes:
                return state, ()  # The round's drawing is over.
            lane, effects = participant.step(state.lanes[key], event, entropy)
            return replace(state, lanes={**state.lanes, key: lane}), effects
        case Received(message=message) if isinstance(message, AGGREGATOR_ALONE_READS):
            return state, ()
        case Received():
            return _received(state, event, entropy)
        case _:
            raise OwnFault(f"{type(event).__name__} is not for a participant")


# --- records --------------------------------------------------------------------------------------------------------
def _received(state: HeadParticipantState, received: Received, entropy: Entropy) -> Outcome:
    message, before = received.message, state.head
    try:
        if not isinstance(message, HeadMessage):
            return _lane_received(state, received, entropy)
        head = head_reading.fold(before, received)
    except PeerFault as fault:
        if fault.kind == LATE:
            return state, ()
        return state, (Report(fault.kind, fault.accused, fault.detail),)
    if head is before:
        return state, ()
    state, effects = _react(replace(state, head=head), before, message, entropy)
    return _in_step(state), effects


def _lane_received(state: HeadParticipantState, received: Received, entropy: Entropy) -> Outcome:
    message, sender = received.message, received.sender
    if not isinstance(message, LaneMessage):
        raise PeerFault("not_entitled", f"{type(message).__name__} does not belong in the rounds' log", accused=sender)
    key = lane_key(message)
    check_entitled(message, received, state.settings.aggregator, state.head.serials)
    if key not in state.lanes:
        fault = head_reading.unknown_lane(state.head, message, sender)
        if fault is not None:
            raise fault
        return state, ()
    head_reading.check(state.head, _transcripts(state), message, accused=sender)
    before = replace(state.lanes[key], elsewhere=_elsewhere(state, key))
    lane, effects = participant.step(before, received, entropy)
    if not _is_ours(state, key):
        effects = tuple(effect for effect in effects if not isinstance(effect, RoundEnded))  # Another group's round.
    if lane.transcript is before.transcript:
        return state, effects
    head = head_reading.after(state.head, lane.transcript, message)
    nothing_new = head is state.head
    state = replace(state, head=head, lanes={**state.lanes, key: lane})
    if nothing_new:
        return state, effects
    if any(isinstance(effect, RoundEnded) and effect.included for effect in effects):
        state = _adopted(state)
    return _in_step(state), effects


def _react(state: HeadParticipantState, before: HeadTranscript, message: HeadMessage, entropy: Entropy) -> Outcome:
    match message:
        case m.GroupsInvited():
            return _on_invited(state, message, entropy)
        case m.LotSealed():
            return _on_sealed(state, message)
        case m.LotsFixed():
            return _on_fixed(state, message)
        case m.GroupsMerged() | m.MergeAbandoned():
            return _on_round_ended(state, before, message)
        case m.DrawingVoided():
            return replace(state, lot=None), ()
        case _:
            return state, ()


# --- lots -----------------------------------------------------------------------------------------------------------
def _on_invited(state: HeadParticipantState, message: m.GroupsInvited, entropy: Entropy) -> Outcome:
    """Invited, in time and on acceptable terms: draw a lot and seal it."""
    settings = state.settings
    state = replace(state, lot=None)
    if settings.party not in message.invited or _late(state, message.sealed_deadline_ms):
        return state, ()
    problem = settings.terms.problem(message.parameters)
    if problem is not None:
        return state, (Report("bad_parameters", settings.aggregator, problem),)
    unfit = _in_step(state).lanes[PLAIN].unfit([settings.party])
    if unfit is not None:
        return state, (Report("unfit_member", settings.aggregator, unfit),)
    groups = groups_possible(len(message.invited), message.groups)
    if len(message.invited) // groups < settings.terms.members_min:
        detail = f"{groups} groups of {len(message.invited)} institutions are too small for us"
        return state, (Report("small_groups", settings.aggregator, detail),)
    lot = drawn(entropy, LOT_BYTES)
    sealed = m.LotSealed(
        head=message.head, epoch=message.epoch, institution=settings.party, commitment=_commitment(state, message.epoch, lot)
    )
    return replace(state, lot=Secret(lot)), (Publish(sealed),)


def _on_sealed(state: HeadParticipantState, message: m.LotSealed) -> Outcome:
    """Our own lot, read back, must be ours."""
    party, lot = state.settings.party, state.lot
    if message.institution != party or lot is None or message.commitment == _commitment(state, message.epoch, lot.reveal()):
        return state, ()
    return replace(state, lot=None), (Report("own_identity_twice", party, "a sealed lot that is not ours"),)


def _on_fixed(state: HeadParticipantState, message: m.LotsFixed) -> Outcome:
    """The lots that count are settled, ours among them: show it."""
    drawing, lot, party = state.head.drawing(message.epoch), state.lot, state.settings.party
    if drawing is None or lot is None or party not in drawing.counted:
        return replace(state, lot=None), ()
    shown = m.LotRevealed(head=message.head, epoch=message.epoch, institution=party, fixed_digest=drawing.fixed_digest, lot=lot.reveal())
    return replace(state, lot=None), (Publish(shown),)


def _commitment(state: HeadParticipantState, epoch: int, lot: bytes) -> bytes:
    settings = state.settings
    return commitment(lot, federation=settings.federation, head=settings.lane.head, epoch=epoch, institution=settings.party)


def _late(state: HeadParticipantState, deadline_ms: int) -> bool:
    return state.now_ms is not None and state.now_ms >= deadline_ms


# --- the round's end ------------------------------------------------------------------------------------------------
def _on_round_ended(state: HeadParticipantState, before: HeadTranscript, message: m.GroupsMerged | m.MergeAbandoned) -> Outcome:
    """What came of the groups' sums: tell the shell, which rebases its local learning if there is a model."""
    party, group = state.settings.party, state.group()
    round_id = RoundId(Lane(message.head, group or 0), message.epoch, message.round)
    if isinstance(message, m.MergeAbandoned):
        summed = before.gathering is not None and group in before.gathering.sums
        # A group whose round was abandoned has been told so already.
        return state, (RoundEnded(round_id, None, None, included=False),) if summed else ()
    included = any(party in said.contributors for said in message.sums)
    ended = RoundEnded(round_id, message.version, message.model_digest, included=included)
    return (_adopted(state) if included else state), (ended,)


def _adopted(state: HeadParticipantState) -> HeadParticipantState:
    """Our update is in a model: no earlier sum has the same data any more."""
    return replace(state, unadopted=(), lanes={key: replace(lane, unadopted=()) for key, lane in state.lanes.items()})


def _elsewhere(state: HeadParticipantState, key: LaneKey) -> SumsHelped:
    """Sums that gave no model, of the other lanes than this."""
    return (*state.unadopted, *(helped for other, lane in state.lanes.items() if other != key for helped in lane.unadopted))


# --- lanes ----------------------------------------------------------------------------------------------------------
def _in_step(state: HeadParticipantState) -> HeadParticipantState:
    """With a lane for every group that is drawn and none for those that are over, all with the head's model and count of rounds."""
    head, lanes = state.head, {}
    for key in head.lane_keys():
        lane = state.lanes.get(key) or group_lane(state.settings, head, key)
        transcript = head.in_step(lane.transcript)
        lanes[key] = lane if transcript is lane.transcript else replace(lane, transcript=transcript)
        if key not in state.lanes:
            plain = state.lanes[PLAIN]
            lanes[key] = replace(lanes[key], now_ms=state.now_ms, acceptable=plain.acceptable, sealing_keys=plain.sealing_keys)
    gone = [helped for key, lane in state.lanes.items() if key not in lanes for helped in lane.unadopted]
    recent = [helped for helped in (*state.unadopted, *gone) if head.round_next - helped[0] <= state.settings.terms.difference_rounds]
    return replace(state, lanes=lanes, unadopted=tuple(recent))


def group_lane(settings: ParticipantSettings, head: HeadTranscript, key: LaneKey) -> ParticipantState:
    """Our side of a group's lane, of which nothing has been read yet."""
    epoch, group = key
    drawing = head.drawing(epoch)
    members = len(drawing.groups[group - 1]) if drawing is not None and group > 0 else 0
    # A group that lost a third of those who were drawn is not the group that was drawn.
    terms = replace(settings.terms, members_min=max(settings.terms.members_min, threshold_of(members)))
    settings = replace(settings, lane=Lane(head.head, group), terms=terms)
    return ParticipantState(settings=settings, transcript=head.lane(key))


def _is_ours(state: HeadParticipantState, key: LaneKey) -> bool:
    drawing = state.head.drawing(key[0])
    return key == PLAIN or (drawing is not None and _group_of(drawing.groups, state.settings.party) == key[1])


def _group_of(groups: tuple[tuple[str, ...], ...], party: str) -> int | None:
    return next((group for group, names in enumerate(groups, start=1) if party in names), None)


def _transcripts(state: HeadParticipantState) -> dict[LaneKey, Transcript]:
    return {key: lane.transcript for key, lane in state.lanes.items()}
