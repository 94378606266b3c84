"""A training under way, as either side has it: its rows and half, and the three steps of every exchange.

Called by `bank` and `partner`.
Never keeps a blinding longer than its exchange, and never takes a sum for another exchange than the one that is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from federation.errors import OwnFault, PeerFault
from federation.messages import NumbersEncrypted, SumsBlinded, SumsOpened, TablePurpose
from federation.secagg.keys import Entropy
from federation.vertical.effects import Table
from federation.vertical.encryption import HeldKey, PeerKey, peer_key
from federation.vertical.exchange import Choice, Column, encrypt_numbers, open_sums, plain_sums, read_sums, sum_columns
from federation.vertical.fixed_point import LOSSES, RESIDUALS, ROWS_MAX, Numbers, Reals, Scale, rows_per_integer
from federation.vertical.scorecard import Half, Lesson, Rows
from federation.vertical.tables import choice_of, losses_for_bank, residuals_for_partner, scores_for_bank, sets_of

LEAST_GAIN: Final = 1e-4
"""A pass that lowers the objective by less than this per row is the last one."""
TABLE_BYTES_MAX: Final = 40 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Training:
    """One side's training; `labels` is None at the partner, `bits` None unless the alignment is hidden."""

    key: HeldKey | None  # None in a rehearsal.
    peer: PeerKey | None  # As above; and at the bank until the partner has accepted.
    rows: Rows = field(repr=False)  # The held-out ones last.
    held_out: int
    labels: Reals | None = field(repr=False)
    bits: Reals | None = field(repr=False)
    offset: float  # Added to the own half of every score: the bank's prior.
    lesson: Lesson = field(repr=False)
    weights: Reals = field(repr=False)
    kept_weights: Reals = field(repr=False)  # After the best pass.
    passes_max: int
    rows_min: int
    kept: int = 0
    loss: float = -1.0  # Held-out, per row; the bank's alone.
    kept_loss: float = -1.0
    gain: float = 0.0
    peer_gain: float = 0.0
    number: int = 1
    blinds: tuple[int, ...] = field(default=(), repr=False)

    @property
    def learned_from(self) -> int:
        """How many rows are not held out."""
        return len(self.rows) - self.held_out

    def with_peer(self, modulus: bytes, hiding_base: bytes, *, accused: str, bits_min: int) -> Training:
        """With the other side's key; PeerFault "bad_key"."""
        return replace(self, peer=peer_key(modulus, hiding_base, accused=accused, bits_min=bits_min))


def begun(
    table: Table,
    start: Half,
    *,
    held_out: int,
    passes_max: int,
    labels: bytes | None = None,
    offset: float = 0.0,
    key: HeldKey | None = None,
) -> Training:
    """A training from these rows and this half; `labels` (one byte a row) and `offset` are the bank's.

    OwnFault: fewer training rows than `Table.rows_min`.
    """
    lesson = Lesson.of(start, table.rows.part(0, len(table.rows) - held_out), rows_min=table.rows_min)
    return Training(
        key=key,
        peer=None,
        rows=table.rows,
        held_out=held_out,
        labels=None if labels is None else flags(labels),
        bits=flags(table.bits) if table.bits else None,
        offset=offset,
        lesson=lesson,
        weights=start.weights,
        kept_weights=start.weights,
        passes_max=passes_max,
        rows_min=table.rows_min,
    )


def flags(body: bytes) -> Reals:
    """One byte each as reals."""
    return np.frombuffer(body, dtype=np.uint8).astype(np.float64)


def require_fitting(rows: int, held_out: int, rows_min: int, bits: int, *, hidden: bool) -> None:
    """OwnFault, with a sentence, for rows that are too few to hide one, or too many for an exchange."""
    if not rows_min <= held_out <= rows - rows_min:
        raise OwnFault(f"{rows} rows, {held_out} of them held out: there must be at least {rows_min} of either kind")
    ciphertexts = sets_of(labelled=True, hidden=hidden) * -(-rows // rows_per_integer(bits))
    if rows > ROWS_MAX or ciphertexts * bits // 4 > TABLE_BYTES_MAX:
        raise OwnFault(f"{rows} rows are too many for one training")


def say_numbers(training: Training, purpose: TablePurpose, *, entropy: Entropy) -> NumbersEncrypted:
    """Step 1, as the owner of the table."""
    ciphertexts = encrypt_numbers(_key(training), _table(training, purpose), entropy=entropy)
    return NumbersEncrypted(purpose=purpose, number=training.number, gain=training.gain, ciphertexts=ciphertexts)


def say_blinded(
    training: Training, due: TablePurpose, heard: NumbersEncrypted, *, entropy: Entropy, accused: str
) -> tuple[Training, SumsBlinded]:
    """Step 2, as the chooser: the sums of the columns."""
    _require_due(training, due, heard, accused)
    if training.peer is None or not np.isfinite(heard.gain):
        raise PeerFault("bad_table", "a table without a key, or with a gain that is no number", accused=accused)
    choice, columns, sets = _choice(training, due), columns_of(training, due), _sets(training, due)
    made = sum_columns(training.peer, heard.ciphertexts, sets, choice, columns, entropy=entropy, accused=accused)
    said = SumsBlinded(purpose=due, number=training.number, ciphertexts=made.ciphertexts)
    return replace(training, blinds=made.blinds, peer_gain=heard.gain), said


def say_opened(training: Training, due: TablePurpose, heard: SumsBlinded, *, accused: str) -> SumsOpened:
    """Step 3, as the owner."""
    _require_due(training, due, heard, accused)
    rows = training.held_out if due is TablePurpose.LOSS else training.learned_from
    return SumsOpened(purpose=due, number=training.number, values=open_sums(_key(training), heard.ciphertexts, rows, accused=accused))


def take_opened(training: Training, due: TablePurpose, heard: SumsOpened, *, accused: str) -> tuple[Training, Reals]:
    """Step 4, as the chooser: the sums as reals, column after column; the blinding is forgotten."""
    _require_due(training, due, heard, accused)
    counts = [len(column) for column in columns_of(training, due)]
    totals = read_sums(heard.values, training.blinds, counts, accused=accused)
    return replace(training, blinds=()), _reals(due, totals, counts)


def exchanged(owner: Training, chooser: Training, purpose: TablePurpose) -> Reals:
    """What the four steps give the chooser, without encryption: for rehearsals and as the tests' oracle."""
    columns = columns_of(chooser, purpose)
    totals = plain_sums(_table(owner, purpose), _choice(chooser, purpose), columns)
    return _reals(purpose, totals, [len(column) for column in columns])


# --- what is done with the sums -----------------------------------------------------------------------------------
def stepped(training: Training, sums: Reals) -> Training:
    """After the Newton step from these sums of the table for it; the bank subtracts its labels where the table knows none."""
    if training.labels is not None and training.bits is None:
        columns = columns_of(training, TablePurpose.SCORES)
        sums = sums - [float(training.labels[column].sum()) for column in columns]
    weights, gain = training.lesson.step(training.weights, sums, training.rows, training.offset)
    return replace(training, weights=weights, gain=gain)


def judged(training: Training, loss_sum: float) -> tuple[Training, bool]:
    """The bank's verdict after a pass: which weights are the best so far, and whether that was the last one.

    It is the last if there was hardly anything to gain, or if the held-out loss is worse than the best by more than chance explains:
    by 1 / sqrt(rows), about two standard errors of a mean log loss.
    """
    loss, gain = loss_sum / training.held_out, (training.gain + training.peer_gain) / training.learned_from
    better = training.kept == 0 or loss <= training.kept_loss + training.held_out**-0.5
    best = loss if training.kept == 0 else min(loss, training.kept_loss)
    finished = not better or gain < LEAST_GAIN or training.number >= training.passes_max
    training = replace(training, loss=loss, kept_loss=best)
    return (kept(training) if better else training), finished


def kept(training: Training) -> Training:
    """With the weights of this pass as the best so far."""
    return replace(training, kept=training.number, kept_weights=training.weights)


def next_pass(training: Training) -> Training:
    """One pass further."""
    return replace(training, number=training.number + 1)


def columns_of(training: Training, purpose: TablePurpose) -> Sequence[Column]:
    """The kept columns of the training rows; for the loss, one column of all held-out rows."""
    if purpose is TablePurpose.LOSS:
        return [np.arange(training.held_out)]
    return training.rows.part(0, training.learned_from).columns(training.lesson.kept.tolist())


def _require_due(training: Training, due: TablePurpose, heard: NumbersEncrypted | SumsBlinded | SumsOpened, accused: str) -> None:
    if heard.purpose is not due or heard.number != training.number:
        detail = (
            f"{type(heard).__name__} for {heard.purpose.value} of pass {heard.number}, where {due.value} of pass {training.number} is due"
        )
        raise PeerFault("out_of_step", detail, accused=accused)


def _range(training: Training, purpose: TablePurpose) -> tuple[int, int]:
    return (training.learned_from, len(training.rows)) if purpose is TablePurpose.LOSS else (0, training.learned_from)


def _scores(training: Training, purpose: TablePurpose) -> Reals:
    return training.rows.part(*_range(training, purpose)).points(training.weights) + training.offset


def _part(values: Reals | None, training: Training, purpose: TablePurpose) -> Reals | None:
    first, last = _range(training, purpose)
    return None if values is None else values[first:last]


def _table(training: Training, purpose: TablePurpose) -> Numbers:
    scores, bits = _scores(training, purpose), _part(training.bits, training, purpose)
    if purpose is TablePurpose.RESIDUALS:
        labels = _part(training.labels, training, purpose)
        if labels is None:
            raise OwnFault("only the bank knows residuals")
        return residuals_for_partner(scores, labels, bits)
    return scores_for_bank(scores, bits) if purpose is TablePurpose.SCORES else losses_for_bank(scores, bits)


def _labelled(training: Training, purpose: TablePurpose) -> bool:
    """Whether the table has an entry for either label."""
    return purpose is TablePurpose.LOSS or (purpose is TablePurpose.SCORES and training.bits is not None)


def _sets(training: Training, purpose: TablePurpose) -> int:
    return sets_of(labelled=_labelled(training, purpose), hidden=training.bits is not None)


def _choice(training: Training, purpose: TablePurpose) -> Choice:
    labels = _part(training.labels, training, purpose) if _labelled(training, purpose) else None
    return choice_of(_scores(training, purpose), labels=labels, bits=_part(training.bits, training, purpose))


def _reals(purpose: TablePurpose, totals: Sequence[int], counts: Sequence[int]) -> Reals:
    scale: Scale = LOSSES if purpose is TablePurpose.LOSS else RESIDUALS
    return np.array([scale.real(total, count) for total, count in zip(totals, counts, strict=True)])


def _key(training: Training) -> HeldKey:
    if training.key is None:
        raise OwnFault("a rehearsal encrypts nothing")
    return training.key
