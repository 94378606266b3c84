"""One institution as it learns here: the worker's study on a throw-away state, and what it said before it knew the truth.

Made by `course`, taught by it, and made to contribute by `plain` and `masked`.
Never touches what is learned: predictions are copied as the learner makes them known."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from federation.messages import CardTransaction, HeadName
from institution_workers.learner import Encoders, Judged
from institution_workers.pupil import FEDERATED, LOCAL, Pupil
from institution_workers.storage import Store
from institution_workers.study import Study, Terms
from riverbank.evaluation.judgments import Judgments
from streams.ports import Record
from streams.topology import Cluster

SERVED: Final = "served"  # The mixture that the portal scores with.
_NEVER_MS: Final = 1 << 60
_EVERYTHING: Final = 1 << 62


class SetClock:
    """A clock that shows what it was set to."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return self.at_ms


class SeededEntropy:
    """Bytes that follow from a seed and a name, and from how often `begin` was called: SHAKE-256 of all three.

    It begins anew with each contribution, so that a round draws the same rounding and noise whether or not it draws masks as well.
    """

    def __init__(self, seed: int, name: str) -> None:
        self._name = f"{seed}/{name}"
        self._begun = 0
        self._drawn = 0

    def begin(self) -> None:
        """From here on, the bytes of the next contribution."""
        self._begun += 1
        self._drawn = 0

    def __call__(self, count: int, /) -> bytes:
        """As the port `streams.ports.Entropy`."""
        self._drawn += 1
        return hashlib.shake_256(f"{self._name}/{self._begun}/{self._drawn}".encode()).digest(count)


class Institution:
    """One head of one institution."""

    def __init__(
        self,
        name: str,
        folder: Path,
        head: HeadName,
        *,
        encoders: Encoders,
        learning_rate: float,
        clock: SetClock,
        seed: int,
        judgments_of: Callable[[str], Judgments],
    ) -> None:
        """`judgments_of` a customer: where what is said of his events is kept."""
        self.name: Final = name
        self.entropy: Final = SeededEntropy(seed, name)
        self._judgments_of = judgments_of
        self._served_since: list[int] = [-1]  # Event times at which the served mixture changed,
        self._trusts: list[float] = [0.5]  # and the federated model's weight in it from then on.
        self.store: Final = Store.open(folder / name, name)
        terms = Terms(learning_rates={head: learning_rate}, serve_ms=_NEVER_MS)
        self.study: Final = Study(self.store, name, (head,), clock=clock, terms=terms, encoders=encoders, judged=self._judge)
        self.pupil: Final[Pupil] = self.study.pupils[head]

    def learn(self, records: Sequence[Record]) -> None:
        """A turn over records in the order of their arrival. The mixture served meanwhile is the one before it."""
        if records:
            self._served_since.append(records[0].timestamp_ms)
            self._trusts.append(self.pupil.trust())
            self.study.turn(records)
            self.forget_said()

    def would_serve(self, payment: CardTransaction) -> float:
        """Log-odds the portal would give this payment now; nothing is learned."""
        return _mixed(self.study.learner.say(payment), self.pupil.trust())

    def forget_said(self) -> None:
        """Drop what was to be said to the institution's own portal: nobody listens."""
        with self.store.turn():
            self.store.forget_said(Cluster.OWN, _EVERYTHING)

    def refused(self) -> int:
        """Records that were refused; an evaluation in which any was is not sound."""
        return sum(many for name, many in self.study.learner.counts.items() if name.startswith("refused."))

    def close(self) -> None:
        """Free the state."""
        self.store.close()

    def _judge(self, judged: Judged) -> None:
        said = dict(judged.said)
        if judged.head is not HeadName.PRODUCTS:
            trust = self._trusts[bisect_right(self._served_since, judged.at_ms) - 1]
            said[SERVED] = _mixed(said, trust)
        self._judgments_of(judged.customer).add(judged.at_ms, said, positive=judged.positive)


def _mixed(said: Mapping[str, float], trust: float) -> float:
    """As `Pupil.serving` mixes: log-odds, by the federated model's weight."""
    return trust * said[FEDERATED] + (1.0 - trust) * said[LOCAL]
