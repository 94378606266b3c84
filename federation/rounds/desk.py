"""One look at a state: what is asked for, what is proposed to the log, when to look again.

Used by `decisions` (of a lane) and `head_decisions` (of a head).
Never decides anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from federation.rounds.effects import Effect

Proposal: TypeAlias = tuple[str, int, int]
"""Message name, epoch, round (0 for an epoch's)."""


@dataclass(slots=True, kw_only=True)
class Desk:
    """`proposed` holds when each decision was said that has not been read back."""

    now_ms: int
    propose_again_ms: int
    proposed: dict[Proposal, int]
    effects: list[Effect] = field(default_factory=list)
    wake_ms: list[int] = field(default_factory=list)

    def due(self, at_ms: int) -> bool:
        """Whether that time has come; if not, look again then."""
        if self.now_ms >= at_ms:
            return True
        self.wake_ms.append(at_ms)
        return False

    def free(self, proposal: Proposal) -> bool:
        """Whether this decision may be proposed: not while it is on its way."""
        said = self.proposed.get(proposal)
        return said is None or self.due(said + self.propose_again_ms)

    def propose(self, proposal: Proposal, effect: Effect) -> None:
        """Ask for it unless it is on its way."""
        if self.free(proposal):
            self.proposed[proposal] = self.now_ms
            self.due(self.now_ms + self.propose_again_ms)
            self.effects.append(effect)
