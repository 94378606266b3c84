"""The partner's side of a run: answers the bank's names, and trains its half, one step at a time.

Driven by `institution_workers.vertical`; the phases are in `phases`.
Never says a name, a feature or its points of a training row but blinded or under its own encryption.

`Heard.own` is what the shell has looked up: for an IntersectionAsked the names it may list (`Names`), for a TrainingAsked its rows (`Table`); or why
it will not (a sentence).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.secagg.keys import Entropy
from federation.vertical import intersection, membership
from federation.vertical.effects import Abandoned, Aligned, Begun, Effect, Event, Heard, Learned, Names, PassSeen, Table, Tick
from federation.vertical.encryption import HeldKey, key_to_bytes
from federation.vertical.phases import PARTNER_MOVES, PartnerPhase
from federation.vertical.run import Resolving, State, Turn, admitted, ticked, work_of
from federation.vertical.scorecard import Half
from federation.vertical.training import (
    Training,
    begun,
    kept,
    next_pass,
    require_fitting,
    say_blinded,
    say_numbers,
    say_opened,
    stepped,
    take_opened,
)

G = TypeVar("G", Names, Table)
_P: Final = m.TablePurpose
_OPENING: Final = (m.IntersectionAsked, m.TrainingAsked)


def step(state: State, event: Event, *, entropy: Entropy, answer_by_ms: int, ridge: float) -> tuple[State, tuple[Effect, ...]]:
    """One event. PeerFault (a replay, a gap, an absent move) changes nothing. `ridge` holds untaught weights at zero."""
    if isinstance(event, Tick):
        return ticked(state, event, PARTNER_MOVES, PartnerPhase.IDLE)
    if not isinstance(event, Heard):
        raise OwnFault("only the bank begins a run")
    bank = state.parties.bank
    ready = admitted(state, event, PARTNER_MOVES, _OPENING, PartnerPhase.IDLE, accused=bank)
    if ready is None:
        return state, ()
    turn = Turn(ready, PARTNER_MOVES, answer_by_ms)
    if ready.run > state.run and state.work is not None:
        turn.ask(Abandoned(state.run, "stale", "the bank has begun another run"))
    turn.hear(PartnerPhase.IDLE, lambda: _hear(turn, event, entropy, ridge))
    return turn.done()


def _hear(turn: Turn, event: Heard, entropy: Entropy, ridge: float) -> None:
    message, bank = event.message, turn.state.parties.bank
    match message:
        case m.RunAbandoned():
            turn.ask(Abandoned(turn.state.run, message.reason, message.detail))
            turn.state = replace(turn.state, phase=PartnerPhase.IDLE, work=None)
        case m.IntersectionAsked():
            _answer(turn, message, _granted(event.own, Names), entropy)
        case m.IntersectionClosed():
            _align(turn, message, entropy)
        case m.TrainingAsked():
            _join(turn, message, _granted(event.own, Table), entropy, ridge)
        case m.NumbersEncrypted():
            training, blinded = say_blinded(work_of(turn.state, Training), _P.RESIDUALS, message, entropy=entropy, accused=bank)
            turn.go(m.NumbersEncrypted, PartnerPhase.READING_RESIDUALS, training)
            turn.say(blinded)
        case m.SumsBlinded():
            loss = turn.state.phase is PartnerPhase.OPENING_LOSS
            training = work_of(turn.state, Training)
            opened = say_opened(training, _P.LOSS if loss else _P.SCORES, message, accused=bank)
            turn.go(m.SumsBlinded, PartnerPhase.DECIDED if loss else PartnerPhase.HEARING_RESIDUALS, training)
            turn.say(opened)
        case m.SumsOpened():
            training, sums = take_opened(work_of(turn.state, Training), _P.RESIDUALS, message, accused=bank)
            training = stepped(training, sums)
            turn.go(m.SumsOpened, PartnerPhase.OPENING_LOSS, training)
            turn.say(say_numbers(training, _P.LOSS, entropy=entropy))
        case m.PassEnded():
            _end_pass(turn, message, entropy)


def _granted(own: object, kind: type[G]) -> G:
    """What the shell looked up; OwnFault with its sentence if it will not."""
    if isinstance(own, kind):
        return own
    raise OwnFault(own if isinstance(own, str) else "nothing was looked up for this run")


# --- intersection -----------------------------------------------------------------------------------------------
def _answer(turn: Turn, message: m.IntersectionAsked, names: Names, entropy: Entropy) -> None:
    state = turn.state
    bank, hidden = state.parties.bank, message.policy is m.OverlapPolicy.HIDDEN
    listed = list(names.names)
    if hidden:
        # Both lists have one length, else whom the bank leaves unassigned would be known not to be shared.
        listed = membership.padded(listed, len(message.points) // 32, entropy=entropy)
    context = intersection.run_context(state.parties.federation, bank, state.parties.partner, state.run)
    made = intersection.answer(message.points, listed, context, policy=message.policy, most=names.most, entropy=entropy, accused=bank)
    turn.go(m.IntersectionAsked, PartnerPhase.CLOSING, Resolving(message.policy, made.names, made.asked_at))
    turn.ask(Begun(state.run, message.policy))
    turn.say(m.IntersectionAnswered(raised=made.raised, own=made.own))


def _align(turn: Turn, message: m.IntersectionClosed, entropy: Entropy) -> None:
    resolving, bank = work_of(turn.state, Resolving), turn.state.parties.bank
    asked = len(resolving.asked_at)
    positions = intersection.positions_from_bytes(message.positions, below=len(resolving.names), accused=bank)
    if not 0 <= message.shared <= min(asked, len(resolving.names)):
        raise PeerFault("bad_positions", f"{message.shared} shared of {asked} asked", accused=bank)
    due = {m.OverlapPolicy.SHOWN: message.shared, m.OverlapPolicy.COUNTED: 0, m.OverlapPolicy.HIDDEN: asked}[resolving.policy]
    if len(positions) != due:
        raise PeerFault("bad_positions", f"{len(positions)} places where {due} were due", accused=bank)
    turn.go(m.IntersectionClosed, PartnerPhase.IDLE, None)
    names, coins = tuple(resolving.names[place] for place in positions), b""
    if resolving.policy is m.OverlapPolicy.HIDDEN:
        assigned = membership.Assignment(tuple(positions), message.bits_key, message.bits)
        bits, coins = membership.flip(assigned, resolving.asked_at, entropy=entropy, accused=bank)
        # Row i is the bank's i-th name and whom the place of its answer was assigned.
        by_row = dict(zip(resolving.asked_at, names, strict=True))
        names = tuple(by_row[row] for row in range(asked))
        turn.say(m.MembershipMasked(bits=bits))
    turn.ask(Aligned(turn.state.run, resolving.policy, message.shared, names, coins))


# --- training ---------------------------------------------------------------------------------------------------
def _join(turn: Turn, message: m.TrainingAsked, table: Table, entropy: Entropy, ridge: float) -> None:
    state, parties = turn.state, turn.state.parties
    require_fitting(len(table.rows), message.held_out, table.rows_min, parties.bits, hidden=message.alignment != 0)
    if message.warm and (state.half is None or message.version != state.version):
        raise OwnFault(f"version {message.version} is not the scorecard at hand, {state.version}: train from zero")
    start = state.half if message.warm and state.half is not None else Half.untaught(table.width, ridge=ridge)
    key = HeldKey.drawn(parties.bits, entropy=entropy)
    modulus, hiding_base = key_to_bytes(key)
    training = begun(table, start, held_out=message.held_out, passes_max=message.passes_max, key=key).with_peer(
        message.modulus, message.hiding_base, accused=parties.bank, bits_min=parties.bits
    )
    turn.go(m.TrainingAsked, PartnerPhase.OPENING_SCORES, training)
    turn.ask(Begun(state.run, None))
    turn.say(m.TrainingAccepted(modulus=modulus, hiding_base=hiding_base))
    turn.say(say_numbers(training, _P.SCORES, entropy=entropy))


def _end_pass(turn: Turn, message: m.PassEnded, entropy: Entropy) -> None:
    training, bank = work_of(turn.state, Training), turn.state.parties.bank
    if message.number != training.number or message.kept not in {training.kept, training.number}:
        raise PeerFault("out_of_step", f"the end of pass {message.number} in pass {training.number}", accused=bank)
    if not message.finished and training.number >= training.passes_max:
        raise PeerFault("out_of_step", f"another pass after {training.passes_max}", accused=bank)
    if message.kept == training.number:
        training = kept(training)
    turn.ask(PassSeen(turn.state.run, training.number, None, training.gain / training.learned_from))
    if message.finished:
        half = training.lesson.learned(training.kept_weights)
        turn.go(m.PassEnded, PartnerPhase.IDLE, None)
        turn.state = replace(turn.state, half=half, version=message.version)
        turn.ask(Learned(turn.state.run, message.version, half, training.number, training.kept))
    else:
        training = next_pass(training)
        turn.go(m.PassEnded, PartnerPhase.OPENING_SCORES, training)
        turn.say(say_numbers(training, _P.SCORES, entropy=entropy))
