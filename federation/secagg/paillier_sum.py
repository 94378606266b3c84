"""A secure sum by threshold Paillier encryption: for small models, where masks do not fit.

Called in place of `masked_sum`; the same values go in and the same sum comes out.
Never decrypts a ciphertext that somebody hands over: each holder multiplies the contributions itself, and decrypts that once.

After Truex et al., "A Hybrid Approach to Privacy-Preserving Federated Learning" (AISec 2019): additively homomorphic threshold
encryption together with each member's share of the noise. What is not proved is listed in docs/paillier.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from federation.errors import OwnFault
from federation.secagg.keys import Entropy
from federation.secagg.packing import integers_for, pack, slots_in, unpack
from federation.secagg.paillier import (
    MODULUS_BITS_MIN,
    KeyShare,
    PublicKey,
    add,
    combine,
    encrypt,
    numbers_from_bytes,
    numbers_to_bytes,
    partial_decryption,
)
from federation.secagg.paillier_proof import check, proof_bytes, prove
from federation.secagg.ring import RingVector
from federation.secagg.secure_sum import Once, SumTerms

DIMENSION_MAX: Final = 10_000  # Beyond, a round takes a member minutes; masks take milliseconds.


class PaillierSum:
    """A member of a round and holder of a key share (SecureSum). The key's holders are the round's members, in order.

    Only tests lower `bits_min`.
    """

    def __init__(
        self, name: str, terms: SumTerms, public: PublicKey, share: KeyShare, *, entropy: Entropy, bits_min: int = MODULUS_BITS_MIN
    ) -> None:
        _require_fitting(terms, public, bits_min)
        if share.index != terms.position(name):
            raise OwnFault("this key share belongs to another member")
        self._terms = terms
        self._public = public
        self._share = share
        self._entropy = entropy
        self._once = Once()

    def contribute(self, values: RingVector) -> bytes:
        """The ciphertexts of the packed values, one after the other."""
        if values.shape != (self._terms.length,):
            raise OwnFault("a contribution has the agreed length")
        self._once.say("contribute")
        packed = pack(values, slots_in(self._public.bits))
        return numbers_to_bytes(self._public, [encrypt(self._public, plain, entropy=self._entropy) for plain in packed])

    def reveal(self, contributions: Mapping[str, bytes]) -> bytes:
        """Partial decryptions of the sums, one after the other, then the proof that they are right."""
        sums = _sums(self._terms, self._public, contributions)
        self._once.say("reveal")
        partials = [partial_decryption(self._public, self._share, ciphertext) for ciphertext in sums]
        context = self._terms.context()
        return numbers_to_bytes(self._public, partials) + prove(
            self._public, self._share, sums, partials, context=context, entropy=self._entropy
        )


class PaillierOpener:
    """The aggregator (SumOpener); it holds no share. Only tests lower `bits_min`."""

    def __init__(self, terms: SumTerms, public: PublicKey, *, bits_min: int = MODULUS_BITS_MIN) -> None:
        _require_fitting(terms, public, bits_min)
        self._terms = terms
        self._public = public

    def open_sum(self, contributions: Mapping[str, bytes], revealed: Mapping[str, bytes]) -> RingVector:
        """Check every proof ("bad_partial" names who gave a wrong partial decryption), combine, unpack."""
        terms, public = self._terms, self._public
        sums = _sums(terms, public, contributions)
        partials = {}
        for member, body in revealed.items():
            index, proof_at = terms.position(member), len(body) - proof_bytes(public)
            mine = numbers_from_bytes(public, body[:proof_at], len(sums), accused=member)
            check(public, index, sums, mine, body[proof_at:], context=terms.context(), accused=member)
            partials[index] = mine
        plains = [combine(public, {index: mine[k] for index, mine in partials.items()}) for k in range(len(sums))]
        return unpack(plains, terms.length, slots_in(public.bits), len(contributions))


def _sums(terms: SumTerms, public: PublicKey, contributions: Mapping[str, bytes]) -> list[int]:
    """The ciphertexts of the sums over these contributions."""
    contributors = terms.require_enough(contributions)
    count = integers_for(terms.length, slots_in(public.bits))
    columns = [numbers_from_bytes(public, contributions[member], count, accused=member) for member in contributors]
    return [add(public, ciphertexts) for ciphertexts in zip(*columns, strict=True)]


def _require_fitting(terms: SumTerms, public: PublicKey, bits_min: int) -> None:
    public.require_sound(bits_min)
    if terms.length > DIMENSION_MAX + 1:
        raise OwnFault(f"Paillier sums have at most {DIMENSION_MAX} coordinates: use masks")
    if public.members != len(terms.members) or public.threshold != terms.threshold:
        raise OwnFault("the key was dealt to another cohort than the round's")
