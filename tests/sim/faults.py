"""What may go wrong in a simulated world, and when: every misfortune is drawn from the seed.

Used by `world`; `CALM` is a world in which nothing goes wrong.
Never breaks what a log promises: records are late, twice or lost with their sender, but never altered or out of order."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final


class Crash(Exception):
    """The process died here; what it had not saved is gone."""


class Cut(Exception):
    """The log cannot be reached."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Chances, each per opportunity."""

    crash: float = 0.0  # At a labelled point of a turn.
    partial: float = 0.0  # A poll brings only some of what is there.
    repeat: float = 0.0  # A record is read twice, or appended twice.
    cut: float = 0.0  # A party loses the log for some seconds, per turn.
    idle: float = 0.0  # A contribution is made a turn later, or too late.
    zombie: float = 0.0  # The aggregator is taken for dead and lives on for some turns beside its successor, per turn.

    @classmethod
    def drawn(cls, seed: int) -> Faults:
        """A mixture: most worlds have few kinds of trouble, some have all."""
        rng = random.Random(f"faults/{seed}")
        return cls(
            crash=rng.choice([0.0, 0.02, 0.1]),
            partial=rng.choice([0.0, 0.3, 0.7]),
            repeat=rng.choice([0.0, 0.1, 0.3]),
            cut=rng.choice([0.0, 0.02, 0.08]),
            idle=rng.choice([0.0, 0.2, 0.6]),
            zombie=rng.choice([0.0, 0.0, 0.03]),
        )

    def rarer(self, times: int) -> Faults:
        """The same mixture where many parties must all get through: deaths and cuts are per turn of each of them."""
        return replace(self, crash=self.crash / times, cut=self.cut / times, idle=self.idle / times, zombie=self.zombie / times)


CALM: Final = Faults()
# The labelled points of a turn, in order.
POINTS: Final = ("polled", "stepped", "saved", "said one", "said", "cleared")


class Trouble:
    """Draws misfortune for one world, and counts it."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._rng = random.Random(f"trouble/{seed}")
        self.faults = faults
        self.crashes: dict[str, int] = dict.fromkeys(POINTS, 0)

    def reach(self, point: str) -> None:
        """A labelled point of a turn; may be the process's last."""
        if self.chance(self.faults.crash):
            self.crashes[point] += 1
            raise Crash(point)

    def chance(self, probability: float) -> bool:
        """Whether something of that chance happens now."""
        return probability > 0 and self._rng.random() < probability

    def between(self, least: int, most: int) -> int:
        """A whole number from least to most."""
        return self._rng.randint(least, most)

    def one_of(self, things: list[str]) -> str:
        """Any of them."""
        return self._rng.choice(things)
