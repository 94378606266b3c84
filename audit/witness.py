"""What a witness thinks of a checkpoint it is shown, given the one it cosigned last (C2SP tlog-witness).

Called by institution_workers.witnessing, which remembers and cosigns.
Never forgives: a history that once differed is refused for ever, until a person looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from audit.checkpoints import Checkpoint
from audit.merkle import verify_consistency


class Opinion(StrEnum):
    """What there is to do."""

    COSIGN = "cosign"
    WAIT = "wait"  # Nothing shows that it goes on from what we know; a later one may.
    SPLIT_VIEW = "split_view"
    ROLLBACK = "rollback"
    INCONSISTENT = "inconsistent"

    @property
    def refuses(self) -> bool:
        """Whether it is one to record: the log's own signature is evidence against it."""
        return self not in {Opinion.COSIGN, Opinion.WAIT}


def opinion_of(known: Checkpoint | None, shown: Checkpoint, proofs: Mapping[int, Sequence[bytes]]) -> Opinion:
    """`known`: cosigned last, None for a new witness, which believes the first it sees; `proofs`: smaller size -> consistency proof."""
    if known is None:
        return Opinion.COSIGN
    if shown.size < known.size:
        return Opinion.ROLLBACK
    if shown.size == known.size:
        return Opinion.COSIGN if shown.root == known.root else Opinion.SPLIT_VIEW
    proof = proofs.get(known.size)
    if proof is None:
        return Opinion.WAIT
    goes_on = verify_consistency(known.size, known.root, shown.size, shown.root, proof)
    return Opinion.COSIGN if goes_on else Opinion.INCONSISTENT
