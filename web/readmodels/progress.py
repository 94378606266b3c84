"""How an institution's own learning goes, exactly, and what its served models weighed at each version.

Fed by `web.feed` with LearningProgress and ServingModel; shown to ML engineers.
Never leaves the institution's portal: the federation is told roughly (status.v1)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from federation import messages as m
from federation.heads.head import Layout, Vector

HISTORY_MAX: Final = 240
VERSIONS_MAX: Final = 20


@dataclass(frozen=True)
class Served:
    """A head's model as it was served: the last one that rested on this version."""

    described: m.ServingModel
    vector: Vector


@dataclass(frozen=True)
class Weight:
    """A coordinate and what it weighs, in log-odds; `change` since the version before."""

    feature: str
    value: str
    weight: float
    change: float | None


class Progress:
    """Fold of progress.v1 and serving_models.v1 of one institution."""

    def __init__(self) -> None:
        self.newest: dict[m.HeadName, m.LearningProgress] = {}
        self.quality: dict[m.HeadName, deque[tuple[int, float, float]]] = {head: deque(maxlen=HISTORY_MAX) for head in m.HeadName}
        self.served: dict[m.HeadName, deque[Served]] = {head: deque(maxlen=VERSIONS_MAX) for head in m.HeadName}

    def apply(self, message: m.Message) -> None:
        """Fold one message."""
        if isinstance(message, m.LearningProgress):
            self.newest[message.head] = message
            status = message.status
            if status.quality_federated >= 0 and status.quality_local >= 0:
                self.quality[message.head].append((status.at_ms, status.quality_federated, status.quality_local))
        elif isinstance(message, m.ServingModel):
            kept = self.served[message.head]
            if kept and kept[-1].described.version == message.version:
                kept.pop()
            kept.append(Served(message, np.frombuffer(message.vector, dtype="<f8")))

    def weights(self, head: m.HeadName, layout: Layout, most: int) -> list[Weight]:
        """The coordinates that changed most since the version before, or, of a first version, weigh most; none for another layout's model."""
        kept = self.served[head]
        if not kept or kept[-1].described.layout_digest != layout.digest:
            return []
        now = kept[-1].vector
        same = len(kept) > 1 and kept[-2].described.layout_digest == layout.digest
        change = now - kept[-2].vector if same else None
        size = np.abs(now if change is None else change)
        order = [index for index in np.argsort(-size, kind="stable")[:most].tolist() if size[index] > 0.0]
        return [Weight(*layout.parts(index), float(now[index]), None if change is None else float(change[index])) for index in order]
