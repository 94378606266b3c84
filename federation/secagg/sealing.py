"""Shares boxed to one peer and bodies sealed to the aggregator.

Called by the participant (box, open, seal) and by the aggregator (unseal).
Never proves who sealed a body: a sealed body is anonymous, so it always travels inside a signed record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nacl import bindings
from nacl import exceptions as nacl_exceptions

from federation.errors import OwnFault, PeerFault
from federation.ids import Lane
from federation.secagg.keys import KEY_BYTES, Entropy, Secret, derive, drawn, framed, number, x25519_public, x25519_shared

NONCE_BYTES: Final = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
TAG_BYTES: Final = bindings.crypto_aead_xchacha20poly1305_ietf_ABYTES
BOX_OVERHEAD_BYTES: Final = NONCE_BYTES + TAG_BYTES
SEAL_OVERHEAD_BYTES: Final = bindings.crypto_box_SEALBYTES

PURPOSE_ROUND_KEYS: Final = b"round-key-shares"
PURPOSE_SELF_SEED: Final = b"self-seed-share"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What a box is: authenticated with it, so that a box carried to another round, roster or member does not open."""

    federation: str
    lane: Lane
    epoch: int
    round: int  # 0 for the shares of all round keys of the epoch.
    sender: str
    recipient: str
    roster_digest: bytes
    purpose: bytes

    def to_bytes(self) -> bytes:
        """The associated data of the box."""
        return framed(
            self.federation.encode(), self.lane.head.value.encode(), number(self.lane.group), number(self.epoch), number(self.round),
            self.sender.encode(), self.recipient.encode(), self.roster_digest, self.purpose,
        )  # fmt: skip


def channel_key(own_channel: Secret, own_public: bytes, peer_channel: bytes, *, accused: str) -> Secret:
    """The key of all boxes between two members, one and the same at both ends: made once an epoch.

    `own_channel` is our X25519 scalar of this epoch and `own_public` its public key, `peer_channel` the public key of `accused`.
    PeerFault "bad_key": low order, or our own key sent back.
    """
    if own_public == peer_channel:
        raise PeerFault("bad_key", "our own channel key sent back to us", accused=accused)
    shared = x25519_shared(own_channel, peer_channel, accused=accused)
    return derive(shared, purpose=b"share-box", context=framed(*sorted((own_public, peer_channel))))


def box_shares(plain: bytes, address: Address, *, key: Secret, entropy: Entropy) -> bytes:
    """`plain` for the recipient alone, under the `channel_key` with it: 24-byte nonce, then XChaCha20-Poly1305 ciphertext and tag."""
    nonce = drawn(entropy, NONCE_BYTES)
    return nonce + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, address.to_bytes(), nonce, key.reveal())


def open_shares(box: bytes, address: Address, *, key: Secret, plain_bytes: int) -> bytes:
    """What `box_shares` was given, opened by the recipient under the same key; `plain_bytes` is how many bytes are due.

    PeerFault "bad_box" accuses the sender: wrong length, another address, or boxed under another key.
    """
    if len(box) != plain_bytes + BOX_OVERHEAD_BYTES:
        raise PeerFault("bad_box", f"{len(box)} bytes where {plain_bytes + BOX_OVERHEAD_BYTES} were due", accused=address.sender)
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(box[NONCE_BYTES:], address.to_bytes(), box[:NONCE_BYTES], key.reveal())
    except nacl_exceptions.CryptoError as forged:
        raise PeerFault("bad_box", "does not open under its address", accused=address.sender) from forged


def seal(plain: bytes, sealing_key: bytes, *, entropy: Entropy) -> bytes:
    """`plain` for the holder of `sealing_key` (X25519): a NaCl sealed box, 48 bytes longer, whose ephemeral key is drawn from `entropy`."""
    if len(sealing_key) != KEY_BYTES:
        raise OwnFault("a sealing key has 32 bytes")
    ephemeral = Secret(drawn(entropy, KEY_BYTES))
    public = x25519_public(ephemeral)
    # As libsodium's crypto_box_seal, which would draw the ephemeral key by itself.
    nonce = hashlib.blake2b(public + sealing_key, digest_size=bindings.crypto_box_NONCEBYTES).digest()
    return public + bindings.crypto_box_easy(plain, nonce, sealing_key, ephemeral.reveal())


def unseal(sealed: bytes, sealing_secret: Secret, *, plain_bytes: int, accused: str) -> bytes:
    """What `seal` was given; PeerFault "bad_seal" unless it opens and has exactly `plain_bytes` bytes."""
    if len(sealed) != plain_bytes + SEAL_OVERHEAD_BYTES:
        raise PeerFault("bad_seal", f"{len(sealed)} bytes where {plain_bytes + SEAL_OVERHEAD_BYTES} were due", accused=accused)
    try:
        return bindings.crypto_box_seal_open(sealed, x25519_public(sealing_secret), sealing_secret.reveal())
    except nacl_exceptions.CryptoError as forged:
        raise PeerFault("bad_seal", "was not sealed to this key", accused=accused) from forged


def unseal_with_any(sealed: bytes, secrets: Sequence[Secret], *, plain_bytes: int, accused: str) -> bytes:
    """As `unseal`, with the first of these secrets that opens it: a recipient who changes its key holds two for a while."""
    *others, last = secrets
    for secret in others:
        try:
            return unseal(sealed, secret, plain_bytes=plain_bytes, accused=accused)
        except PeerFault:
            continue
    return unseal(sealed, last, plain_bytes=plain_bytes, accused=accused)
