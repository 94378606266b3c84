"""What the tests of secure aggregation share: entropy from a seed, vectors from their files, a round's parameters.

Collected by pytest.
Never used outside tests: a recorded seed is no secret."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation.messages import RoundParameters
from federation.secagg.paillier import KeyShare, PublicKey
from federation.secagg.paillier_dealer import deal_from

VECTORS = Path(__file__).parents[2] / "vectors" / "secagg"


def seeded(seed: int | str) -> Callable[[int], bytes]:
    """Entropy that is the same for the same seed: SHAKE-256 of the seed and a call counter."""
    calls = 0

    def entropy(count: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(f"{seed}/{calls}".encode()).digest(count)

    return entropy


@pytest.fixture(scope="session")
def entropy_of() -> Callable[[int | str], Callable[[int], bytes]]:
    return seeded


@pytest.fixture(scope="session")
def vectors_in() -> Callable[[str], Any]:
    return lambda name: json.loads((VECTORS / f"{name}.json").read_text())


@functools.cache
def dealt(bits: int, threshold: int, members: int) -> tuple[PublicKey, tuple[KeyShare, ...]]:
    """A threshold Paillier key from the published test primes."""
    primes = json.loads((VECTORS / "paillier_primes.json").read_text())["primes"][str(bits)]
    first, second = (int(prime, 16) for prime in primes)
    return deal_from(first, second, threshold=threshold, members=members, entropy=seeded(f"dealer/{bits}"))


@pytest.fixture(scope="session")
def paillier_key() -> Callable[[int, int, int], tuple[PublicKey, tuple[KeyShare, ...]]]:
    return dealt


@pytest.fixture(scope="session")
def parameters() -> Callable[..., RoundParameters]:
    def made(**changes: Any) -> RoundParameters:
        fields: dict[str, Any] = {
            "dimension": 4, "layout_digest": bytes(32), "clip_norm": 1.0, "clip_quanta": 1000, "count_quanta": 10,
            "noise_sigma": 0.0, "participations_max": 1, "period_days": 365, "delta": 1e-6, "chunk_length": 1 << 10,
        }  # fmt: skip
        return RoundParameters(**{**fields, **changes})

    return made
