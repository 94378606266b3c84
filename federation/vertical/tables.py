"""What is exchanged in training: the residual, or the loss, of every row for every score that the other side may have given it.

Called by `training`.
Never tabulates anything but a row's residual or loss: what the chooser learns are sums of those.

A row's score is the sum of two halves, one known to each side, so its residual sigma(score) - label is a function of the chooser's
half alone once the owner's half is fixed. The owner tabulates that function at the knots of `fixed_point`; the chooser takes the entry of its
own half (and its label), under encryption. So the residual is the logistic function's own, not a polynomial's.

Where the alignment is hidden, a row is one person iff owner's bit xor chooser's bit. The owner tabulates twice: for a chooser's bit
of 0 everything times its own bit, for 1 everything times the complement. Rows that are not one person count as 0.
"""

from __future__ import annotations

import numpy as np

from federation.vertical.exchange import Choice
from federation.vertical.fixed_point import KNOTS, LOSSES, RESIDUALS, Numbers, Reals, Scale, knot_scores, knots_of


def scores_for_bank(partner: Reals, bits: Reals | None) -> Numbers:
    """The partner's table for the bank's gradient: sigma(knot + its half), and where the alignment is hidden the residual of either label."""
    certain = _sigmoid(partner + knot_scores()[:, None])
    return _numbers(RESIDUALS, certain if bits is None else np.concatenate((certain, certain - 1.0)), bits)


def residuals_for_partner(bank: Reals, labels: Reals, bits: Reals | None) -> Numbers:
    """The bank's table for the partner's gradient: sigma(its half + knot) - label."""
    return _numbers(RESIDUALS, _sigmoid(bank + knot_scores()[:, None]) - labels, bits)


def losses_for_bank(partner: Reals, bits: Reals | None) -> Numbers:
    """The partner's table for the bank's loss: log(1 + exp(score)) for label 0, log(1 + exp(-score)) for label 1."""
    scores = partner + knot_scores()[:, None]
    return _numbers(LOSSES, np.concatenate((np.logaddexp(0.0, scores), np.logaddexp(0.0, -scores))), bits)


def sets_of(*, labelled: bool, hidden: bool) -> int:
    """How many numbers a row has in a table that distinguishes labels, or the chooser's bit."""
    return KNOTS * (2 if labelled else 1) * (2 if hidden else 1)


def choice_of(scores: Reals, *, labels: Reals | None, bits: Reals | None) -> Choice:
    """What the chooser takes of each row: the entry of its own half, of its label if the table distinguishes labels, of its bit."""
    low, above = knots_of(scores)
    if labels is not None:
        low = low + KNOTS * labels.astype(np.int64)
    if bits is not None:
        low = low + sets_of(labelled=labels is not None, hidden=False) * bits.astype(np.int64)
    return Choice(low, above)


def _numbers(scale: Scale, reals: Reals, bits: Reals | None) -> Numbers:
    return scale.numbers(reals if bits is None else np.concatenate((reals * bits, reals * (1.0 - bits))))


def _sigmoid(scores: Reals) -> Reals:
    return 0.5 * (1.0 + np.tanh(0.5 * scores))
