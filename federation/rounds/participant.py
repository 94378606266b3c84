"""An institution's side of a lane: the step from one event to the next.

Called by `head_participant` for every record of the lane's log, every contribution and every tick.
Never says anything that its returned state does not already account for: the shell saves the state, then speaks."""

from __future__ import annotations

from dataclasses import replace

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.rounds import participant_epoch, participant_round, reading
from federation.rounds.effects import ContributionReady, Effect, Event, PartiesKnown, Received, Report, Tick
from federation.rounds.participant_round import wanted
from federation.rounds.participant_state import ParticipantSettings, ParticipantState, Terms
from federation.rounds.phases import AGGREGATOR_ALONE_READS
from federation.rounds.transcript import LATE, Transcript
from federation.secagg.keys import Entropy

__all__ = ["ParticipantSettings", "ParticipantState", "Terms", "initial", "step", "wanted"]

Outcome = tuple[ParticipantState, tuple[Effect, ...]]


def initial(settings: ParticipantSettings, *, model_version: int, model_digest: bytes) -> ParticipantState:
    """The state of an institution that has read nothing: feed it the lane's log from its start.

    `model_version` and `model_digest` are those of the model everybody starts from, version 0.
    """
    transcript = Transcript(
        federation=settings.federation,
        lane=settings.lane,
        aggregator=settings.aggregator,
        model_version=model_version,
        model_digest=model_digest,
    )
    return ParticipantState(settings=settings, transcript=transcript)


def step(state: ParticipantState, event: Event, entropy: Entropy) -> Outcome:
    """One event. OwnFault, and nothing changed: an event that is not for a participant, or a second contribution for one round."""
    match event:
        case Tick(now_ms):
            return replace(state, now_ms=max(now_ms, state.now_ms or 0)), ()
        case PartiesKnown(acceptable, sealing_keys):
            return replace(state, acceptable=acceptable, sealing_keys=sealing_keys), ()
        case ContributionReady():
            return participant_round.contribute(state, event, entropy)
        case Received(message=message) if isinstance(message, AGGREGATOR_ALONE_READS):
            return state, ()
        case Received():
            return _received(state, event, entropy)
        case _:
            raise OwnFault(f"{type(event).__name__} is not for a participant")


def _received(state: ParticipantState, received: Received, entropy: Entropy) -> Outcome:
    before = state.transcript
    try:
        transcript = reading.fold(before, received)
    except PeerFault as fault:
        if fault.kind == LATE:
            return state, ()
        return state, (Report(fault.kind, fault.accused, fault.detail, before.round_id() if before.round else None),)
    if transcript is before:
        return state, ()
    state = replace(state, transcript=transcript)
    state, effects = _react(state, before, received.message, entropy)
    return _forget(state), effects


def _react(  # noqa: C901, PLR0911  # One branch per message.
    state: ParticipantState, before: Transcript, message: m.Message, entropy: Entropy
) -> Outcome:
    match message:
        case m.EpochAnnounced():
            return participant_epoch.on_announced(state, message, entropy)
        case m.EpochKeys():
            return participant_epoch.on_keys(state, message)
        case m.EpochRoster():
            return participant_epoch.on_roster(state, message, entropy)
        case m.EpochShares():
            return participant_epoch.on_shares(state, message)
        case m.EpochReady():
            return participant_epoch.on_ready(state, message)
        case m.RoundOpened():
            return participant_round.on_opened(state, message)
        case m.MaskedUpdate():
            return participant_round.on_masked(state, message)
        case m.SurvivorsNamed():
            return participant_round.on_survivors(state, message)
        case m.SurvivorsAcked():
            return participant_round.on_acked(state, entropy)
        case m.ModelPublished() | m.SumOpened() | m.RoundAbandoned():
            return participant_round.on_ended(state, before, message)
        case _:
            return state, ()


def _forget(state: ParticipantState) -> ParticipantState:
    """Without the secrets of epochs that the log has closed or passed over."""
    alive = {epoch.number for epoch in (state.transcript.current, state.transcript.pending) if epoch is not None}
    if alive >= state.secrets.keys():
        return state
    return replace(state, secrets={number: kept for number, kept in state.secrets.items() if number in alive})
