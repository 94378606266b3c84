"""Orders that say nothing.

Called by `intersection` and `membership`.
Never uses a generator whose state could be guessed from its output: each order is drawn from the entropy handed in."""

from __future__ import annotations

from federation.secagg.keys import Entropy, drawn

_KEY_BYTES = 16  # Two of 2^18 keys agree with probability 2^-93.


def shuffled(count: int, entropy: Entropy) -> list[int]:
    """0 to count - 1 in an order uniform up to 2^-93: sorted by random keys of 128 bits."""
    keys = drawn(entropy, _KEY_BYTES * count)
    return sorted(range(count), key=lambda index: keys[_KEY_BYTES * index : _KEY_BYTES * (index + 1)])
