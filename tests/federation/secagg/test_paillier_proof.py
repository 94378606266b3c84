"""A holder who decrypts wrongly is named, and one who decrypts rightly shows nothing."""

from __future__ import annotations

import pytest

from federation.errors import PeerFault
from federation.secagg.keys import Secret
from federation.secagg.paillier import KeyShare, encrypt, partial_decryption
from federation.secagg.paillier_proof import check, proof_bytes, prove

BITS = 512
CONTEXT = b"round 7"


@pytest.fixture(scope="module")
def key(paillier_key):
    return paillier_key(BITS, 3, 5)


@pytest.fixture(scope="module")
def ciphertexts(key, entropy_of):
    return [encrypt(key[0], 1000 + k, entropy=entropy_of(k)) for k in range(4)]


def proved(key, ciphertexts, entropy, index=2, partials=None):
    public, shares = key
    if partials is None:
        partials = [partial_decryption(public, shares[index - 1], one) for one in ciphertexts]
    return partials, prove(public, shares[index - 1], ciphertexts, partials, context=CONTEXT, entropy=entropy)


def checked(key, ciphertexts, partials, proof, index=2, context=CONTEXT):
    check(key[0], index, ciphertexts, partials, proof, context=context, accused="mallory")


def refused(*arguments, **changes):
    with pytest.raises(PeerFault, match="bad_partial by mallory"):
        checked(*arguments, **changes)


def test_an_honest_proof_holds(key, ciphertexts, entropy_of):
    """For every holder, for many ciphertexts or one."""
    for index in range(1, 6):
        partials, proof = proved(key, ciphertexts, entropy_of(index), index)
        checked(key, ciphertexts, partials, proof, index)
        assert len(proof) == proof_bytes(key[0])
    checked(key, ciphertexts[:1], *proved(key, ciphertexts[:1], entropy_of(9)))


@pytest.mark.parametrize("position", [0, 3])
def test_one_wrong_partial_breaks_the_proof(key, ciphertexts, entropy_of, position):
    """Changed after the proof was made, or before it by a holder who proves as honestly as he can."""
    public = key[0]
    partials, proof = proved(key, ciphertexts, entropy_of(1))
    wrong = list(partials)
    wrong[position] = wrong[position] * ciphertexts[position] % public.square
    refused(key, ciphertexts, wrong, proof)
    refused(key, ciphertexts, *proved(key, ciphertexts, entropy_of(1), partials=wrong))


def test_errors_that_cancel_do_not_pass(key, ciphertexts, entropy_of):
    """Two partials off by factors that multiply to one: without random weights the product would be right."""
    public = key[0]
    partials, _ = proved(key, ciphertexts, entropy_of(1))
    factor = ciphertexts[0]
    wrong = [partials[0] * factor % public.square, partials[1] * pow(factor, -1, public.square) % public.square, *partials[2:]]
    refused(key, ciphertexts, *proved(key, ciphertexts, entropy_of(1), partials=wrong))
    refused(key, ciphertexts, *proved(key, ciphertexts, entropy_of(1), partials=[partials[1], partials[0], *partials[2:]]))


def test_another_share_does_not_prove(key, ciphertexts, entropy_of):
    """Decrypting with a share that is not one's own, right as such, is refused."""
    partials, proof = proved(key, ciphertexts, entropy_of(1), index=3)
    refused(key, ciphertexts, partials, proof, index=2)
    forged = KeyShare(2, Secret((key[1][1].value() + 1).to_bytes(128, "little")))
    partials = [partial_decryption(key[0], forged, one) for one in ciphertexts]
    refused(key, ciphertexts, partials, prove(key[0], forged, ciphertexts, partials, context=CONTEXT, entropy=entropy_of(1)))


def test_a_proof_is_for_one_round_and_its_ciphertexts(key, ciphertexts, entropy_of):
    """Carried to another round, holder, or other ciphertexts it does not hold."""
    partials, proof = proved(key, ciphertexts, entropy_of(1))
    refused(key, ciphertexts, partials, proof, context=b"round 8")
    refused(key, ciphertexts, partials, proof, index=1)
    refused(key, ciphertexts[::-1], partials[::-1], proof)
    refused(key, ciphertexts[:3], partials[:3], proof)


@pytest.mark.parametrize("at", [0, 31, 32, 100, -1])
def test_a_changed_proof_does_not_hold(key, ciphertexts, entropy_of, at):
    """Challenge and answer are both bound."""
    partials, proof = proved(key, ciphertexts, entropy_of(1))
    changed = bytearray(proof)
    changed[at] ^= 1
    refused(key, ciphertexts, partials, bytes(changed))


def test_misshapen_proofs_are_the_holders_fault(key, ciphertexts, entropy_of):
    """Too short, too long, or for fewer partials than ciphertexts."""
    partials, proof = proved(key, ciphertexts, entropy_of(1))
    for wrong_partials, wrong_proof in ((partials, proof[:-1]), (partials, proof + b"\0"), (partials, b""), (partials[:-1], proof)):
        refused(key, ciphertexts, wrong_partials, wrong_proof)


def test_a_proof_hides_the_share(key, ciphertexts, entropy_of):
    """The answer is longer than challenge times share by 128 random bits, and new each time."""
    public, shares = key
    _, proof = proved(key, ciphertexts, entropy_of(1))
    _, other = proved(key, ciphertexts, entropy_of(2))

    assert int.from_bytes(proof[32:], "little").bit_length() > (public.factorial * shares[1].value()).bit_length() + 256 + 100
    assert proof != other
