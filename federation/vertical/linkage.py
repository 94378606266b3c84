"""Similar names of one person found equal: keyed Bloom filters, compared by a third party who has no key.

Called by `riverbank.linkage`: `encoded` at the bank and at the partner, `paired` and `named` at the linkage unit.
Never the default, and never as strong as `intersection`: encodings keep what is alike alike, hence open to attacks on patterns (docs/vertical.md).

Cryptographic longterm keys (Schnell, Bachteler and Reiher 2011, after their filters of 2009): the q-grams of all identifiers of a person set bits of one filter of
fixed length. Each q-gram's positions are drawn from an HMAC of its own, not by double hashing, which Niedermeyer et al. (2014) broke;
the finished filter is folded by XOR (Schnell and Borgs 2016), so each bit mixes two positions. Both make attacks dearer, neither ends them.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.errors import OwnFault, require
from federation.limits import LIST_MAX
from federation.secagg.keys import KEY_BYTES, Entropy, Secret, derive, drawn, framed, number

ENCODING_BYTES: Final = 128
THRESHOLD_MIN: Final = 0.6  # Strangers are paired at 0.6 already (figures in docs/vertical.md).
_QGRAM: Final = 2
_POSITIONS: Final = 16  # Of each q-gram: all that one SHA-256 holds in 16 bits each.
_FILTER_BITS: Final = 2 * 8 * ENCODING_BYTES  # Before it is folded.
_CELLS_MAX: Final = 1 << 22  # Similarities held in memory at a time.
_ID_BYTES: Final = 16
require((1 << 16) % _FILTER_BITS == 0, "16 bits do not give every position of the filter equally often")
require(hashlib.sha256().digest_size == 2 * _POSITIONS, "a digest does not hold the positions of a q-gram")


def qgrams(value: str) -> Counter[str]:
    """How often each pair of neighbouring characters is in the bare letters and digits of a value, its ends marked; none of an empty one.

    >>> sorted(qgrams("Ånn-A"))
    ['_a', 'a_', 'an', 'na', 'nn']
    """
    decomposed = unicodedata.normalize("NFKD", value).casefold()
    bare = "".join(character for character in unicodedata.normalize("NFKD", decomposed) if character.isalnum())
    marked = f"_{bare}_"
    return Counter(marked[at : at + _QGRAM] for at in range(len(marked) - 1)) if bare else Counter()


def setting(key: Secret, fields: Sequence[str]) -> str:
    """A mark of the key and the identifiers' names: 16 hexadecimal digits, equal where encodings may be compared, telling nothing else of the key."""
    mark = derive(_checked(key), purpose=b"linkage-setting", context=framed(*(field.encode() for field in fields)))
    return mark.reveal()[:8].hex()


def encoded(people: Sequence[Sequence[str]], fields: Sequence[str], key: Secret) -> list[bytes]:
    """Each person's encoding, ENCODING_BYTES long; `people` hold the values of `fields`. Salted by field: "Ann Lee" is not "Lee Ann".

    OwnFault: no or repeated fields, a key of another length, a person of another number of values or without any letter or digit.
    """
    if not fields or len(set(fields)) != len(fields):
        raise OwnFault("an encoding takes one or more identifiers of different names")
    salts = [derive(_checked(key), purpose=b"linkage-qgrams", context=field.encode()).reveal() for field in fields]
    encodings = []
    for place, values in enumerate(people, 1):
        if len(values) != len(fields):
            raise OwnFault(f"person {place} has {len(values)} identifiers instead of {len(fields)}")
        filter_ = np.zeros(_FILTER_BITS, dtype=np.uint8)
        for salt, value in zip(salts, values, strict=True):
            for gram, times in qgrams(value).items():
                for nth in range(times):  # The second "11" of a date is a q-gram of its own, or dates of few digits would be all alike.
                    filter_[_positions(salt, gram, nth)] = 1
        if not filter_.any():
            raise OwnFault(f"person {place} has no identifier with a letter or digit in it")
        encodings.append(np.packbits(filter_[: _FILTER_BITS // 2] ^ filter_[_FILTER_BITS // 2 :]).tobytes())
    return encodings


def paired(bank: Sequence[bytes], partner: Sequence[bytes], *, threshold: float) -> list[tuple[int, int]]:
    """(place in `bank`, place in `partner`) of those who are each other's only nearest with a Dice similarity of at least `threshold`.

    One-to-one by construction. A tie pairs nobody: of twins, and of one customer listed twice, no list tells who is meant.
    Time grows with len(bank) * len(partner). OwnFault: an empty or too long list, an encoding of another length, a threshold
    below THRESHOLD_MIN or above 1.
    """
    if not THRESHOLD_MIN <= threshold <= 1:
        raise OwnFault(f"a threshold is from {THRESHOLD_MIN} to 1")
    ours, theirs = _unpacked(bank), _unpacked(partner)
    our_weights, their_weights = ours.sum(axis=1), theirs.sum(axis=1)
    best_of_theirs, nearest_of_theirs = np.zeros(len(theirs)), np.zeros(len(theirs), dtype=np.int64)
    tied_theirs = np.zeros(len(theirs), dtype=bool)
    candidates: list[tuple[int, int]] = []
    for begin in range(0, len(ours), step := max(1, _CELLS_MAX // len(theirs))):
        chunk = slice(begin, begin + step)
        # Whole numbers up to 1,024 are exact in float32, so equal similarities are equal bits and ties are seen.
        common = (ours[chunk] @ theirs.T).astype(np.float64)
        dice = 2 * common / (our_weights[chunk, None] + their_weights[None, :])
        nearest, best = dice.argmax(axis=1), dice.max(axis=1)
        clear = (best >= threshold) & ((dice == best[:, None]).sum(axis=1) == 1)
        candidates += [(begin + int(row), int(nearest[row])) for row in np.flatnonzero(clear)]
        best_here = dice.max(axis=0)
        tied_here = (dice == best_here).sum(axis=0) > 1
        better, equal = best_here > best_of_theirs, best_here == best_of_theirs
        tied_theirs = np.where(better, tied_here, tied_theirs | equal)
        nearest_of_theirs = np.where(better, begin + dice.argmax(axis=0), nearest_of_theirs)
        best_of_theirs = np.maximum(best_of_theirs, best_here)
    return [(mine, yours) for mine, yours in candidates if nearest_of_theirs[yours] == mine and not tied_theirs[yours]]


@dataclass(frozen=True, slots=True)
class Named:
    """An id for each place of either list; the two of a pair have the same one, nobody else has."""

    bank: tuple[str, ...]
    partner: tuple[str, ...]


def named(pairs: Sequence[tuple[int, int]], bank: int, partner: int, *, entropy: Entropy) -> Named:
    """Fresh random ids of 32 hexadecimal digits for lists of these lengths.

    Who has no pair gets one as well: so an answer does not say who is shared, and the intersection's policy still decides who learns that.
    """
    ours, theirs = ([drawn(entropy, _ID_BYTES).hex() for _ in range(count)] for count in (bank, partner))
    for mine, yours in pairs:
        theirs[yours] = ours[mine]
    return Named(tuple(ours), tuple(theirs))


def _positions(salt: bytes, gram: str, nth: int) -> NDArray[np.int64]:
    digest = hmac.digest(salt, framed(gram.encode(), number(nth)), "sha256")
    return np.frombuffer(digest, dtype="<u2").astype(np.int64) % _FILTER_BITS


def _unpacked(encodings: Sequence[bytes]) -> NDArray[np.float32]:
    if not 1 <= len(encodings) <= LIST_MAX or any(len(each) != ENCODING_BYTES for each in encodings):
        raise OwnFault(f"a list has 1 to {LIST_MAX} encodings of {ENCODING_BYTES} bytes")
    packed = np.frombuffer(b"".join(encodings), dtype=np.uint8).reshape(len(encodings), ENCODING_BYTES)
    bits = np.unpackbits(packed, axis=1).astype(np.float32)
    if not bits.any(axis=1).all():
        raise OwnFault("an encoding is empty")
    return bits


def _checked(key: Secret) -> Secret:
    if len(key) != KEY_BYTES:
        raise OwnFault(f"a linkage key has {KEY_BYTES} bytes")
    return key
