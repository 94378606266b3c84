"""The aggregator's side of a lane: what it knows, and the step from one event to the next.

Called by `head_coordinator` for every record of the lane's log, every answer and every tick.
Never takes its own decision for a fact: a decision is a record, and counts when it is read back from the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.rounds import reading, unmasking
from federation.rounds.coordinator_state import CoordinatorSettings, CoordinatorState
from federation.rounds.decisions import decisions_of
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
    Tick,
    Vector,
    model_digest,
)
from federation.rounds.transcript import DIFFERENCE_ROUNDS, Transcript

__all__ = ["CoordinatorSettings", "CoordinatorState", "initial", "step"]


def initial(settings: CoordinatorSettings, *, invited: Mapping[str, int], model_version: int, model: Vector) -> CoordinatorState:
    """The state before the log is read. `model` is the vector of `model_version`: the newest one known, or version 0.

    `invited`: as InvitedChanged. Feed the lane's log from its start, or from the EpochAnnounced of the epoch in use; nothing is decided before the first Tick.
    """
    transcript = Transcript(
        federation=settings.federation,
        lane=settings.lane,
        aggregator=settings.party,
        model_version=model_version,
        model_digest=model_digest(model),
    )
    return CoordinatorState(settings=settings, transcript=transcript, invited=dict(sorted(invited.items())), model=model)


def step(state: CoordinatorState, event: Event) -> tuple[CoordinatorState, tuple[Effect, ...]]:  # One branch per event.
    """One event. OwnFault: an event that is not for a coordinator."""
    effects: tuple[Effect, ...] = ()
    match event:
        case Tick(now_ms):
            state = replace(state, now_ms=max(now_ms, state.now_ms or 0))
        case Received():
            state, effects = _received(state, event)
        case ChunksSummed() | ChunksRefused():
            state = _summed(state, event)
        case InvitedChanged(invited):
            state = replace(state, invited=dict(sorted(invited.items())))
        case KeysChanged(sealing_secrets):
            state = replace(state, settings=replace(state.settings, sealing_secrets=sealing_secrets))
        case ModelLoaded(vector):
            if model_digest(vector) == state.transcript.model_digest:
                state = replace(state, model=vector)
        case _:
            raise OwnFault(f"{type(event).__name__} is not for a coordinator")
    if state.now_ms is None:
        return state, effects
    state, decisions = decisions_of(state, state.now_ms)
    return state, effects + decisions


def _received(state: CoordinatorState, received: Received) -> tuple[CoordinatorState, tuple[Effect, ...]]:
    try:
        transcript = reading.fold(state.transcript, received)
    except PeerFault as fault:
        return state, (_report(state.transcript, fault),)
    if transcript is state.transcript:
        return state, ()
    return _absorbed(replace(state, transcript=transcript), state.transcript, received.message)


def _absorbed(  # noqa: PLR0911  # One branch per message.
    state: CoordinatorState, before: Transcript, message: m.Message
) -> tuple[CoordinatorState, tuple[Effect, ...]]:
    """What the aggregator keeps of a message beside the transcript, which has taken it in already."""
    transcript = state.transcript
    match message:
        case m.EpochAnnounced():
            return replace(state, announced_ms=message.keys_deadline_ms - state.settings.keys_wait_ms), ()
        case m.EpochShares():
            dealt = {**state.share_tags.get(message.epoch, {}), message.institution: message.share_tags}
            return replace(state, share_tags={**state.share_tags, message.epoch: dealt}), ()
        case m.RoundOpened():
            tags = {epoch: dealt for epoch, dealt in state.share_tags.items() if epoch >= message.epoch}
            model = state.model if transcript.model_digest == before.model_digest else None
            return replace(_between_rounds(state), share_tags=tags, model=model), ()
        case m.MaskedUpdate():
            return replace(state, updates={**state.updates, message.institution: message}), ()
        case m.SharesRevealed() if state.opened is not None:
            return state, ()  # The sum is open: nothing more is needed.
        case m.SharesRevealed():
            shares, faults = unmasking.open_revealed(
                state.transcript, state.settings.sealing_secrets, message, state.updates, state.share_tags
            )
            state = replace(state, shares={**state.shares, message.institution: shares})
            return state, tuple(_report(transcript, fault) for fault in faults)
        case m.RoundAbandoned():
            accused = {**state.accused, **dict.fromkeys(message.at_fault, message.epoch)}
            return replace(_between_rounds(state), accused=accused, in_vain=_opened_in_vain(state, before)), ()
        case m.SumOpened():
            return replace(_between_rounds(state), in_vain=_opened_in_vain(state, before)), ()  # Until it is merged.
        case m.ModelPublished():
            ours = state.candidate is not None and model_digest(state.candidate) == message.model_digest
            return replace(_between_rounds(state), model=state.candidate if ours else None, in_vain=()), ()
        case _:
            return state, ()


def _between_rounds(state: CoordinatorState) -> CoordinatorState:
    """Without what belonged to the round that ended."""
    started = state.transcript.round_next - 1
    kept = {proposal: at for proposal, at in state.proposed.items() if proposal[2] == 0 or proposal[2] >= started}
    return replace(state, updates={}, shares={}, masked_sum=None, refused=None, opened=None, candidate=None, proposed=kept, open_at_ms=None)


def _opened_in_vain(state: CoordinatorState, before: Transcript) -> tuple[tuple[int, frozenset[str]], ...]:
    """Sums that were opened and gave no model, the one of the round just abandoned included if shares had been revealed."""
    ended = before.round
    if ended is None or not ended.reveals:
        return state.in_vain
    return (*state.in_vain[-DIFFERENCE_ROUNDS:], (ended.opened.round, frozenset(ended.survivors)))


def _summed(state: CoordinatorState, event: ChunksSummed | ChunksRefused) -> CoordinatorState:
    """An answer about another round or another list of survivors is late, and dropped."""
    current = state.transcript.round
    if current is None or event.round_id != state.transcript.round_id() or event.survivors_digest != current.survivors_digest:
        return state
    if isinstance(event, ChunksRefused):
        return replace(state, refused=event)
    return replace(state, masked_sum=event.masked_sum)


def _report(transcript: Transcript, fault: PeerFault) -> Report:
    return Report(fault.kind, fault.accused, fault.detail, transcript.round_id() if transcript.round else None)
