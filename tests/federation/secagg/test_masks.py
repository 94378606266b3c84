"""Masks cancel in the sum, and only there."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Broken, OwnFault
from federation.ids import Lane, RoundId
from federation.messages import HeadName
from federation.secagg import agreement, masks, ring
from federation.secagg.keys import Secret
from federation.secagg.shares import draw_secret

SEED = Secret(bytes(range(32)))
ROUND = RoundId(Lane(HeadName.FRAUD), 1, 7)


def test_the_stream_is_aes_256_ctr(vectors_in):
    """The keystream is the one of NIST SP 800-38A F.5.5, reached by seeking to its counter."""
    vector = vectors_in("aes256_ctr_sp800_38a")
    start = 4 * int.from_bytes(bytes.fromhex(vector["counter"]), "big")
    keystream = ring.to_bytes(masks.expand(Secret(bytes.fromhex(vector["key"])), 16, start))

    assert bytes(a ^ b for a, b in zip(keystream, bytes.fromhex(vector["plain"]), strict=True)).hex() == vector["cipher"]


@settings(derandomize=True, deadline=None)
@given(st.integers(min_value=0, max_value=70), st.integers(min_value=0, max_value=70))
def test_pieces_are_expanded_apart(start, length):
    """A piece expanded by itself is the piece of the whole."""
    whole = masks.expand(SEED, 140)

    assert masks.expand(SEED, length, start).tolist() == whole[start : start + length].tolist()


def test_pieces_beyond_the_cache_are_expanded_alike():
    """Vectors longer than the piece worked on at once have no seam."""
    length = 3 * masks._PIECE + 5
    whole = masks.expand(SEED, length)

    assert np.array_equal(masks.expand(SEED, length - 7, 7), whole[7:])
    assert len(np.unique(whole)) > 0.99 * length


def test_two_seeds_have_two_streams():
    """One bit of the seed changes about half of the bits of the mask."""
    other = Secret(bytes([1, *range(1, 32)]))
    differing = np.unpackbits((masks.expand(SEED, 4096) ^ masks.expand(other, 4096)).view(np.uint8)).mean()

    assert 0.49 < differing < 0.51


def cohort(members, entropy, model_of=lambda _: b"m" * 32):
    """(names, self seeds, pair seeds by (own, peer)): a round's seeds as each member derives them."""
    names = [f"bank{k}" for k in range(members)]
    secrets = {name: draw_secret(entropy) for name in names}
    public = {name: agreement.round_public(secrets[name]) for name in names}
    pairs = {
        (own, peer): agreement.pair_seed(
            agreement.round_scalar(secrets[own]), public[own], public[peer],
            federation="f", round_id=ROUND, model_digest=model_of(own), ready_digest=b"r" * 32, accused=peer,
        )
        for own, peer in itertools.permutations(names, 2)
    }  # fmt: skip
    selves = {name: agreement.self_seed(draw_secret(entropy), federation="f", round_id=ROUND) for name in names}
    return names, selves, pairs


def masked_sum(survivors, names, selves, pairs, plain):
    total = ring.zeros(9)
    for name in survivors:
        values = plain[name].copy()
        masks.apply_masks(values, selves[name], [(masks.pair_sign(name, peer), pairs[name, peer]) for peer in names if peer != name])
        ring.add(total, values)
    return total


def plain_of(names, entropy):
    return {name: np.frombuffer(entropy(36), dtype=np.uint32) for name in names}


@pytest.mark.parametrize("members", [2, 3, 4, 5])
def test_masks_cancel_for_every_set_of_survivors(members, entropy_of):
    """Whoever survives, removing their self masks and the dropped pair masks leaves exactly the plain sum."""
    entropy = entropy_of(members)
    names, selves, pairs = cohort(members, entropy)
    plain = plain_of(names, entropy)
    for size in range(1, members + 1):
        for survivors in itertools.combinations(names, size):
            dropped = [name for name in names if name not in survivors]
            total = masked_sum(survivors, names, selves, pairs, plain)
            # The aggregator knows the dropped members' keys, so it derives the pair seed from their end.
            left_over = [(masks.pair_sign(own, gone), pairs[gone, own]) for own in survivors for gone in dropped]
            masks.remove_masks(total, [selves[name] for name in survivors], left_over)

            assert total.tolist() == np.sum([plain[name] for name in survivors], axis=0, dtype=np.uint32).tolist()


def test_one_missing_seed_leaves_noise(entropy_of):
    """A self mask, or one pair mask, that is not removed hides every coordinate."""
    entropy = entropy_of(9)
    names, selves, pairs = cohort(4, entropy)
    plain = plain_of(names, entropy)
    survivors, gone = names[:3], names[3]
    left_over = [(masks.pair_sign(own, gone), pairs[gone, own]) for own in survivors]
    expected = np.sum([plain[name] for name in survivors], axis=0, dtype=np.uint32)
    for seeds, pair_seeds in (([selves[name] for name in survivors[1:]], left_over), ([selves[name] for name in survivors], left_over[1:])):
        total = masked_sum(survivors, names, selves, pairs, plain)
        masks.remove_masks(total, seeds, pair_seeds)
        assert not np.any(total == expected)


def test_members_with_different_models_do_not_cancel(entropy_of):
    """An aggregator that shows one member another model gets noise, not his update."""
    entropy = entropy_of(10)
    names, selves, pairs = cohort(3, entropy, model_of=lambda own: (b"x" if own == "bank0" else b"m") * 32)
    plain = plain_of(names, entropy)
    total = masked_sum(names, names, selves, pairs, plain)
    masks.remove_masks(total, selves.values(), [])

    assert not np.any(total == np.sum(list(plain.values()), axis=0, dtype=np.uint32))


def test_masking_works_in_place():
    """The vector given is the vector masked; what is applied and removed leaves it as it was."""
    values = np.arange(10, dtype=np.uint32)
    masks.apply_masks(values, SEED, [(-1, Secret(bytes(32)))])
    expected = np.arange(10, dtype=np.uint32) + masks.expand(SEED, 10) - masks.expand(Secret(bytes(32)), 10)
    assert values.tolist() == expected.tolist()
    masks.remove_masks(values, [SEED], [(-1, Secret(bytes(32)))])
    assert values.tolist() == list(range(10))


def test_signs_oppose():
    """The two ends of a pair have opposite signs; nobody is a pair with itself."""
    assert masks.pair_sign("a", "b") == -masks.pair_sign("b", "a") == 1
    with pytest.raises(OwnFault):
        masks.pair_sign("a", "a")


@pytest.mark.parametrize(("sign", "seed"), [(0, SEED), (2, SEED), (1, Secret(bytes(16))), (1, Secret(bytes(64)))])
def test_what_is_no_mask_is_refused(sign, seed):
    """A sign is +1 or -1, a seed has 32 bytes; the vector is then untouched."""
    values = np.zeros(4, dtype=np.uint32)
    with pytest.raises(OwnFault):
        masks.apply_masks(values, SEED, [(sign, seed)])
    assert not values.any()


@pytest.mark.parametrize("start", [-1, 1 << 130])
def test_a_stream_has_a_first_and_a_last_value(start):
    """Seeking outside the counter's range is refused, not wrapped: a wrapped counter would repeat the stream."""
    with pytest.raises(OwnFault):
        masks.expand(SEED, 1, start)


@pytest.mark.parametrize("values", [np.zeros(4), np.zeros(8, dtype=np.uint32)[::2], np.zeros((2, 2), dtype=np.uint32)])
def test_only_a_contiguous_ring_vector_is_masked(values):
    """Another type or a strided view would be masked wrongly, so it is not masked at all."""
    with pytest.raises(Broken):
        masks.apply_masks(values, SEED, [])
