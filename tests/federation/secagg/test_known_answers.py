"""Known answers: what the formulas of the docstrings give when other libraries compute them.

Collected by pytest; run as a script it prints the vector file (tests/vectors/secagg/README.md).
Never imports the code under test into the oracle: the oracle uses hashlib, `cryptography` and Python integers only."""

from __future__ import annotations

import hashlib
import json
import struct
import sys

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from federation.ids import Lane, RoundId
from federation.members import certificates
from federation.messages import HeadName, PartyRole
from federation.rounds.commitments import share_tag
from federation.secagg import agreement, keys, masks, sealing, shares

INPUTS = {
    "federation": "nordic", "head": "fraud", "group": 0, "epoch": 3, "round": 40,
    "model_digest": (b"m" * 32).hex(), "ready_digest": (b"r" * 32).hex(),
    "alice_secret": bytes(range(32)).hex(), "bob_secret": bytes(range(1, 33)).hex(),
    "entropy": "SHAKE-256 of 'known/<call, from 1>'",
}  # fmt: skip
ALICE, BOB = (bytes.fromhex(INPUTS[name]) for name in ("alice_secret", "bob_secret"))
PRIME = 2**255 - 19


def recorded():
    """The entropy of the vectors: one SHAKE-256 stream per call."""
    calls = 0

    def entropy(count):
        nonlocal calls
        calls += 1
        return hashlib.shake_256(f"known/{calls}".encode()).digest(count)

    return entropy


# --- the oracle ---------------------------------------------------------------------------------------------------------
def o_framed(*parts):
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def o_derive(key, purpose, context=b""):
    return hashlib.blake2b(o_framed(b"riverbank/derive/1", purpose, context), key=key, digest_size=32).digest()


def o_public(scalar):
    return X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def o_shared(scalar, public):
    return X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(public))


def o_round_context():
    numbers = [struct.pack("<Q", INPUTS[name]) for name in ("group", "epoch", "round")]
    return o_framed(INPUTS["federation"].encode(), INPUTS["head"].encode(), *numbers)


def o_expand(seed, length):
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(bytes(4 * length))
    return list(struct.unpack(f"<{length}I", stream))


def o_pair_seed():
    alice, bob = o_derive(ALICE, b"round-key"), o_derive(BOB, b"round-key")
    digests = [bytes.fromhex(INPUTS[name]) for name in ("model_digest", "ready_digest")]
    context = o_framed(o_round_context(), *digests, *sorted([o_public(alice), o_public(bob)]))
    return o_derive(o_shared(alice, o_public(bob)), b"pair-mask", context)


def o_shares():
    stream = recorded()(64)
    high, low = (int.from_bytes(stream[k : k + 32], "little") % 2**255 for k in (0, 32))
    secret = int.from_bytes(ALICE, "little")
    return [((high * x * x + low * x + secret) % PRIME).to_bytes(32, "little") for x in range(1, 6)]


def o_hchacha20(key, nonce):
    """draft-irtf-cfrg-xchacha-03, section 2.2: the subkey of the first 16 bytes of an XChaCha20 nonce."""

    def rotated(value, bits):
        return (value << bits | value >> 32 - bits) & 0xFFFF_FFFF

    def quarter(state, a, b, c, d):
        for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xFFFF_FFFF
            state[z] = rotated(state[z] ^ state[x], bits)

    state = list(struct.unpack("<12I", b"expand 32-byte k" + key) + struct.unpack("<4I", nonce))
    for _ in range(10):
        for column in range(4):
            quarter(state, column, column + 4, column + 8, column + 12)
        for diagonal in range(4):
            quarter(state, diagonal, (diagonal + 1) % 4 + 4, (diagonal + 2) % 4 + 8, (diagonal + 3) % 4 + 12)
    return struct.pack("<8I", *state[:4], *state[12:])


def o_box():
    publics = sorted([o_public(ALICE), o_public(BOB)])
    key = o_derive(o_shared(ALICE, o_public(BOB)), b"share-box", o_framed(*publics))
    nonce = recorded()(24)
    names = [INPUTS["federation"].encode(), INPUTS["head"].encode()]
    numbers = [struct.pack("<Q", INPUTS[name]) for name in ("group", "epoch", "round")]
    address = o_framed(*names, *numbers, b"alice", b"bob", b"d" * 32, b"self-seed-share")
    text = ChaCha20Poly1305(o_hchacha20(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], b"share", address)
    return nonce + text


def o_share_tag():
    said = o_framed(b"riverbank/share-tag/1", o_round_context(), b"alice", struct.pack("<Q", 2), b"self-seed-share")
    return hashlib.blake2b(said, key=BOB, digest_size=16).digest()


def o_certificate():
    numbers = [value.to_bytes(8, "little") for value in (7, 1, 2, 3)]  # Serial, issued, expires, previous until.
    signed = o_framed(b"riverbank/certificate/2", b"nordic", b"alice", b"institution", *numbers, ALICE, BOB)
    return Ed25519PrivateKey.from_private_bytes(b"c" * 32).sign(signed)


def oracle():
    """The vector file."""
    return {
        "inputs": INPUTS,
        "derive": o_derive(ALICE, b"purpose", b"context").hex(),
        "round_public": o_public(o_derive(ALICE, b"round-key")).hex(),
        "self_seed": o_derive(ALICE, b"self-mask", o_round_context()).hex(),
        "pair_seed": o_pair_seed().hex(),
        "mask_of_alice": o_expand(ALICE, 8),
        "shares_3_of_5_of_alice": [share.hex() for share in o_shares()],
        "box_from_alice_to_bob": o_box().hex(),
        "share_tag_of_bob": o_share_tag().hex(),
        "certificate": o_certificate().hex(),
    }


# --- the code under test ------------------------------------------------------------------------------------------------
def under_test():
    alice, bob = keys.Secret(ALICE), keys.Secret(BOB)
    round_id = RoundId(Lane(HeadName.FRAUD), 3, 40)
    publics = [agreement.round_public(secret) for secret in (alice, bob)]
    pair = agreement.pair_seed(
        agreement.round_scalar(alice), *publics, federation="nordic", round_id=round_id,
        model_digest=b"m" * 32, ready_digest=b"r" * 32, accused="bob",
    )  # fmt: skip
    address = sealing.Address(
        federation="nordic", lane=round_id.lane, epoch=3, round=40, sender="alice", recipient="bob",
        roster_digest=b"d" * 32, purpose=sealing.PURPOSE_SELF_SEED,
    )  # fmt: skip
    channel = sealing.channel_key(alice, keys.x25519_public(alice), keys.x25519_public(bob), accused="bob")
    tag = share_tag(BOB, federation="nordic", round_id=round_id, dealer="alice", position=2, purpose=sealing.PURPOSE_SELF_SEED)
    certified = certificates.certify(
        keys.Secret(b"c" * 32),
        federation="nordic",
        party="alice",
        role=PartyRole.INSTITUTION,
        serial=7,
        issued_at_ms=1,
        expires_at_ms=2,
        previous_until_ms=3,
        verify_key=ALICE,
        sealing_key=BOB,
    )
    return {
        "inputs": INPUTS,
        "derive": keys.derive(alice, purpose=b"purpose", context=b"context").reveal().hex(),
        "round_public": publics[0].hex(),
        "self_seed": agreement.self_seed(alice, federation="nordic", round_id=round_id).reveal().hex(),
        "pair_seed": pair.reveal().hex(),
        "mask_of_alice": np.asarray(masks.expand(alice, 8)).tolist(),
        "shares_3_of_5_of_alice": [share.hex() for share in shares.split(alice, threshold=3, members=5, entropy=recorded())],
        "box_from_alice_to_bob": sealing.box_shares(b"share", address, key=channel, entropy=recorded()).hex(),
        "share_tag_of_bob": tag.hex(),
        "certificate": certified.certificate.hex(),
    }


def test_the_oracle_gives_the_recorded_answers(vectors_in):
    """The file is what the oracle computes, today as when it was written."""
    assert oracle() == vectors_in("known_answers")


def test_the_code_gives_the_recorded_answers(vectors_in):
    """Bytes on the wire and seeds do not change by accident: two versions must be able to sum together."""
    assert under_test() == vectors_in("known_answers")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(oracle(), indent=1) + "\n")
