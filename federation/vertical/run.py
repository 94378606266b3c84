"""What both parties keep of their partnership, and the rules that hold for whatever is heard: replay, order, phase.

Called by `bank` and `partner`.
Never changes a state for a message that it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from federation import messages as m
from federation.errors import OwnFault, PeerFault, require
from federation.secagg.keys import Secret
from federation.vertical.effects import Abandoned, Effect, Heard, Parties, Report, Say, Tick
from federation.vertical.phases import Phase
from federation.vertical.scorecard import Half
from federation.vertical.training import Training


@dataclass(frozen=True, slots=True)
class Resolving:
    """An intersection under way. `asked_at` is the partner's, the secret the bank's."""

    policy: m.OverlapPolicy
    names: tuple[str, ...] = field(repr=False)  # Bank: in the order asked. Partner: in the order of its list.
    asked_at: tuple[int, ...] = field(default=(), repr=False)
    shared: int = 0  # How many agree, once known.
    secret: Secret | None = None  # Of the points; then, for a hidden outcome, of the bits.


Work: TypeAlias = Resolving | Training | None


@dataclass(frozen=True, slots=True)
class State:
    """One party's side of the partnership."""

    parties: Parties
    phase: Phase
    run: int = 0  # The newest.
    said: int = 0  # Messages in it.
    heard: int = 0
    answer_by_ms: int = 0
    version: int = 0  # Of the scorecard; 0: none yet.
    half: Half | None = field(default=None, repr=False)
    work: Work = None


MOVES: TypeAlias = Mapping[Phase, Mapping[type, tuple[Phase, ...]]]
Opening: TypeAlias = tuple[type, ...]
"""The messages that begin a run."""


def admitted(state: State, heard: Heard, moves: MOVES, opening: Opening, idle: Phase, *, accused: str) -> State | None:
    """The state in which `heard` is to be acted on; None if it was heard before.

    PeerFault: "stale" for an older run, "out_of_order" for a gap, "out_of_phase" for an absent move.
    """
    word = type(heard.message)
    if heard.run < state.run or (heard.run == state.run and heard.sequence <= state.heard):
        if heard.run < state.run:
            raise PeerFault("stale", f"a {word.__name__} of run {heard.run}, which is over", accused=accused)
        return None
    if heard.run > state.run:
        if word not in opening:
            raise PeerFault("out_of_phase", f"a {word.__name__} begins no run", accused=accused)
        state = replace(state, phase=idle, run=heard.run, said=0, heard=0, work=None)
    if heard.sequence != state.heard + 1:
        raise PeerFault("out_of_order", f"message {heard.sequence} where {state.heard + 1} was due", accused=accused)
    if word is not m.RunAbandoned and word not in moves[state.phase]:
        raise PeerFault("out_of_phase", f"a {word.__name__} while {state.phase.value}", accused=accused)
    return replace(state, heard=heard.sequence)


class Turn:
    """One step in the making: the state as it becomes, and what is asked for."""

    def __init__(self, state: State, moves: MOVES, answer_by_ms: int) -> None:
        self.state = state
        self._moves = moves
        self._answer_by_ms = answer_by_ms
        self.effects: list[Effect] = []

    def say(self, message: m.Message) -> None:
        """Say it, as the next message of the run."""
        self.state = replace(self.state, said=self.state.said + 1, answer_by_ms=self._answer_by_ms)
        self.effects.append(Say(self.state.run, self.state.said, message))

    def ask(self, effect: Effect) -> None:
        """Ask for this."""
        self.effects.append(effect)

    def go(self, word: type, phase: Phase, work: Work) -> None:
        """Move on; Broken if the table has no such move."""
        require(
            phase in self._moves[self.state.phase].get(word, ()), f"no move from {self.state.phase.name} by {word.__name__} to {phase.name}"
        )
        self.state = replace(self.state, phase=phase, work=work)

    def begin(self, run: int, phase: Phase, work: Work) -> None:
        """A run of our own."""
        self.state = replace(self.state, phase=phase, run=run, said=0, heard=0, work=work)

    def hear(self, idle: Phase, act: Callable[[], None]) -> None:
        """Act on an admitted message. What is wrong with it, or that we will not have it, ends the run and is said."""
        before, effects = self.state, list(self.effects)
        try:
            act()
        except (PeerFault, OwnFault) as fault:
            self.state, self.effects = before, effects
            if isinstance(fault, PeerFault):
                self.ask(Report(fault.kind, fault.accused, fault.detail))
            reason, detail = ("fault", f"{fault.kind}: {fault.detail}") if isinstance(fault, PeerFault) else ("refused", str(fault))
            self.abandon(idle, reason, detail)

    def abandon(self, idle: Phase, reason: str, detail: str, *, say: bool = True) -> None:
        """End the run without a result; the scorecard stays as it is."""
        if say:
            self.say(m.RunAbandoned(reason=reason, detail=detail))
        self.ask(Abandoned(self.state.run, reason, detail))
        self.state = replace(self.state, phase=idle, work=None)

    def done(self) -> tuple[State, tuple[Effect, ...]]:
        """What a step returns."""
        return self.state, tuple(self.effects)


def ticked(state: State, tick: Tick, moves: MOVES, idle: Phase) -> tuple[State, tuple[Effect, ...]]:
    """A run whose answer is overdue is abandoned."""
    turn = Turn(state, moves, tick.now_ms)
    if state.phase is not idle and tick.now_ms >= state.answer_by_ms:
        turn.abandon(idle, "deadline", f"no answer in time while {state.phase.value}")
    return turn.done()


W = TypeVar("W", Resolving, Training)


def work_of(state: State, kind: type[W]) -> W:
    """The work under way, which the phase says is of this kind."""
    require(isinstance(state.work, kind), f"no {kind.__name__} while {state.phase.name}")
    return state.work  # type: ignore[return-value]  # Required above.
