"""A round in the open: the integers that would be masked are added as they are.

Used by `course` for sweeps; `masked` holds the same round with the whole protocol, and a test proves both models equal, bit for bit.
Never used outside of an evaluation: here one process sees every institution's contribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from federation.limits import corrupt_of, threshold_of
from federation.merge import Vector, next_model
from federation.rounds.coordinator import CoordinatorSettings
from federation.secagg import ring
from federation.secagg.quantize import UnusableSum, contribution_length, decode_sum
from institution_workers.pupil import Basis
from riverbank.evaluation.institution import Institution

_EPOCH: Final = 1


class PlainRounds:
    """Rounds of some institutions, all of whom take part in each."""

    def __init__(self, institutions: Sequence[Institution], settings: CoordinatorSettings) -> None:
        self._institutions = institutions
        self._settings = settings
        self._version = 0
        self.model = np.zeros(settings.parameters.dimension)
        self.held = 0  # Rounds, those without a model included.
        self.abandoned = 0

    async def open(self) -> None:
        """Nothing to set up."""

    async def hold(self) -> None:
        """One round: contribute, add, step, adopt."""
        self.held += 1
        mean_delta = self._mean_delta()
        if mean_delta is None:
            self.abandoned += 1
            return
        self.model = next_model(self.model, mean_delta, server_step=self._settings.server_step)
        self._version += 1
        for institution in self._institutions:
            institution.pupil.acknowledge(_EPOCH, self.held, included=True)
            institution.pupil.adopt(self.model, Basis(self._version, _EPOCH, self.held))

    def bytes_sent(self) -> int | None:
        """Nothing is sent."""
        return None

    def _mean_delta(self) -> Vector | None:
        """Of this round; None if it gives no model."""
        opened = self._opened(self._institutions)
        return None if opened is None else opened[0]

    def _opened(self, institutions: Sequence[Institution]) -> tuple[Vector, int] | None:
        """The mean delta and the number of customers of a sum over these; None if it is not to be used."""
        parameters = self._settings.parameters
        total = ring.zeros(contribution_length(parameters))
        honest = threshold_of(len(institutions)) - corrupt_of(len(institutions))
        for institution in institutions:
            ring.add(total, self._contribution(institution, honest))
        try:
            mean_delta, customers = decode_sum(total, parameters, len(institutions))
        except UnusableSum:
            return None
        return None if customers < self._settings.customers_min else (mean_delta, customers)

    def _contribution(self, institution: Institution, honest_survivors: int) -> ring.RingVector:
        """As institution_workers.participation prepares it."""
        institution.entropy.begin()
        study, head = institution.study, institution.pupil.head
        with institution.store.turn():
            ready = study.contribution(head, self._settings.parameters, honest_survivors=honest_survivors, entropy=institution.entropy)
            study.said(head, ready, epoch=_EPOCH, round_=self.held)
        return ready.made.values
