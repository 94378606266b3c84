"""A training without encryption: the same tables, choices, sums and steps, so the same halves to the last bit.

Called by evaluations, where both halves are at hand anyway.
Never used between two parties: it sees everything."""

from __future__ import annotations

from dataclasses import dataclass, replace

from federation.messages import TablePurpose
from federation.vertical.scorecard import Half
from federation.vertical.training import Training, exchanged, judged, kept, next_pass, stepped


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """Both halves, and the held-out loss per row after each pass."""

    bank: Half
    partner: Half
    losses: tuple[float, ...]


def rehearse(bank: Training, partner: Training) -> Rehearsed:
    """From two trainings that have just begun."""
    losses: list[float] = []
    finished = False
    while not finished:
        if losses:
            bank, partner = next_pass(bank), next_pass(partner)
        bank = stepped(bank, exchanged(partner, bank, TablePurpose.SCORES))
        partner = stepped(partner, exchanged(bank, partner, TablePurpose.RESIDUALS))
        bank = replace(bank, peer_gain=partner.gain)
        bank, finished = judged(bank, float(exchanged(partner, bank, TablePurpose.LOSS)[0]))
        partner = kept(partner) if bank.kept == bank.number else partner
        losses.append(bank.loss)
    return Rehearsed(bank.lesson.learned(bank.kept_weights), partner.lesson.learned(partner.kept_weights), tuple(losses))
