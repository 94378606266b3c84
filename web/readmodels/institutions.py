"""How each institution's learning goes: its newest status per head, and the quality over time.

Fed by `web.feed` with verified InstitutionStatus messages; shown by the live page and `/api/v1/institutions`.
Never holds anything of a customer: statuses are counts and scores."""

from __future__ import annotations

from collections import deque
from typing import Final

from federation import messages as m
from web.readmodels.lag import Lags

HISTORY_MAX: Final = 240
SILENT_AFTER_MS: Final = 10_000


class Institutions:
    """Fold of status.v1."""

    def __init__(self) -> None:
        self.lags = Lags()
        self.newest: dict[tuple[str, m.HeadName], m.InstitutionStatus] = {}
        self.quality: dict[m.HeadName, deque[tuple[int, float, float]]] = {head: deque(maxlen=HISTORY_MAX) for head in m.HeadName}

    def apply(self, status: m.InstitutionStatus) -> None:
        """Keep the newest status of each (institution, head) and one point of the head's mean quality."""
        self.newest[status.institution, status.head] = status
        self.lags.apply(status)
        federated, local = self.mean_quality(status.head)
        if federated is not None and local is not None:
            self.quality[status.head].append((status.at_ms, federated, local))

    def names(self) -> list[str]:
        """Institutions heard of, sorted."""
        return sorted({institution for institution, _ in self.newest})

    def of_head(self, head: m.HeadName) -> list[m.InstitutionStatus]:
        """Newest statuses of one head, by institution."""
        return [self.newest[key] for key in sorted(self.newest) if key[1] is head]

    def mean_quality(self, head: m.HeadName) -> tuple[float | None, float | None]:
        """(federated, local-only): mean over the institutions where both are defined, each counting by its scored predictions."""
        rows = [s for s in self.of_head(head) if s.quality_federated >= 0 and s.quality_local >= 0 and s.scored > 0]
        total = sum(s.scored for s in rows)
        if total == 0:
            return None, None
        return sum(s.quality_federated * s.scored for s in rows) / total, sum(s.quality_local * s.scored for s in rows) / total

    def state_of(self, status: m.InstitutionStatus, round_newest: int, now_ms: int) -> str:
        """One word for the lag: ok, behind (misses rounds or reads late) or silent (no status for a while)."""
        if now_ms - status.at_ms > SILENT_AFTER_MS:
            return "silent"
        return "behind" if round_newest - status.round > 1 or status.lag_ms > SILENT_AFTER_MS else "ok"
