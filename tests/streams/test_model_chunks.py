"""Global models in pieces."""

from dataclasses import replace

import numpy as np
import pytest

from federation.errors import PeerFault
from federation.ids import digest_of
from federation.messages import HeadName
from streams.model_chunks import JOINING_MAX, PIECE_LENGTH, ModelJoiner, cut, model_digest


def vector(length: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length)


@pytest.mark.parametrize("length", [1, PIECE_LENGTH, PIECE_LENGTH + 1, 3 * PIECE_LENGTH - 5])
def test_what_is_cut_joins_again(length: int) -> None:
    """Whatever the length, in any order and with repetitions, the joined vector has the same bytes, once."""
    made = vector(length)
    pieces = cut(HeadName.CREDIT, 3, made)
    joiner = ModelJoiner()
    joined = (
        [joiner.add(piece, sender="aggregator") for piece in [*pieces[:1] * 2, *reversed(pieces)]]
        if len(pieces) > 1
        else [joiner.add(pieces[0], sender="aggregator")]
    )

    (out,) = [found for found in joined if found is not None]
    assert (made == out).all()
    assert model_digest(made) == pieces[0].model_digest == digest_of(made.astype("<f8").tobytes())


def test_two_tries_of_a_version_do_not_mix() -> None:
    """An unfinished vector of a version does not spoil another vector of the same version."""
    joiner = ModelJoiner()
    first, second = (cut(HeadName.CREDIT, 3, vector(PIECE_LENGTH + 1, seed)) for seed in (1, 2))
    assert joiner.add(first[0], sender="aggregator") is None
    assert joiner.add(second[1], sender="aggregator") is None

    assert (vector(PIECE_LENGTH + 1, 2) == joiner.add(second[0], sender="aggregator")).all()


def test_other_bytes_than_named_are_refused() -> None:
    """A piece whose bytes are not those of the digest accuses its sender."""
    piece = cut(HeadName.CREDIT, 3, vector(5))[0]

    with pytest.raises(PeerFault, match="bad_model by aggregator"):
        ModelJoiner().add(replace(piece, body=bytes(40)), sender="aggregator")


def test_impossible_numbering_is_refused() -> None:
    """A piece beyond the last, or more pieces than a vector has, is refused."""
    piece = cut(HeadName.CREDIT, 3, vector(5))[0]

    for wrong in (replace(piece, chunk=1), replace(piece, chunk=-1), replace(piece, chunks=10**6)):
        with pytest.raises(PeerFault, match="bad_model"):
            ModelJoiner().add(wrong, sender="aggregator")


def test_unfinished_vectors_are_bounded() -> None:
    """However many unfinished vectors are begun, only a few are kept."""
    joiner = ModelJoiner()
    for seed in range(20):
        joiner.add(cut(HeadName.CREDIT, seed, vector(PIECE_LENGTH + 1, seed))[0], sender="aggregator")

    assert len(joiner._making) == JOINING_MAX
