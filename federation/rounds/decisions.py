"""What the aggregator decides, given what the log says and what time it is: epochs, openings, survivors, endings.

Called by `coordinator.step` after every event.
Never changes the transcript: each decision is proposed to the log, and again if the log has not taken it up in time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from federation import messages as m
from federation.errors import PeerFault
from federation.limits import COHORT_MIN, threshold_of
from federation.merge import next_model
from federation.rounds import unmasking
from federation.rounds.coordinator_state import CoordinatorState, OpenedSum
from federation.rounds.desk import Desk
from federation.rounds.effects import (
    Effect,
    LoadModel,
    Publish,
    PublishModel,
    PublishSum,
    RingVector,
    SumChunks,
    Vector,
    WakeAt,
    model_digest,
)
from federation.rounds.phases import EpochPhase, RoundPhase
from federation.rounds.transcript import DIFFERENCE_MIN, DIFFERENCE_ROUNDS, Epoch, Round
from federation.rounds.transcript_round import may_switch, survivors_min
from federation.secagg.quantize import UnusableSum, decode_sum


@dataclass(slots=True, kw_only=True)
class _Desk(Desk):
    """One look at a lane's state."""

    state: CoordinatorState
    opened: OpenedSum | None
    candidate: Vector | None


def decisions_of(state: CoordinatorState, now_ms: int) -> tuple[CoordinatorState, tuple[Effect, ...]]:
    """The effects due now, ending with a WakeAt when time alone will bring the next; and the state that remembers them."""
    desk = _Desk(
        state=state,
        now_ms=now_ms,
        propose_again_ms=state.settings.propose_again_ms,
        proposed=dict(state.proposed),
        opened=state.opened,
        candidate=state.candidate,
    )
    if state.model is None and state.settings.lane.group == 0:
        known = state.transcript
        desk.propose(("LoadModel", 0, known.model_version), LoadModel(known.model_version, known.model_digest))
    _decide_epoch(desk)
    if state.transcript.round is None:
        _decide_opening(desk)
    else:
        _decide_round(desk, state.transcript.running(), state.transcript.round)
    if desk.wake_ms:
        desk.effects.append(WakeAt(min(desk.wake_ms)))
    return replace(state, proposed=desk.proposed, opened=desk.opened, candidate=desk.candidate), tuple(desk.effects)


# --- epochs ---------------------------------------------------------------------------------------------------------
def _invitees(state: CoordinatorState, epoch: int) -> tuple[str, ...]:
    """Who may be in an epoch: all invited, without those who spoilt a round of it or of the one before.

    If too few remain, everybody: the accused may spoil rounds again, but a federation must not stop on an accusation.
    """
    invited = tuple(state.invited)
    if not state.accused:
        return invited
    trusted = tuple(name for name in invited if state.accused.get(name, -1) not in {epoch - 1, epoch})
    return trusted if len(trusted) >= COHORT_MIN else invited


def _all_fit(state: CoordinatorState, names: Iterable[str], epoch: int) -> bool:
    """Whether each of these would be invited to that epoch again, under the certificate it speaks under here."""
    invitees, heard = set(_invitees(state, epoch)), state.transcript.serials
    return all(name in invitees and heard.get(name, 0) >= state.invited[name] for name in names)


def _decide_epoch(desk: _Desk) -> None:
    state, known = desk.state, desk.state.transcript
    current, pending = known.current, known.pending
    if current is not None and known.round is None and not _all_fit(state, current.peers, current.number):
        _close(desk, current, "a member is not invited any more")
    if pending is None:
        if _new_epoch_wanted(desk):
            _announce(desk)
    elif not _all_fit(state, pending.announced.invited, pending.number):
        _close(desk, pending, "a member is not invited any more")
    elif known.round_next > pending.round_last():
        _close(desk, pending, "its rounds went by while it was set up")
    elif pending.phase is EpochPhase.KEYS:
        _decide_roster(desk, pending)
    elif pending.phase is EpochPhase.SHARES:
        _decide_ready(desk, pending)


def _new_epoch_wanted(desk: _Desk) -> bool:
    state, known = desk.state, desk.state.transcript
    if known.lane.group > 0 and known.epoch_first > 0:
        return False  # A group has one epoch, that of its drawing.
    invitees = _invitees(state, known.epoch_last + 1)
    if len(invitees) < state.settings.members_min:
        return False
    current = known.current
    if current is None or current.round_last() - known.round_next + 1 < state.settings.rounds_left_min:
        return True
    missing = not set(_invitees(state, current.number)) <= set(current.peers)
    in_trouble = known.round is None and known.ended is not None and known.ended.abandoned
    return (missing or in_trouble) and desk.due(state.announced_ms + state.settings.renewal_wait_ms)


def _announce(desk: _Desk) -> None:
    state, settings, known = desk.state, desk.state.settings, desk.state.transcript
    number = known.epoch_last + 1
    invitees = _invitees(state, number)
    announced = m.EpochAnnounced(
        head=known.lane.head,
        group=known.lane.group,
        epoch=number,
        rounds=settings.rounds_per_epoch,
        invited=invitees,
        serials=tuple(state.invited[name] for name in invitees),
        # Rounds go on while keys are exchanged; the epoch takes over with the next round after it is ready.
        first_round=known.round_next,
        keys_deadline_ms=desk.now_ms + settings.keys_wait_ms,
        shares_deadline_ms=desk.now_ms + settings.keys_wait_ms + settings.shares_wait_ms,
        parameters=settings.parameters,
    )
    desk.propose(("EpochAnnounced", number, 0), Publish(announced))


def _close(desk: _Desk, epoch: Epoch, reason: str) -> None:
    lane = desk.state.transcript.lane
    closed = m.EpochClosed(head=lane.head, group=lane.group, epoch=epoch.number, reason=reason)
    desk.propose(("EpochClosed", epoch.number, 0), Publish(closed))


def _decide_roster(desk: _Desk, epoch: Epoch) -> None:
    missing = set(epoch.announced.invited) - set(epoch.keys)
    if missing and not desk.due(epoch.announced.keys_deadline_ms):
        return
    if len(epoch.keys) < desk.state.settings.members_min:
        _close(desk, epoch, f"keys of {len(epoch.keys)} institutions only")
        return
    roster = m.EpochRoster(
        head=epoch.announced.head,
        group=epoch.announced.group,
        epoch=epoch.number,
        # Sorted by name, not by arrival: whoever replays the log names the same roster.
        members=tuple(m.RosterMember(institution=name, keys_digest=epoch.keys_digests[name]) for name in sorted(epoch.keys)),
        threshold=threshold_of(len(epoch.keys)),
        rounds=epoch.announced.rounds,
        first_round=epoch.announced.first_round,
        parameters=epoch.parameters,
    )
    desk.propose(("EpochRoster", epoch.number, 0), Publish(roster))


def _decide_ready(desk: _Desk, epoch: Epoch) -> None:
    missing = set(epoch.members) - set(epoch.shares_digests)
    if missing and not desk.due(epoch.announced.shares_deadline_ms):
        return
    if len(epoch.shares_digests) < max(epoch.threshold, desk.state.settings.survivors_min):
        _close(desk, epoch, f"shares of {len(epoch.shares_digests)} members only, {epoch.threshold} needed")
        return
    ready = m.EpochReady(
        head=epoch.announced.head,
        group=epoch.announced.group,
        epoch=epoch.number,
        roster_digest=epoch.roster_digest,
        members=tuple(m.ReadyMember(institution=name, shares_digest=epoch.shares_digests[name]) for name in sorted(epoch.shares_digests)),
    )
    desk.propose(("EpochReady", epoch.number, 0), Publish(ready))


# --- rounds ---------------------------------------------------------------------------------------------------------
def _decide_opening(desk: _Desk) -> None:
    settings, known = desk.state.settings, desk.state.transcript
    epoch = known.pending if may_switch(known) else known.current
    if epoch is None or known.round_next > epoch.round_last() or ("EpochClosed", epoch.number, 0) in desk.proposed:
        return
    due_ms = _opening_due_ms(desk)
    if due_ms is None or not desk.due(due_ms) or _opened_under_another_epoch(desk, epoch):
        return
    opened = m.RoundOpened(
        head=known.lane.head,
        group=known.lane.group,
        epoch=epoch.number,
        round=known.round_next,
        ready_digest=epoch.ready_digest,
        model_version=known.model_version,
        model_digest=known.model_digest,
        # A little late keeps the beat; later than a whole period starts a new one.
        opened_at_ms=due_ms if desk.now_ms < due_ms + settings.period_ms else desk.now_ms,
        masked_deadline_ms=desk.now_ms + settings.masked_wait_ms,
        unmask_deadline_ms=desk.now_ms + settings.masked_wait_ms + settings.unmask_wait_ms,
        survivors_min=max(settings.survivors_min, epoch.threshold),
    )
    desk.propose(("RoundOpened", epoch.number, known.round_next), Publish(opened))


def _opening_due_ms(desk: _Desk) -> int | None:
    """When the next round is to be opened, if nothing else stands in the way; a group's head says when."""
    state = desk.state
    if state.settings.lane.group > 0:
        return state.open_at_ms
    return None if state.model is None else state.transcript.opened_at_ms + state.settings.period_ms


def _opened_under_another_epoch(desk: _Desk, epoch: Epoch) -> bool:
    """Whether the next round's opening is on its way, for the epoch before: a second one would be refused as a second decision."""
    openings = [key for key in desk.proposed if key[0] == "RoundOpened" and key[2] == desk.state.transcript.round_next]
    return any(key[1] != epoch.number and not desk.free(key) for key in openings)


def _decide_round(desk: _Desk, epoch: Epoch, current: Round) -> None:
    opened = current.opened
    if not all(desk.free((ending, opened.epoch, opened.round)) for ending in ("ModelPublished", "SumOpened", "RoundAbandoned")):
        return  # The round's end is on its way to the log; whatever comes in meanwhile is late.
    if current.phase is RoundPhase.MASKING:
        _decide_survivors(desk, epoch, current)
        return
    _ask_for_sum(desk, epoch, current)
    refused, masked_sum = desk.state.refused, desk.state.masked_sum
    if refused is not None:
        _abandon(desk, m.AbandonReason.MISBEHAVIOUR, refused.detail, refused.at_fault)
        return
    if desk.opened is None and masked_sum is not None and not unmasking.lacking(epoch, desk.state.shares):
        desk.opened = _open(desk, current, masked_sum)
        if desk.opened is None:
            return
    if desk.opened is not None and desk.state.settings.lane.group > 0:
        _publish_sum(desk, current, desk.opened)
    elif desk.opened is not None and desk.state.model is not None:
        _publish(desk, current, desk.opened, desk.state.model)
    elif desk.due(opened.unmask_deadline_ms):
        _abandon(desk, *_why_unfinished(desk, epoch, current))


def _decide_survivors(desk: _Desk, epoch: Epoch, current: Round) -> None:
    opened = current.opened
    missing = set(epoch.peers) - set(current.updates)
    if missing and not desk.due(opened.masked_deadline_ms):
        return
    least = survivors_min(epoch, opened)
    if len(current.updates) < least:
        absent = ", ".join(sorted(missing))
        _abandon(desk, m.AbandonReason.TOO_FEW_UPDATES, f"{len(current.updates)} updates, {least} needed; silent: {absent}")
        return
    recent = [sum_ for sum_ in desk.state.in_vain if opened.round - sum_[0] <= DIFFERENCE_ROUNDS]
    chosen = frozenset(current.updates)
    for _, earlier in recent:
        # One who came back waits for a round: the others' sum has been opened already.
        if 0 < len(earlier ^ chosen) < DIFFERENCE_MIN and earlier < chosen and len(earlier) >= least:
            chosen = earlier
    for number, earlier in recent:
        apart = sorted(earlier ^ chosen)
        if 0 < len(apart) < DIFFERENCE_MIN:
            # Honest members refuse such a sum: beside the earlier one it would single somebody out.
            detail = f"the sum would differ from round {number}'s, which gave no model, by {', '.join(apart)} alone"
            _abandon(desk, m.AbandonReason.TOO_FEW_UPDATES, detail)
            return
    named = m.SurvivorsNamed(
        head=opened.head,
        group=opened.group,
        epoch=opened.epoch,
        round=opened.round,
        ready_digest=epoch.ready_digest,
        survivors=tuple(
            m.Survivor(institution=name, update_digest=digest) for name, digest in sorted(current.updates.items()) if name in chosen
        ),
    )
    desk.propose(("SurvivorsNamed", opened.epoch, opened.round), Publish(named))


def _ask_for_sum(desk: _Desk, epoch: Epoch, current: Round) -> None:
    if desk.state.masked_sum is not None or desk.state.refused is not None:
        return
    digests = tuple((name, desk.state.updates[name].chunk_digests) for name in current.survivors)
    asked = SumChunks(desk.state.transcript.round_id(), current.survivors_digest, digests, epoch.parameters)
    desk.propose(("SumChunks", current.opened.epoch, current.opened.round), asked)


def _why_unfinished(desk: _Desk, epoch: Epoch, current: Round) -> tuple[m.AbandonReason, str]:
    if current.phase is RoundPhase.ACKING:
        return m.AbandonReason.TOO_FEW_ACKS, f"{len(current.acks)} acks, {epoch.threshold} needed"
    lacking = unmasking.lacking(epoch, desk.state.shares)
    if lacking:
        return m.AbandonReason.TOO_FEW_SHARES, f"{len(current.reveals)} members revealed shares; not enough of {', '.join(lacking)}"
    if desk.state.masked_sum is None:
        return m.AbandonReason.BAD_SUM, "the masked chunks were not summed in time"
    return m.AbandonReason.AGGREGATOR_RESTARTED, "the model that the round started from was not loaded in time"


def _open(desk: _Desk, current: Round, masked_sum: RingVector) -> OpenedSum | None:
    """The sum, opened and judged; None if the round is to be abandoned for what it is."""
    state = desk.state
    try:
        total = unmasking.open_sum(state.transcript, state.shares, state.updates, masked_sum)
        mean_delta, customers = decode_sum(total, state.transcript.running().parameters, len(current.survivors))
    except PeerFault as fault:
        _abandon(desk, m.AbandonReason.BAD_SHARES, fault.detail, (fault.accused,))
        return None
    except UnusableSum as unusable:
        _abandon(desk, unusable.reason, unusable.detail)
        return None
    if customers < state.settings.customers_min:
        _abandon(desk, m.AbandonReason.TOO_FEW_CUSTOMERS, f"{customers} customers, {state.settings.customers_min} needed")
        return None
    return OpenedSum(total, unmasking.sum_digest(total), mean_delta, customers)


def _publish_sum(desk: _Desk, current: Round, made: OpenedSum) -> None:
    opened = current.opened
    said = m.SumOpened(
        head=opened.head,
        group=opened.group,
        epoch=opened.epoch,
        round=opened.round,
        contributors=current.survivors,
        customers=made.customers,
        survivors_digest=current.survivors_digest,
        sum_digest=made.sum_digest,
        opened_at_ms=desk.now_ms,
    )
    desk.propose(("SumOpened", opened.epoch, opened.round), PublishSum(said, made.total))


def _publish(desk: _Desk, current: Round, made: OpenedSum, base: Vector) -> None:
    vector = next_model(base, made.mean_delta, server_step=desk.state.settings.server_step)
    opened = current.opened
    published = m.ModelPublished(
        head=opened.head,
        group=opened.group,
        epoch=opened.epoch,
        round=opened.round,
        version=opened.model_version + 1,
        model_digest=model_digest(vector),
        base_digest=opened.model_digest,
        contributors=current.survivors,
        customers=made.customers,
        survivors_digest=current.survivors_digest,
        sum_digest=made.sum_digest,
        noise_sigma=desk.state.transcript.running().parameters.noise_sigma,
        epsilon=desk.state.settings.epsilon,
        published_at_ms=desk.now_ms,
    )
    desk.candidate = vector
    desk.propose(("ModelPublished", opened.epoch, opened.round), PublishModel(published, vector))


def _abandon(desk: _Desk, reason: m.AbandonReason, detail: str, at_fault: tuple[str, ...] = ()) -> None:
    opened = desk.state.transcript.opened_round().opened
    abandoned = m.RoundAbandoned(
        head=opened.head,
        group=opened.group,
        epoch=opened.epoch,
        round=opened.round,
        reason=reason,
        detail=detail,
        at_fault=tuple(sorted(at_fault)),
        abandoned_at_ms=desk.now_ms,
    )
    desk.propose(("RoundAbandoned", opened.epoch, opened.round), Publish(abandoned))
