"""What the aggregator decides for a head in groups: drawings, when a round begins, what becomes of the groups' sums.

Called by `head_coordinator.step` after every event.
Never opens a round beside one that must be over first, and never merges while a group is still in the round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from federation import messages as m
from federation.rounds.coordinator_state import CoordinatorState
from federation.rounds.desk import Desk
from federation.rounds.effects import Effect, LoadSum, Publish, PublishModel, Vector, WakeAt, model_digest
from federation.rounds.head_coordinator_state import Grouping, HeadCoordinatorState, is_ready, is_settled
from federation.rounds.head_reading import merged_sums
from federation.rounds.head_transcript import PLAIN, Drawing, Gathering, LaneKey
from federation.rounds.lots import groups_possible
from federation.rounds.merging import merged_vector
from federation.rounds.phases import DrawingPhase, GatheringPhase


@dataclass(slots=True, kw_only=True)
class _Desk(Desk):
    """One look at a head's state; `openings`: lanes that are to open a round, and when."""

    state: HeadCoordinatorState
    candidate: Vector | None
    openings: dict[LaneKey, int]


def head_decisions_of(state: HeadCoordinatorState, now_ms: int) -> tuple[HeadCoordinatorState, tuple[Effect, ...]]:
    """The effects due now, and the state that remembers them; lanes that are to open a round are told so in it."""
    if state.grouping is None and state.head.gathering is None:
        return state, ()
    desk = _Desk(
        state=state,
        now_ms=now_ms,
        propose_again_ms=state.settings.propose_again_ms,
        proposed=dict(state.proposed),
        candidate=state.candidate,
        openings={},
    )
    if state.grouping is not None:
        _decide_drawing(desk, state.grouping)
    if state.head.gathering is not None and state.head.gathering.phase is GatheringPhase.MERGING:
        _decide_merge(desk, state.head.gathering)
    elif state.grouping is not None:
        _decide_opening(desk)
    if desk.wake_ms:
        desk.effects.append(WakeAt(min(desk.wake_ms)))
    lanes = {key: replace(lane, open_at_ms=desk.openings.get(key)) if key != PLAIN else lane for key, lane in state.lanes.items()}
    return replace(state, lanes=lanes, proposed=desk.proposed, candidate=desk.candidate), tuple(desk.effects)


# --- drawings -------------------------------------------------------------------------------------------------------
def _invitees(state: HeadCoordinatorState, number: int, groups_min: int) -> tuple[str, ...]:
    """Who is invited to a drawing: all members, without those who spoilt something in the one before; everybody if too few remain."""
    trusted = tuple(name for name in state.members if state.accused.get(name, -1) not in {number - 1, number})
    return trusted if groups_possible(len(trusted), groups_min) >= groups_min else tuple(state.members)


def _all_fit(state: HeadCoordinatorState, names: Iterable[str]) -> bool:
    """Whether each of these is still invited, under the certificate it speaks under."""
    return all(name in state.members and state.head.serials.get(name, 0) >= state.members[name] for name in names)


def _decide_drawing(desk: _Desk, grouping: Grouping) -> None:
    pending = desk.state.head.pending
    if pending is None:
        if _new_drawing_wanted(desk, grouping):
            _invite(desk, grouping)
    elif not _all_fit(desk.state, pending.invited.invited):
        _void(desk, pending, "somebody is not invited any more")
    elif pending.phase is DrawingPhase.SEALING:
        _decide_lots(desk, pending)
    elif pending.phase is DrawingPhase.REVEALING:
        if desk.due(pending.invited.revealed_deadline_ms):
            silent = tuple(name for name in pending.counted if name not in pending.revealed)
            _void(desk, pending, f"lots of {', '.join(silent)} were sealed and not revealed", silent)
    else:
        _decide_drawn(desk, pending)


def _new_drawing_wanted(desk: _Desk, grouping: Grouping) -> bool:
    state, head = desk.state, desk.state.head
    invitees = _invitees(state, head.epoch_last + 1, grouping.groups_min)
    if groups_possible(len(invitees), grouping.groups) < grouping.groups_min:
        return False
    current = head.current
    if current is None:
        return True
    ready = [lane for lane in state.lanes_of(current).values() if is_ready(lane)]
    last = min((_round_last(lane) for lane in ready), default=0)
    if len(ready) < current.invited.groups_min or last - head.round_next + 1 < state.settings.rounds_left_min:
        return True
    missing = not set(invitees) <= set(current.counted) or not _all_fit(state, current.counted)
    another = _terms(current.invited) != _wanted_terms(state, grouping)
    return (missing or another or state.in_trouble) and desk.due(state.invited_ms + state.settings.renewal_wait_ms)


def _round_last(lane: CoordinatorState) -> int:
    epoch = lane.transcript.current or lane.transcript.pending
    return epoch.round_last() if epoch is not None else 0


def _terms(invited: m.GroupsInvited) -> tuple[object, ...]:
    return (invited.groups, invited.rule, invited.trim, invited.groups_min, invited.server_step, invited.parameters)


def _wanted_terms(state: HeadCoordinatorState, grouping: Grouping) -> tuple[object, ...]:
    settings = state.settings
    return (grouping.groups, grouping.rule, grouping.trim, grouping.groups_min, settings.server_step, settings.parameters)


def _invite(desk: _Desk, grouping: Grouping) -> None:
    state, settings = desk.state, desk.state.settings
    number = state.head.epoch_last + 1
    invitees = _invitees(state, number, grouping.groups_min)
    invited = m.GroupsInvited(
        head=state.head.head,
        epoch=number,
        invited=invitees,
        serials=tuple(state.members[name] for name in invitees),
        groups=grouping.groups,
        rule=grouping.rule,
        trim=grouping.trim,
        groups_min=grouping.groups_min,
        server_step=settings.server_step,
        sealed_deadline_ms=desk.now_ms + settings.keys_wait_ms,
        revealed_deadline_ms=desk.now_ms + 2 * settings.keys_wait_ms,
        parameters=settings.parameters,
    )
    desk.propose(("GroupsInvited", number, 0), Publish(invited))


def _decide_lots(desk: _Desk, drawing: Drawing) -> None:
    missing = set(drawing.invited.invited) - set(drawing.sealed)
    if missing and not desk.due(drawing.invited.sealed_deadline_ms):
        return
    groups = groups_possible(len(drawing.sealed), drawing.invited.groups)
    if groups < drawing.invited.groups_min:
        _void(desk, drawing, f"{len(drawing.sealed)} institutions are enough for {groups} groups only")
        return
    lots = tuple(m.LotListed(institution=name, commitment=said) for name, said in sorted(drawing.sealed.items()))
    fixed = m.LotsFixed(head=drawing.invited.head, epoch=drawing.number, lots=lots)
    desk.propose(("LotsFixed", drawing.number, 0), Publish(fixed))


def _decide_drawn(desk: _Desk, drawing: Drawing) -> None:
    lanes = desk.state.lanes_of(drawing).values()
    ready = [lane for lane in lanes if is_ready(lane)]
    if all(is_settled(lane) for lane in lanes) and len(ready) < drawing.invited.groups_min:
        _void(desk, drawing, f"{len(ready)} of {len(drawing.groups)} groups have set up their keys")
    elif ready and desk.state.head.round_next > max(_round_last(lane) for lane in ready):
        _void(desk, drawing, "its rounds went by while the groups set up their keys")


def _void(desk: _Desk, drawing: Drawing, reason: str, at_fault: tuple[str, ...] = ()) -> None:
    voided = m.DrawingVoided(head=drawing.invited.head, epoch=drawing.number, reason=reason, at_fault=at_fault)
    desk.propose(("DrawingVoided", drawing.number, 0), Publish(voided))


# --- rounds ---------------------------------------------------------------------------------------------------------
def _decide_opening(desk: _Desk) -> None:
    state, head = desk.state, desk.state.head
    if state.model is None or state.lanes[PLAIN].transcript.round is not None:
        return  # To be loaded; or the head has been without groups until now, and that round must be over first.
    gathering = head.gathering
    drawing = _next_drawing(state) if gathering is None else head.current
    if drawing is None or _opened_under_another(desk, drawing):
        return
    due_ms = head.opened_at_ms + state.settings.period_ms
    if gathering is None and not desk.due(due_ms):
        return
    if gathering is not None and gathering.ended:
        return  # Settled whose sums there will be.
    for key, lane in state.lanes_of(drawing).items():
        waiting = gathering is None or key[1] not in gathering.opened  # Its opening was lost with the process that made it.
        if is_ready(lane) and waiting and head.round_next - (gathering is not None) <= _round_last(lane):
            # A little late keeps the beat; later than a whole period starts a new one.
            desk.openings[key] = due_ms if desk.now_ms < due_ms + state.settings.period_ms else desk.now_ms


def _next_drawing(state: HeadCoordinatorState) -> Drawing | None:
    """Under which drawing the next round is opened; None while there is none, or too few of its groups can be in a round."""
    head = state.head
    current = head.current if head.current is not None and _can_go_on(state, state.lanes_of(head.current), head.current) else None
    pending = head.pending
    if pending is None or pending.phase is not DrawingPhase.DRAWN:
        return current
    lanes = state.lanes_of(pending)
    settled = all(is_settled(lane) for lane in lanes.values())
    return pending if settled and _can_go_on(state, lanes, pending) else current


def _opened_under_another(desk: _Desk, drawing: Drawing) -> bool:
    """Whether openings under another drawing are on their way: beside them, ours would be refused."""
    number = desk.state.head.round_next
    said = [
        lane.proposed[opening]
        for (epoch, _), lane in desk.state.lanes.items()
        if epoch != drawing.number and (opening := ("RoundOpened", epoch, number)) in lane.proposed
    ]
    return any(not desk.due(at_ms + desk.propose_again_ms) for at_ms in said)


def _can_go_on(state: HeadCoordinatorState, lanes: Mapping[LaneKey, CoordinatorState], drawing: Drawing) -> bool:
    able = [lane for lane in lanes.values() if is_ready(lane) and state.head.round_next <= _round_last(lane)]
    return len(able) >= drawing.invited.groups_min


# --- the round's end ------------------------------------------------------------------------------------------------
def _decide_merge(desk: _Desk, gathering: Gathering) -> None:
    state, drawing = desk.state, desk.state.head.current
    number = (gathering.epoch, gathering.round)
    if drawing is None or not all(desk.free((ending, *number)) for ending in ("GroupsMerged", "MergeAbandoned")):
        return
    if len(gathering.sums) < drawing.invited.groups_min:
        detail = f"{len(gathering.sums)} of {len(gathering.opened)} groups opened a sum, {drawing.invited.groups_min} needed"
        _abandon(desk, gathering, m.AbandonReason.TOO_FEW_UPDATES, detail)
        return
    missing = [said for group, said in gathering.sums.items() if group not in state.sums]
    if state.model is not None and not missing:
        _publish(desk, gathering, drawing, state.model)
        return
    for said in missing:
        desk.propose((f"LoadSum {said.group}", *number), LoadSum(said.group, said.sum_digest))
    if desk.due(state.head.opened_at_ms + 2 * (state.settings.masked_wait_ms + state.settings.unmask_wait_ms)):
        _abandon(desk, gathering, m.AbandonReason.AGGREGATOR_RESTARTED, "sums or the model they started from were not loaded in time")


def _publish(desk: _Desk, gathering: Gathering, drawing: Drawing, base: Vector) -> None:
    head, said = desk.state.head, merged_sums(gathering)
    vector = merged_vector(base, [(each, desk.state.sums[each.group]) for each in said], drawing.invited)
    merged = m.GroupsMerged(
        head=head.head,
        epoch=gathering.epoch,
        round=gathering.round,
        version=head.model_version + 1,
        model_digest=model_digest(vector),
        base_digest=head.model_digest,
        sums=said,
        epsilon=desk.state.settings.epsilon,
        published_at_ms=desk.now_ms,
    )
    desk.candidate = vector
    desk.propose(("GroupsMerged", gathering.epoch, gathering.round), PublishModel(merged, vector))


def _abandon(desk: _Desk, gathering: Gathering, reason: m.AbandonReason, detail: str) -> None:
    abandoned = m.MergeAbandoned(
        head=desk.state.head.head,
        epoch=gathering.epoch,
        round=gathering.round,
        reason=reason,
        detail=detail,
        abandoned_at_ms=desk.now_ms,
    )
    desk.propose(("MergeAbandoned", gathering.epoch, gathering.round), Publish(abandoned))
