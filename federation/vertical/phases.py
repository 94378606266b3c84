"""The table of a vertical run: what either party may hear in which phase, and where it leads.

Read by `bank.step` and `partner.step`; docs/vertical.md is drawn from it.
Never decides what a message does: an absent move is refused and changes nothing, a present one is permitted.

`RunAbandoned` may be heard in every phase and leads to IDLE. So does a deadline that passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from federation import messages as m


class BankPhase(StrEnum):
    """What the bank waits for."""

    IDLE = "idle"
    INTERSECTING = "waiting for the answer to its names"
    MASKING = "waiting for the flipped bits"
    JOINING = "waiting for the partner's key"
    HEARING_SCORES = "waiting for the table of scores"
    READING_SCORES = "waiting for the sums of residuals"
    OPENING_RESIDUALS = "waiting for blinded sums to open"
    HEARING_LOSS = "waiting for the table of losses"
    READING_LOSS = "waiting for the sum of losses"


class PartnerPhase(StrEnum):
    """What the partner waits for."""

    IDLE = "idle"
    CLOSING = "waiting for the outcome of an intersection"
    OPENING_SCORES = "waiting for blinded sums to open"
    HEARING_RESIDUALS = "waiting for the table of residuals"
    READING_RESIDUALS = "waiting for the sums of residuals"
    OPENING_LOSS = "waiting for the blinded loss to open"
    DECIDED = "waiting for the bank's verdict on the pass"


Phase = BankPhase | PartnerPhase

BANK_MOVES: Final[Mapping[Phase, Mapping[type, tuple[Phase, ...]]]] = {
    BankPhase.IDLE: {},
    BankPhase.INTERSECTING: {m.IntersectionAnswered: (BankPhase.IDLE, BankPhase.MASKING)},
    BankPhase.MASKING: {m.MembershipMasked: (BankPhase.IDLE,)},
    BankPhase.JOINING: {m.TrainingAccepted: (BankPhase.HEARING_SCORES,)},
    BankPhase.HEARING_SCORES: {m.NumbersEncrypted: (BankPhase.READING_SCORES,)},
    BankPhase.READING_SCORES: {m.SumsOpened: (BankPhase.OPENING_RESIDUALS,)},
    BankPhase.OPENING_RESIDUALS: {m.SumsBlinded: (BankPhase.HEARING_LOSS,)},
    BankPhase.HEARING_LOSS: {m.NumbersEncrypted: (BankPhase.READING_LOSS,)},
    BankPhase.READING_LOSS: {m.SumsOpened: (BankPhase.HEARING_SCORES, BankPhase.IDLE)},
}

PARTNER_MOVES: Final[Mapping[Phase, Mapping[type, tuple[Phase, ...]]]] = {
    PartnerPhase.IDLE: {
        m.IntersectionAsked: (PartnerPhase.CLOSING,),
        m.TrainingAsked: (PartnerPhase.OPENING_SCORES,),
    },
    PartnerPhase.CLOSING: {m.IntersectionClosed: (PartnerPhase.IDLE,)},
    PartnerPhase.OPENING_SCORES: {m.SumsBlinded: (PartnerPhase.HEARING_RESIDUALS,)},
    PartnerPhase.HEARING_RESIDUALS: {m.NumbersEncrypted: (PartnerPhase.READING_RESIDUALS,)},
    PartnerPhase.READING_RESIDUALS: {m.SumsOpened: (PartnerPhase.OPENING_LOSS,)},
    PartnerPhase.OPENING_LOSS: {m.SumsBlinded: (PartnerPhase.DECIDED,)},
    PartnerPhase.DECIDED: {m.PassEnded: (PartnerPhase.OPENING_SCORES, PartnerPhase.IDLE)},
}


def rendered() -> str:
    """Both tables as mermaid state diagrams."""
    return "\n".join(
        (_diagram("The bank", BANK_MOVES, BankPhase.IDLE), _diagram("The partner", PARTNER_MOVES, PartnerPhase.IDLE)),
    )


def _diagram(title: str, moves: Mapping[Phase, Mapping[type, tuple[Phase, ...]]], start: Phase) -> str:
    lines = [f"### {title}", "", "```mermaid", "stateDiagram-v2"]
    lines += [f"    {phase.name}: {phase.value}" for phase in moves]
    lines += [f"    [*] --> {start.name}"]
    lines += [
        f"    {phase.name} --> {into.name}: {word.__name__}"
        for phase, row in moves.items()
        for word, targets in row.items()
        for into in targets
    ]
    return "\n".join([*lines, "```", ""])
