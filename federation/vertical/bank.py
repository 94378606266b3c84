"""The bank's side of a run: which customers are shared, and training, one step at a time.

Driven by `institution_workers.vertical`; the phases are in `phases`.
Never says a name, a label, a residual or a score but blinded or under its own encryption."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.secagg.keys import Entropy
from federation.vertical import intersection, membership
from federation.vertical.effects import (
    Abandoned,
    Aligned,
    Effect,
    Event,
    Heard,
    Learned,
    PassSeen,
    StartIntersection,
    StartTraining,
    Tick,
)
from federation.vertical.encryption import HeldKey, key_to_bytes
from federation.vertical.phases import BANK_MOVES, BankPhase
from federation.vertical.run import Resolving, State, Turn, admitted, ticked, work_of
from federation.vertical.scorecard import Half
from federation.vertical.training import (
    Training,
    begun,
    judged,
    next_pass,
    require_fitting,
    say_blinded,
    say_numbers,
    say_opened,
    stepped,
    take_opened,
)

_P: Final = m.TablePurpose


def step(state: State, event: Event, *, entropy: Entropy, answer_by_ms: int) -> tuple[State, tuple[Effect, ...]]:
    """One event. PeerFault (a replay, a gap, an absent move) and OwnFault (a run that cannot begin) change nothing."""
    if isinstance(event, Tick):
        return ticked(state, event, BANK_MOVES, BankPhase.IDLE)
    if isinstance(event, Heard):
        ready = admitted(state, event, BANK_MOVES, (), BankPhase.IDLE, accused=state.parties.partner)
        if ready is None:
            return state, ()
        turn = Turn(ready, BANK_MOVES, answer_by_ms)
        turn.hear(BankPhase.IDLE, lambda: _hear(turn, event.message, entropy))
        return turn.done()
    if state.phase is not BankPhase.IDLE or event.run <= state.run:
        raise OwnFault(f"no run can begin while {state.phase.value}")
    turn = Turn(state, BANK_MOVES, answer_by_ms)
    if isinstance(event, StartIntersection):
        _start_intersection(turn, event, entropy)
    else:
        _start_training(turn, event, entropy)
    return turn.done()


def _start_intersection(turn: Turn, event: StartIntersection, entropy: Entropy) -> None:
    parties = turn.state.parties
    names: tuple[str, ...] = event.names
    if event.policy is m.OverlapPolicy.HIDDEN:
        names = tuple(membership.padded(names, event.length, entropy=entropy))
    context = intersection.run_context(parties.federation, parties.bank, parties.partner, event.run)
    asking, points = intersection.ask(names, context, entropy=entropy)
    turn.begin(event.run, BankPhase.INTERSECTING, Resolving(event.policy, asking.names, secret=asking.scalar))
    turn.say(m.IntersectionAsked(policy=event.policy, points=points))


def _start_training(turn: Turn, event: StartTraining, entropy: Entropy) -> None:
    state, table = turn.state, event.table
    require_fitting(len(table.rows), event.held_out, table.rows_min, state.parties.bits, hidden=event.alignment != 0)
    if event.warm and state.half is None:
        raise OwnFault("there are no weights to go on from: train from zero first")
    start = state.half if event.warm and state.half is not None else Half.untaught(table.width, ridge=event.ridge)
    key = HeldKey.drawn(state.parties.bits, entropy=entropy)
    modulus, hiding_base = key_to_bytes(key)
    training = begun(table, start, held_out=event.held_out, passes_max=event.passes_max, labels=event.labels, offset=event.prior, key=key)
    turn.begin(event.run, BankPhase.JOINING, training)
    turn.say(
        m.TrainingAsked(
            alignment=event.alignment, rows=event.references, held_out=event.held_out, warm=event.warm,
            version=state.version if event.warm else 0, passes_max=event.passes_max, modulus=modulus, hiding_base=hiding_base,
        )
    )  # fmt: skip


def _hear(turn: Turn, message: m.Message, entropy: Entropy) -> None:
    partner = turn.state.parties.partner
    match message:
        case m.RunAbandoned():
            turn.ask(Abandoned(turn.state.run, message.reason, message.detail))
            turn.state = replace(turn.state, phase=BankPhase.IDLE, work=None)
        case m.IntersectionAnswered():
            _close(turn, message, entropy)
        case m.MembershipMasked():
            _unmask(turn, message)
        case m.TrainingAccepted():
            bits_min = turn.state.parties.bits
            training = work_of(turn.state, Training)
            joined = training.with_peer(message.modulus, message.hiding_base, accused=partner, bits_min=bits_min)
            turn.go(m.TrainingAccepted, BankPhase.HEARING_SCORES, joined)
        case m.NumbersEncrypted():
            loss = turn.state.phase is BankPhase.HEARING_LOSS
            due = _P.LOSS if loss else _P.SCORES
            training, blinded = say_blinded(work_of(turn.state, Training), due, message, entropy=entropy, accused=partner)
            turn.go(m.NumbersEncrypted, BankPhase.READING_LOSS if loss else BankPhase.READING_SCORES, training)
            turn.say(blinded)
        case m.SumsBlinded():
            training = work_of(turn.state, Training)
            opened = say_opened(training, _P.RESIDUALS, message, accused=partner)
            turn.go(m.SumsBlinded, BankPhase.HEARING_LOSS, training)
            turn.say(opened)
        case m.SumsOpened() if turn.state.phase is BankPhase.READING_SCORES:
            _learn(turn, message, entropy)
        case m.SumsOpened():
            _judge(turn, message)


# --- intersection -----------------------------------------------------------------------------------------------
def _close(turn: Turn, message: m.IntersectionAnswered, entropy: Entropy) -> None:
    state, resolving = turn.state, work_of(turn.state, Resolving)
    if resolving.secret is None:
        raise OwnFault("the secret of this intersection is gone")
    asking = intersection.Asking(resolving.names, resolving.secret)
    matched = intersection.matches(asking, message.raised, message.own, accused=state.parties.partner)
    hidden = resolving.policy is m.OverlapPolicy.HIDDEN
    positions, bits_key, bits, secret = b"", b"", b"", None
    if hidden:
        if len(message.own) != len(message.raised):
            raise PeerFault("bad_points", "the partner's list is not padded to the bank's length", accused=state.parties.partner)
        secret, assigned = membership.assign(matched, len(resolving.names), entropy=entropy)
        positions, bits_key, bits = intersection.positions_to_bytes(assigned.positions), assigned.key, assigned.bits
    elif resolving.policy is m.OverlapPolicy.SHOWN:
        positions = intersection.positions_to_bytes([theirs for _, theirs in matched])
    work = replace(resolving, secret=secret, shared=len(matched)) if hidden else None
    turn.go(m.IntersectionAnswered, BankPhase.MASKING if hidden else BankPhase.IDLE, work)
    turn.say(m.IntersectionClosed(shared=len(matched), positions=positions, bits_key=bits_key, bits=bits))
    if not hidden:
        shown = resolving.policy is m.OverlapPolicy.SHOWN
        names = tuple(resolving.names[ours] for ours, _ in matched) if shown else ()
        turn.ask(Aligned(state.run, resolving.policy, len(matched), names))


def _unmask(turn: Turn, message: m.MembershipMasked) -> None:
    resolving = work_of(turn.state, Resolving)
    if resolving.secret is None:
        raise OwnFault("the secret of this intersection is gone")
    bits = membership.open_bits(message.bits, resolving.secret, len(resolving.names), accused=turn.state.parties.partner)
    turn.go(m.MembershipMasked, BankPhase.IDLE, None)
    turn.ask(Aligned(turn.state.run, resolving.policy, resolving.shared, resolving.names, bits))


# --- training ---------------------------------------------------------------------------------------------------
def _learn(turn: Turn, message: m.SumsOpened, entropy: Entropy) -> None:
    """The bank's Newton step; then its table for the partner's."""
    training, sums = take_opened(work_of(turn.state, Training), _P.SCORES, message, accused=turn.state.parties.partner)
    training = stepped(training, sums)
    turn.go(m.SumsOpened, BankPhase.OPENING_RESIDUALS, training)
    turn.say(say_numbers(training, _P.RESIDUALS, entropy=entropy))


def _judge(turn: Turn, message: m.SumsOpened) -> None:
    """After the pass: is there another one, and whose weights are the best so far?"""
    training, sums = take_opened(work_of(turn.state, Training), _P.LOSS, message, accused=turn.state.parties.partner)
    training, finished = judged(training, float(sums[0]))
    run, version = turn.state.run, turn.state.run if finished else 0
    turn.ask(PassSeen(run, training.number, training.loss, training.gain / training.learned_from))
    if finished:
        half = training.lesson.learned(training.kept_weights)
        turn.go(m.SumsOpened, BankPhase.IDLE, None)
        turn.state = replace(turn.state, half=half, version=version)
        turn.ask(Learned(run, version, half, training.number, training.kept))
    else:
        turn.go(m.SumsOpened, BankPhase.HEARING_SCORES, next_pass(training))
    turn.say(m.PassEnded(number=training.number, finished=finished, kept=training.kept, version=version))
