"""Shamir's shares: any t open, fewer say nothing."""

from __future__ import annotations

import functools
import itertools
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault, PeerFault
from federation.secagg.keys import Secret
from federation.secagg.shares import (
    PRIME,
    checked_share,
    combine,
    combine_many,
    draw_secret,
    joined,
    lagrange_weights,
    parted,
    split,
)  # fmt: skip


def as_int(share):
    return int.from_bytes(share, "little")


def as_bytes(value):
    return value.to_bytes(32, "little")


def interpolated(points, at):
    """Oracle: the value at `at` of the polynomial through `points`, modulo PRIME, by the textbook formula."""
    return sum(
        y * functools.reduce(lambda product, other: product * (at - other) * pow(x - other, -1, PRIME), (o for o, _ in points if o != x), 1)
        for x, y in points
    ) % PRIME  # fmt: skip


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(min_value=1, max_value=9), st.integers(min_value=0, max_value=6), st.randoms(use_true_random=False))
def test_any_threshold_of_shares_opens(entropy_of, threshold, spare, random):
    """Any t of n shares, in any order, and any number above t, give the secret back; so does the oracle."""
    members = threshold + spare
    entropy = entropy_of(random.random())
    secret = draw_secret(entropy)
    shares = split(secret, threshold=threshold, members=members, entropy=entropy)
    chosen = random.sample(range(1, members + 1), random.randint(threshold, members))

    assert combine({x: shares[x - 1] for x in chosen}, threshold=threshold) == secret
    assert interpolated([(x, as_int(shares[x - 1])) for x in chosen], 0) == as_int(secret.reveal())


def test_shares_agree_with_rational_arithmetic():
    """With small coefficients nothing is reduced, so Lagrange over the fractions finds the same secret."""
    coefficients = iter([7, 11])
    shares = split(
        Secret(as_bytes(42)),
        threshold=3,
        members=5,
        entropy=lambda count: b"".join(as_bytes(next(coefficients)) for _ in range(count // 32)),
    )

    assert [as_int(share) for share in shares] == [7 * x * x + 11 * x + 42 for x in range(1, 6)]
    for chosen in itertools.combinations(range(1, 6), 3):
        weights = [Fraction(1)] * 3
        for k, x in enumerate(chosen):
            for other in chosen:
                if other != x:
                    weights[k] *= Fraction(-other, x - other)
        assert sum(weight * as_int(shares[x - 1]) for weight, x in zip(weights, chosen, strict=True)) == 42


def test_fewer_shares_say_nothing(entropy_of):
    """For any t-1 shares and every candidate secret there is exactly one polynomial: all secrets are equally likely."""
    threshold, members = 3, 5
    entropy = entropy_of(1)
    shares = split(draw_secret(entropy), threshold=threshold, members=members, entropy=entropy)
    for seen in itertools.combinations(range(1, members + 1), threshold - 1):
        points = [(x, as_int(shares[x - 1])) for x in seen]
        for candidate in [*range(40), PRIME // 2, PRIME - 1]:
            full = [(0, candidate), *points]
            others = {x: as_bytes(interpolated(full, x)) for x in range(1, members + 1)}
            assert all(others[x] == shares[x - 1] for x in seen)
            assert all(
                as_int(combine({x: others[x] for x in chosen}, threshold=threshold).reveal()) == candidate
                for chosen in itertools.combinations(others, threshold)
            )


def test_threshold_minus_one_shares_open_something_else(entropy_of):
    """Interpolating through t-1 shares misses the secret."""
    entropy = entropy_of(2)
    secret = draw_secret(entropy)
    shares = split(secret, threshold=4, members=6, entropy=entropy)

    assert combine({x: shares[x - 1] for x in (1, 2, 3)}, threshold=3) != secret


def test_secrets_and_coefficients_are_below_the_prime():
    """A draw of PRIME or more is drawn again, not reduced: reduced, the nineteen smallest would come up twice as often."""
    drawn = iter([PRIME, PRIME + 18, 5])

    assert draw_secret(lambda _: as_bytes(next(drawn))) == Secret(as_bytes(5))


def test_many_secrets_open_at_once(entropy_of):
    """combine_many is combine, row by row."""
    entropy = entropy_of(3)
    secrets = [draw_secret(entropy) for _ in range(7)]
    dealt = [split(secret, threshold=4, members=6, entropy=entropy) for secret in secrets]
    xs = (6, 1, 3, 4)

    assert combine_many(xs, [[shares[x - 1] for x in xs] for shares in dealt], threshold=4) == secrets


def test_two_hundred_secrets_open_fast(entropy_of):
    """200 secrets, 134 shares each: 13 ms measured; ten times that on a busy machine is still no hang."""
    entropy = entropy_of(4)
    secret = draw_secret(entropy)
    shares = split(secret, threshold=134, members=200, entropy=entropy)
    xs = tuple(range(1, 135))
    lagrange_weights.cache_clear()
    started = time.perf_counter()
    opened = combine_many(xs, [shares[:134]] * 200, threshold=134)

    assert opened == [secret] * 200
    assert time.perf_counter() - started < 0.5


def test_weights_are_kept_per_set():
    """The weights of a survivor set are computed once."""
    lagrange_weights.cache_clear()
    lagrange_weights((1, 2, 3))
    lagrange_weights((1, 2, 3))

    assert lagrange_weights.cache_info().hits == 1


@pytest.mark.parametrize("positions", [(0, 1), (-1, 2), (1, 257), (2, 2)])
def test_impossible_positions_are_refused(positions):
    """A share at 0 would be the secret itself; two at one position are one."""
    with pytest.raises(OwnFault):
        combine_many(positions, [[bytes(32)] * 2], threshold=2)


def test_too_few_or_misshapen_rows_are_refused():
    """One share of 32 bytes per position, and at least the threshold."""
    with pytest.raises(OwnFault):
        combine({1: bytes(32)}, threshold=2)
    with pytest.raises(OwnFault):
        combine_many((1, 2), [[bytes(32)]], threshold=2)
    with pytest.raises(OwnFault):
        combine_many((1, 2), [[bytes(32), bytes(31)]], threshold=2)


@pytest.mark.parametrize(("threshold", "members"), [(0, 3), (4, 3), (2, 257)])
def test_impossible_thresholds_are_refused(threshold, members, entropy_of):
    """1 <= threshold <= members <= COHORT_MAX."""
    with pytest.raises(OwnFault):
        split(Secret(bytes(32)), threshold=threshold, members=members, entropy=entropy_of(0))


@pytest.mark.parametrize("secret", [bytes(31), bytes(33), as_bytes(PRIME), b"\xff" * 32])
def test_only_a_number_below_the_prime_is_split(secret, entropy_of):
    """Another secret would come back reduced."""
    with pytest.raises(OwnFault):
        split(Secret(secret), threshold=2, members=3, entropy=entropy_of(0))


@pytest.mark.parametrize("share", [b"", bytes(31), bytes(33), as_bytes(PRIME), b"\xff" * 32])
def test_what_is_no_share_accuses_its_sender(share):
    """Wrong length, or a number not below the prime."""
    with pytest.raises(PeerFault, match="bad_share by mallory"):
        checked_share(share, accused="mallory")


def test_shares_are_joined_and_parted():
    """What was joined is parted; another number of bytes, or one bad share among them, is the sender's fault."""
    shares = tuple(as_bytes(k) for k in (1, PRIME - 1, 3))

    assert parted(joined(shares), 3, accused="peer") == shares
    for body, count in ((joined(shares), 2), (joined(shares)[:-1], 3), (joined(shares[:2]) + as_bytes(PRIME), 3)):
        with pytest.raises(PeerFault, match="bad_share by mallory"):
            parted(body, count, accused="mallory")
