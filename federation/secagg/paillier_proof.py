"""Proof that partial decryptions were made with the share that belongs to their maker, without showing it.

Called by the Paillier sum: a key holder proves, whoever combines checks.
Never proves anything about a plaintext, nor that a ciphertext was well made.

Shoup (EUROCRYPT 2000, section 4.2.1; Damgard and Jurik 2001, section 4.1): log_v(check_i) = log_{c^4}(partial^2), made
non-interactive with BLAKE2b (Fiat and Shamir). All ciphertexts of a round are proved at once: with C the product of c_k^(w_k)
and P that of partial_k^(w_k) for random 128-bit w_k fixed by a hash of everything, one proof for (C, P) is one for all
(small-exponents test, Bellare, Garay and Rabin, EUROCRYPT 1998): squares modulo N^2 form a cyclic group of order N p'q'
whose prime factors are all far above 2^128, so a wrong partial escapes with a chance below 2^-128."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from federation.errors import PeerFault
from federation.secagg.bigint import power, power_secret, product
from federation.secagg.keys import Entropy, drawn, framed, number
from federation.secagg.paillier import KeyShare, PublicKey

_DOMAIN: Final = b"riverbank/paillier-proof/1"
_WEIGHT_BYTES: Final = 16
_CHALLENGE_BYTES: Final = 32
_HIDING_BITS: Final = 128  # The answer is uniform up to 2^-128, whatever the share.


@dataclass(frozen=True, slots=True)
class _Statement:
    """log_v(check) = log_base(image); all squares modulo N^2."""

    base: int
    image: int
    check: int
    bound: bytes  # What the proof is about: key, round, index, every ciphertext and partial.


def prove(
    public: PublicKey, share: KeyShare, ciphertexts: Sequence[int], partials: Sequence[int], *, context: bytes, entropy: Entropy
) -> bytes:
    """That partials[k] = ciphertexts[k]^(2 D s_i) for every k; bound to `context` (the round)."""
    statement = _statement(public, share.index, ciphertexts, partials, context)
    nonce = int.from_bytes(drawn(entropy, _answer_bytes(public)), "little")
    seen = (power_secret(public.check_base, nonce, public.square), power_secret(statement.base, nonce, public.square))
    challenge = _challenge(public, statement, *seen)
    answer = nonce + int.from_bytes(challenge, "little") * public.factorial * share.value()
    return challenge + answer.to_bytes(_answer_bytes(public) + 1, "little")


def check(
    public: PublicKey,
    index: int,
    ciphertexts: Sequence[int],
    partials: Sequence[int],
    proof: bytes,
    *,
    context: bytes,
    accused: str,
) -> None:
    """Return if `proof` shows that holder `index` decrypted honestly; PeerFault "bad_partial" accuses `accused` otherwise."""
    if len(proof) != proof_bytes(public) or len(partials) != len(ciphertexts):
        raise PeerFault("bad_partial", "partial decryptions or their proof have the wrong length", accused=accused)
    statement = _statement(public, index, ciphertexts, partials, context)
    challenge, answer = proof[:_CHALLENGE_BYTES], int.from_bytes(proof[_CHALLENGE_BYTES:], "little")
    against = -int.from_bytes(challenge, "little")
    seen = (
        product((power(public.check_base, answer, public.square), power(statement.check, against, public.square)), public.square),
        product((power(statement.base, answer, public.square), power(statement.image, against, public.square)), public.square),
    )
    if _challenge(public, statement, *seen) != challenge:
        raise PeerFault("bad_partial", "the proof of a partial decryption does not hold", accused=accused)


def proof_bytes(public: PublicKey) -> int:
    """Length of a proof."""
    return _CHALLENGE_BYTES + _answer_bytes(public) + 1


def _answer_bytes(public: PublicKey) -> int:
    # Challenge times D s_i, where s_i < N m, and _HIDING_BITS more; the sum with the nonce has one bit more.
    bits = 2 * public.bits + public.factorial.bit_length() + 8 * _CHALLENGE_BYTES + _HIDING_BITS
    return (bits + 7) // 8


def _statement(public: PublicKey, index: int, ciphertexts: Sequence[int], partials: Sequence[int], context: bytes) -> _Statement:
    size = public.ciphertext_bytes
    listed = (value.to_bytes(size, "little") for value in (*ciphertexts, *partials))
    bound = hashlib.blake2b(framed(_DOMAIN, public.digest, context, number(index), *listed)).digest()
    weights = [
        int.from_bytes(hashlib.blake2b(number(k), key=bound, digest_size=_WEIGHT_BYTES).digest(), "little") for k in range(len(ciphertexts))
    ]
    mixed_ciphertext, mixed_partial = (
        product((power(value, weight, public.square) for value, weight in zip(values, weights, strict=True)), public.square)
        for values in (ciphertexts, partials)
    )
    return _Statement(
        base=power(mixed_ciphertext, 4, public.square),
        image=power(mixed_partial, 2, public.square),
        check=public.checks[index - 1],
        bound=bound,
    )


def _challenge(public: PublicKey, statement: _Statement, by_check: int, by_base: int) -> bytes:
    size = public.ciphertext_bytes
    seen = (value.to_bytes(size, "little") for value in (statement.base, statement.image, by_check, by_base))
    return hashlib.blake2b(framed(_DOMAIN, statement.bound, *seen), digest_size=_CHALLENGE_BYTES).digest()
