"""How the vertical partnerships go: what either party last said, and the loss of each pass.

Fed by `web.feed` with verified VerticalStatus messages; shown by the live page and `/api/v1/partnerships`.
Never holds anything of a customer, nor how far two parties overlap: statuses do not say it."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Final

from federation import messages as m
from federation.errors import PeerFault

LOSSES_MAX: Final = 240


class Partnerships:
    """Fold of vertical_status.v1."""

    def __init__(self) -> None:
        self.newest: dict[tuple[str, str, str], m.VerticalStatus] = {}
        self.losses: defaultdict[tuple[str, str], deque[tuple[int, int, float]]] = defaultdict(lambda: deque(maxlen=LOSSES_MAX))

    def apply(self, status: m.VerticalStatus) -> None:
        """Keep the newest status of each party, and each pass's loss once; PeerFault for a partnership of others."""
        if status.institution not in {status.bank, status.partner}:
            raise PeerFault("not_entitled", "speaks of a partnership of others", accused=status.institution)
        self.newest[status.bank, status.partner, status.institution] = status
        losses = self.losses[status.bank, status.partner]
        point = (status.run, status.number)
        if status.loss >= 0 and status.institution == status.bank and (not losses or losses[-1][:2] != point):
            losses.append((*point, status.loss))

    def pairs(self) -> list[tuple[str, str]]:
        """(bank, partner) heard of, sorted."""
        return sorted({(bank, partner) for bank, partner, _ in self.newest})

    def of(self, bank: str, partner: str) -> tuple[m.VerticalStatus | None, m.VerticalStatus | None]:
        """What the bank, and what the partner last said."""
        return self.newest.get((bank, partner, bank)), self.newest.get((bank, partner, partner))
