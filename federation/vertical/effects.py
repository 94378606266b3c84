"""What a step of either party may be told, and may ask for.

Made by the shell (events); returned by `bank.step` and `partner.step` (effects).
Never carries a clock, a file or a connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from federation.messages import Message, OverlapPolicy
from federation.secagg.paillier import MODULUS_BITS_MIN
from federation.vertical.scorecard import Half, Rows

Refusal: TypeAlias = str
"""Why the partner will not: a sentence for the bank."""


@dataclass(frozen=True, slots=True)
class Parties:
    """Who the two are, and in which federation. Only tests lower `bits`."""

    federation: str
    bank: str
    partner: str
    bits: int = MODULUS_BITS_MIN


# --- events -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the other party, whole and opened; `own` is what the shell looked up for it (see `partner`)."""

    run: int
    sequence: int
    message: Message
    own: Names | Table | Refusal | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Names:
    """The names a party could list, in any order; the partner's limit on the bank's list."""

    names: tuple[str, ...] = field(repr=False)
    most: int


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a training as one party sees them, the held-out ones last, in the order of `TrainingAsked.rows`."""

    rows: Rows = field(repr=False)
    width: int  # Of the own half: how many coordinates there are.
    rows_min: int  # A column with fewer training rows is left out.
    bits: bytes = field(default=b"", repr=False)  # One byte a row, if the alignment is hidden.


@dataclass(frozen=True, slots=True)
class StartIntersection:
    """Bank: ask which of these are shared. Hidden: padded to `length` names, as the partner's will be."""

    run: int
    names: tuple[str, ...] = field(repr=False)
    policy: OverlapPolicy
    length: int = 0


@dataclass(frozen=True, slots=True)
class StartTraining:
    """Bank: train on these rows, named to the partner by `references`; `prior` is their log-odds."""

    run: int
    table: Table
    labels: bytes = field(repr=False)
    references: bytes = field(repr=False)
    alignment: int  # 0 unless hidden.
    held_out: int
    passes_max: int
    warm: bool
    ridge: float
    prior: float


# --- effects ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Say:
    """Seal, journal and send this to the other party; `sequence` is its number in the run."""

    run: int
    sequence: int
    message: Message


@dataclass(frozen=True, slots=True)
class Begun:
    """Partner: it takes part in a run; an intersection's policy, None for a training."""

    run: int
    policy: OverlapPolicy | None


@dataclass(frozen=True, slots=True)
class Aligned:
    """An intersection has ended. Row i is `names[i]`; `bits` one byte a row if hidden; no names if only counted."""

    run: int
    policy: OverlapPolicy
    shared: int
    names: tuple[str, ...] = field(repr=False)
    bits: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class PassSeen:
    """A pass has ended, as far as this side can tell: its number, the held-out loss per row (bank), the own gain per row."""

    run: int
    number: int
    loss: float | None
    gain: float


@dataclass(frozen=True, slots=True)
class Learned:
    """A training has ended with this half of the scorecard; `passes` of them, kept the one after pass `kept`."""

    run: int
    version: int
    half: Half = field(repr=False)
    passes: int
    kept: int


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A run has ended without a result."""

    run: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """A fault of the other party, to count and audit."""

    kind: str
    accused: str
    detail: str


Event = Heard | Tick | StartIntersection | StartTraining
Effect = Say | Begun | Aligned | PassSeen | Learned | Abandoned | Report
