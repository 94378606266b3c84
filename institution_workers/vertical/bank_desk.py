"""What the bank begins and remembers: intersections, trainings, the requests that wait for them, its scorecard without the partner.

Called by `worker` to begin runs, and by `runs` with what has come of them.
Never tells a request anything but counts and a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from federation import messages as m
from federation.errors import OwnFault
from federation.heads.scoring import probability_of
from federation.ids import digest_of
from federation.vertical.effects import Abandoned, Aligned, Effect, Learned, Names, StartIntersection, StartTraining, Table
from federation.vertical.membership import is_padding
from federation.vertical.scorecard import Half, Lesson, Rows
from institution_workers.storage import Store
from institution_workers.vertical.partner_desk import references
from institution_workers.vertical.people import People, Placed
from streams.codec import encode
from streams.ports import Outgoing
from streams.settings import VerticalSettings
from streams.topology import VERTICAL_TOLD

_HEAD: Final = "vertical"


@dataclass(frozen=True, slots=True)
class Alone:
    """The bank's scorecard without the partner, and the prior of both."""

    half: Half
    prior: float


@dataclass(frozen=True)
class BankDesk:
    """`width`: how many coordinates the own feature schema has."""

    name: str
    people: People
    store: Store
    settings: VerticalSettings
    width: int

    def look_up(self, message: m.Message, now_ms: int) -> Names | Table | str | None:  # noqa: ARG002 - as the partner's.
        """The bank looks nothing up for what it hears."""
        return None

    # --- runs to begin ------------------------------------------------------------------------------------------
    def intersection(self, run: int, policy: m.OverlapPolicy, *, fresh: bool) -> StartIntersection:
        """Of everybody, or only of those about whom the partner was not asked yet.

        Hidden: of those with a label. Leaving others out of a training later would tell that their rows are no padding.
        """
        listed = self.people.listed(fresh=fresh, labelled=policy is m.OverlapPolicy.HIDDEN)
        return StartIntersection(run, listed, policy, self.settings.hidden_length)

    def training(self, run: int, *, warm: bool) -> tuple[StartTraining, tuple[str, ...]]:
        """On shared people with labels; on the newest hidden alignment, whole, if the settings allow no other.

        Warm: only on those no training has used. With it, whose rows they are. OwnFault if one of the labels is missing.
        """
        shown = m.OverlapPolicy.SHOWN in self.settings.policies
        placed, held_out, alignment = self._shown(fresh=warm) if shown else self._hidden()
        settings, learned = self.settings, placed[: len(placed) - held_out]
        rate = sum(row.label for row in learned) / max(1, sum(not is_padding(row.person) for row in learned))
        if not 0 < rate < 1:
            raise OwnFault(f"{len(learned)} labelled rows, all of one label: there is nothing to learn yet")
        kept = self.alone()
        prior = kept.prior if warm and kept is not None else math.log(rate / (1 - rate))
        bits = self.people.rows_of(alignment)[1] if alignment else b""
        table = Table(Rows.of(row.active for row in placed), self.width, settings.rows_min, bits)
        named = b"" if alignment else references([(row.run, row.place) for row in placed])
        labels = bytes(row.label for row in placed)
        event = StartTraining(run, table, labels, named, alignment, held_out, settings.passes_max, warm, settings.ridge, prior)
        return event, tuple(row.person for row in placed)

    def _shown(self, *, fresh: bool) -> tuple[list[Placed], int, int]:
        """(the training rows, then those held out: always the same people; how many of those; 0)."""
        placed, limit = self.people.teachable(fresh=fresh), self.settings.held_out_share * (1 << 32)
        spread = [int.from_bytes(digest_of(row.person.encode())[:4], "little") < limit for row in placed]
        learned = [row for row, out in zip(placed, spread, strict=True) if not out]
        held_out = [row for row, out in zip(placed, spread, strict=True) if out]
        return learned + held_out, len(held_out), 0

    def _hidden(self) -> tuple[list[Placed], int, int]:
        """(all rows of the newest hidden alignment in their order, which is a random one; how many held out; its run)."""
        run = self.people.newest_hidden()
        if not run:
            raise OwnFault("there is no hidden alignment to train on: intersect first")
        names, _ = self.people.rows_of(run)
        parts = zip(names, self.people.actives(names), self.people.labels(names), strict=True)
        placed = [Placed(run, place, name, active, label) for place, (name, active, label) in enumerate(parts)]
        return placed, max(1, round(len(placed) * self.settings.held_out_share)), run

    def taught_alone(self, event: StartTraining, kept: Alone | None) -> Alone:
        """The bank's scorecard without the partner, from the same training rows, warm from `kept`; touches no database, takes a while."""
        start = kept.half if event.warm and kept is not None else Half.untaught(self.width, ridge=event.ridge)
        learned_from = len(event.table.rows) - event.held_out
        rows = event.table.rows.part(0, learned_from)
        labels = np.frombuffer(event.labels, dtype=np.uint8)[:learned_from].astype(np.float64)
        return Alone(Lesson.of(start, rows, rows_min=event.table.rows_min).converged(rows, labels, event.prior), event.prior)

    def intersecting(self, event: StartIntersection, now_ms: int) -> None:
        """Remember that an intersection began; inside its turn."""
        self.people.begin(event.run, event.policy, now_ms)
        self.people.asked(event.names, event.run)

    def training_on(self, event: StartTraining, people: Sequence[str], alone: Alone, now_ms: int) -> None:
        """Remember that a training began, on whom, and what was taught alone; inside its turn."""
        self.people.begin(event.run, None, now_ms)
        self.people.taught(people, event.run)
        for kind, values in (("weights", alone.half.weights), ("precision", alone.half.precision), ("prior", np.array([alone.prior]))):
            self.store.set_model(_HEAD, kind, values.astype("<f8").tobytes())

    # --- what has come of them ----------------------------------------------------------------------------------
    def perform(self, effect: Effect, now_ms: int) -> Sequence[Outgoing]:
        """Remember it, and answer the request that waits for it."""
        match effect:
            case Aligned():
                self.people.align(effect.run, effect.shared, effect.names, effect.bits)
                return self._tell(effect.run, now_ms, done=True, shared=effect.shared, detail=f"{effect.policy.value}")
            case Learned():
                detail = f"{effect.passes} passes, kept the weights after pass {effect.kept}"
                return self._tell(effect.run, now_ms, done=True, version=effect.version, detail=detail)
            case Abandoned():
                self.people.undone(effect.run)
                return self._tell(effect.run, now_ms, done=False, detail=f"{effect.reason}: {effect.detail}")
        return ()

    def _tell(self, run: int, now_ms: int, *, done: bool, detail: str, version: int = 0, shared: int = -1) -> list[Outgoing]:
        told = []
        for waiting in self.people.awaiting(predictions=False):
            if waiting.number == run:
                self.people.answered(waiting.request_id)
                told.append(self.told(waiting.request_id, now_ms, done=done, detail=detail, version=version, shared=shared))
        return told

    def told(
        self, request_id: str, now_ms: int, *, done: bool, detail: str, version: int = 0, shared: int = -1, degraded: bool = False,
        probability: float = -1.0,
    ) -> Outgoing:  # fmt: skip
        """The answer to a request, for the journal."""
        message = m.VerticalTold(
            request_id=request_id, done=done, degraded=degraded, probability=probability, version=version, shared=shared, detail=detail,
            told_at_ms=now_ms,
        )  # fmt: skip
        return Outgoing(VERTICAL_TOLD.full_name(self.name), 0, request_id.encode(), encode(message))

    # --- the scorecard without the partner -----------------------------------------------------------------------
    def alone(self) -> Alone | None:
        """As last taught; None before any training."""
        saved = [self.store.model(_HEAD, kind) for kind in ("weights", "precision", "prior")]
        if any(body is None for body in saved):
            return None
        weights, precision, prior = (np.frombuffer(body or b"", dtype="<f8").astype(np.float64) for body in saved)
        return Alone(Half(weights, precision.reshape(len(weights), len(weights))), float(prior[0]))

    def probability_alone(self, person: str) -> float | None:
        """Without the partner; None before any training, or for somebody unknown."""
        kept, active = self.alone(), self.people.actives([person])[0]
        if kept is None or not active:
            return None
        return probability_of(kept.prior + float(Rows.of([active]).points(kept.half.weights)[0]))
