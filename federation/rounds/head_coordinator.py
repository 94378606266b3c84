"""The aggregator's side of a head: its lanes, the drawings of groups, and the step from one event to the next.

Called by `aggregator_worker`'s shell for every record of the head's log, every answer and every tick.
Never takes its own decision for a fact: a decision is a record, and counts when it is read back from the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.ids import Lane
from federation.limits import COHORT_MIN, threshold_of
from federation.rounds import coordinator, head_reading
from federation.rounds.coordinator_state import CoordinatorSettings, CoordinatorState
from federation.rounds.effects import (
    ChunksRefused,
    ChunksSummed,
    Effect,
    Event,
    InvitedChanged,
    KeysChanged,
    ModelLoaded,
    Received,
    Report,
    SumLoaded,
    Tick,
    Vector,
    WakeAt,
    model_digest,
)
from federation.rounds.head_coordinator_state import Grouping, HeadCoordinatorState
from federation.rounds.head_decisions import head_decisions_of
from federation.rounds.head_transcript import PLAIN, HeadMessage, HeadTranscript, LaneKey, lane_key, lane_of
from federation.rounds.reading import check_entitled
from federation.rounds.transcript import LaneMessage, Transcript
from federation.rounds.unmasking import sum_digest

_HEAD: LaneKey = (-1, -1)  # Among the times to look again: the head's own.
Outcome = tuple[HeadCoordinatorState, tuple[Effect, ...]]


def initial(
    settings: CoordinatorSettings, grouping: Grouping | None, *, invited: Mapping[str, int], model_version: int, model: Vector
) -> HeadCoordinatorState:
    """The state before the log is read. `model` is the vector of `model_version`: the newest one known, or version 0.

    `settings`: of the head's lane without groups, number 0. Feed the head's log from its start, or from the EpochAnnounced or
    GroupsInvited in use; nothing is decided before the first Tick.
    """
    if settings.lane.group != 0:
        raise OwnFault("a head is more than one of its groups")
    head = HeadTranscript(
        federation=settings.federation,
        head=settings.lane.head,
        aggregator=settings.party,
        model_version=model_version,
        model_digest=model_digest(model),
    )
    members = dict(sorted(invited.items()))
    plain = coordinator.initial(settings, invited=members, model_version=model_version, model=model)
    state = HeadCoordinatorState(settings=settings, grouping=grouping, members=members, head=head, lanes={PLAIN: plain}, model=model)
    return _in_step(state)


def step(state: HeadCoordinatorState, event: Event) -> Outcome:
    """One event. OwnFault: an event that is not for a coordinator."""
    effects: tuple[Effect, ...] = ()
    match event:
        case Tick(now_ms):
            state, effects = _each_lane(replace(state, now_ms=max(now_ms, state.now_ms or 0)), event)
        case Received():
            state, effects = _received(state, event)
        case ChunksSummed() | ChunksRefused():
            state, effects = _lane_step(state, lane_of(event.round_id), event)
        case InvitedChanged(invited):
            before, state = state, replace(state, members=dict(sorted(invited.items())))
            state, effects = _after_step(state, before)
        case KeysChanged(sealing_secrets):
            state = replace(state, settings=replace(state.settings, sealing_secrets=sealing_secrets))
            state, effects = _each_lane(state, event)
        case ModelLoaded(vector):
            ours = model_digest(vector) == state.head.model_digest
            state, effects = _lane_step(replace(state, model=vector) if ours else state, PLAIN, event)
        case SumLoaded():
            state = _sum_loaded(state, event)
        case _:
            raise OwnFault(f"{type(event).__name__} is not for a coordinator")
    return _decided(state, effects)


def _sum_loaded(state: HeadCoordinatorState, event: SumLoaded) -> HeadCoordinatorState:
    gathering = state.head.gathering
    said = gathering.sums.get(event.group) if gathering is not None else None
    if said is None or said.sum_digest != sum_digest(event.total):
        return state
    return replace(state, sums={**state.sums, event.group: event.total})


def _decided(state: HeadCoordinatorState, effects: tuple[Effect, ...]) -> Outcome:
    """With the head's own decisions, and the openings that lanes make of them; at most one WakeAt, the last effect."""
    now_ms = state.now_ms
    if now_ms is None:
        return state, effects
    state, decisions = head_decisions_of(state, now_ms)
    state = _woken(state, _HEAD, decisions)
    effects += decisions
    for key, lane in state.lanes.items():
        if lane.open_at_ms is not None:
            state, more = _lane_step(state, key, Tick(now_ms))
            effects += more
    said = tuple(effect for effect in effects if not isinstance(effect, WakeAt))
    return state, said + ((WakeAt(min(state.wake_ms.values())),) if state.wake_ms else ())


# --- lanes ----------------------------------------------------------------------------------------------------------
def _lane_step(state: HeadCoordinatorState, key: LaneKey, event: Event) -> Outcome:
    if key not in state.lanes:
        return state, ()  # An answer for a drawing that is over.
    lane, effects = coordinator.step(state.lanes[key], event)
    return _woken(replace(state, lanes={**state.lanes, key: lane}), key, effects), effects


def _each_lane(state: HeadCoordinatorState, event: Event) -> Outcome:
    effects: tuple[Effect, ...] = ()
    for key in state.lanes:
        state, more = _lane_step(state, key, event)
        effects += more
    return state, effects


def _woken(state: HeadCoordinatorState, key: LaneKey, effects: tuple[Effect, ...]) -> HeadCoordinatorState:
    """With the time at which this lane is to be looked at again, as its last step said."""
    others = {other: at_ms for other, at_ms in state.wake_ms.items() if other != key}
    wake = [effect.at_ms for effect in effects if isinstance(effect, WakeAt)]
    return replace(state, wake_ms={**others, key: wake[-1]} if wake else others)


def _in_step(state: HeadCoordinatorState) -> HeadCoordinatorState:
    """With a lane for every group that is drawn and none for those that are over, all with the head's model and count of rounds."""
    head, lanes = state.head, {}
    for key in head.lane_keys():
        lane = state.lanes.get(key) or _group_lane(state, key)
        invited = _invited(state, key)
        transcript = head.in_step(lane.transcript)
        if transcript is not lane.transcript or invited != lane.invited:
            moved = transcript.model_digest != lane.transcript.model_digest
            model = state.model if key == PLAIN and moved else lane.model
            lane = replace(lane, transcript=transcript, invited=invited, model=model)
        lanes[key] = lane
    # What the groups before have opened in vain counts for those after them.
    gone = tuple(sum_ for key, lane in state.lanes.items() if key not in lanes for sum_ in lane.in_vain)
    if gone:
        lanes = {key: replace(lane, in_vain=(*gone, *lane.in_vain)) for key, lane in lanes.items()}
    wake_ms = {key: at_ms for key, at_ms in state.wake_ms.items() if key in lanes or key == _HEAD}
    return replace(state, lanes=lanes, wake_ms=wake_ms)


def _invited(state: HeadCoordinatorState, key: LaneKey) -> Mapping[str, int]:
    """Whom a lane invites to its epochs: nobody where the head is, by now, with or without groups instead."""
    if key == PLAIN:
        return state.members if state.grouping is None and state.head.gathering is None else {}
    names = _drawn(state, key)
    # A group without one of those drawn would not be the group drawn.
    if state.grouping is None or not set(names) <= state.members.keys():
        return {}
    return {name: state.members[name] for name in names}


def _drawn(state: HeadCoordinatorState, key: LaneKey) -> tuple[str, ...]:
    epoch, group = key
    drawing = state.head.drawing(epoch)
    return drawing.groups[group - 1] if drawing is not None else ()


def _group_lane(state: HeadCoordinatorState, key: LaneKey) -> CoordinatorState:
    """A group's lane of which nothing has been read yet."""
    group = _drawn(state, key)
    settings = replace(
        state.settings,
        lane=Lane(state.head.head, key[1]),
        # As members see it: a group that lost a third of those who were drawn is not the group that was drawn.
        members_min=max(COHORT_MIN, threshold_of(len(group))),
        survivors_min=COHORT_MIN,
    )
    return CoordinatorState(
        settings=settings, transcript=state.head.lane(key), invited=_invited(state, key), model=None, now_ms=state.now_ms
    )


# --- records --------------------------------------------------------------------------------------------------------
def _received(state: HeadCoordinatorState, received: Received) -> Outcome:
    message = received.message
    try:
        if not isinstance(message, HeadMessage):
            return _lane_received(state, received)
        head = head_reading.fold(state.head, received)
    except PeerFault as fault:
        return state, (Report(fault.kind, fault.accused, fault.detail),)
    if head is state.head:
        return state, ()
    return _after_step(_absorbed(replace(state, head=head), state, message), state)


def _lane_received(state: HeadCoordinatorState, received: Received) -> Outcome:
    message, sender = received.message, received.sender
    if not isinstance(message, LaneMessage):
        raise PeerFault("not_entitled", f"{type(message).__name__} does not belong in the rounds' log", accused=sender)
    key = lane_key(message)
    check_entitled(message, received, state.settings.party, state.head.serials)
    if key not in state.lanes:
        fault = head_reading.unknown_lane(state.head, message, sender)
        if fault is not None:
            raise fault
        return state, ()
    transcripts: dict[LaneKey, Transcript] = {other: lane.transcript for other, lane in state.lanes.items()}
    head_reading.check(state.head, transcripts, message, accused=sender)
    before = state
    state, effects = _lane_step(state, key, received)
    if state.lanes[key].transcript is before.lanes[key].transcript:
        return state, effects
    state = replace(state, head=head_reading.after(state.head, state.lanes[key].transcript, message))
    state, more = _after_step(_lane_absorbed(state, before, key, message), before)
    return state, effects + more


def _after_step(state: HeadCoordinatorState, before: HeadCoordinatorState) -> Outcome:
    """Lanes that have come or gone or got another model look at what that means for them."""
    state = _in_step(state)
    effects: tuple[Effect, ...] = ()
    if state.now_ms is not None:
        for key, lane in state.lanes.items():
            known = before.lanes.get(key)
            if known is None or known.invited != lane.invited or known.transcript.model_digest != lane.transcript.model_digest:
                state, more = _lane_step(state, key, Tick(state.now_ms))
                effects += more
    return state, effects


def _absorbed(state: HeadCoordinatorState, before: HeadCoordinatorState, message: HeadMessage) -> HeadCoordinatorState:
    """What the aggregator keeps of a head's own record beside the transcript, which has taken it in already."""
    match message:
        case m.GroupsInvited():
            return replace(state, invited_ms=message.sealed_deadline_ms - state.settings.keys_wait_ms)
        case m.DrawingVoided():
            return replace(state, accused={**state.accused, **dict.fromkeys(message.at_fault, message.epoch)})
        case m.GroupsMerged() | m.MergeAbandoned():
            return _round_over(state, before, message)
        case _:
            return state


def _round_over(
    state: HeadCoordinatorState, before: HeadCoordinatorState, message: m.GroupsMerged | m.MergeAbandoned
) -> HeadCoordinatorState:
    drawn = state.head.current.groups if state.head.current is not None else ()
    kept = {proposal: at for proposal, at in state.proposed.items() if proposal[2] == 0 or proposal[2] >= state.head.round_next}
    state = replace(state, sums={}, candidate=None, proposed=kept)
    if isinstance(message, m.MergeAbandoned):
        return replace(state, in_trouble=True)
    ours = before.candidate is not None and model_digest(before.candidate) == message.model_digest
    summed = {(message.epoch, said.group) for said in message.sums}
    lanes = {key: replace(lane, in_vain=()) if key in summed else lane for key, lane in state.lanes.items()}
    return replace(state, model=before.candidate if ours else None, lanes=lanes, in_trouble=len(summed) < len(drawn))


def _lane_absorbed(state: HeadCoordinatorState, before: HeadCoordinatorState, key: LaneKey, message: m.Message) -> HeadCoordinatorState:
    """As `_absorbed`, of a record that a lane has taken in."""
    match message:
        case m.SumOpened():
            opened = before.lanes[key].opened
            if opened is None or opened.sum_digest != message.sum_digest:
                return state  # To be loaded: another process has said it.
            return replace(state, sums={**state.sums, message.group: opened.total})
        case m.RoundAbandoned() if message.group > 0:
            return replace(state, accused={**state.accused, **dict.fromkeys(message.at_fault, message.epoch)})
        case m.RoundOpened():
            moved = state.head.model_digest != before.head.model_digest  # A reader from the middle of the log learns of the model.
            took_over = state.head.current is not before.head.current
            return replace(state, model=None if moved else state.model, in_trouble=False if took_over else state.in_trouble)
        case m.ModelPublished():
            return replace(state, model=state.lanes[PLAIN].model)
        case _:
            return state
