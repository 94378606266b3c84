"""Personal data sealed under a key that can be destroyed: what lies in a log that forgets nothing is then unreadable (crypto-shredding).

Called by an institution's worker for what it writes of a customer into logs, and by whoever opens that with the key.
Never seals two things to different bytes under one key and context: the nonce follows from what is sealed, as in SIV (RFC 5297), so that a turn
repeated after a crash says the same, and no nonce is ever used for two contents."""

from __future__ import annotations

import hashlib
from typing import Final

from nacl import bindings
from nacl import exceptions as nacl_exceptions

from federation.errors import OwnFault
from federation.secagg.keys import Secret, derive, framed

_NONCE_BYTES: Final = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES


def seal_under(key: Secret, plain: bytes, context: bytes) -> bytes:
    """`plain` under a 32-byte key: 24-byte nonce, then XChaCha20-Poly1305 ciphertext and tag, bound to `context`."""
    nonce = hashlib.blake2b(framed(context, plain), digest_size=_NONCE_BYTES, key=derive(key, purpose=b"shred-nonce").reveal()).digest()
    return nonce + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, context, nonce, derive(key, purpose=b"shred-seal").reveal())


def open_under(key: Secret, sealed: bytes, context: bytes) -> bytes:
    """What `seal_under` was given; OwnFault if it was sealed under another key or context, or changed since."""
    nonce, box = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(box, context, nonce, derive(key, purpose=b"shred-seal").reveal())
    except (nacl_exceptions.CryptoError, ValueError) as error:
        raise OwnFault("it was not sealed with this key, or it was changed") from error


def digest_under(key: Secret, plain: bytes) -> bytes:
    """A digest that says nothing to whoever has not the key: BLAKE2b-256, keyed."""
    return hashlib.blake2b(plain, digest_size=32, key=derive(key, purpose=b"shred-digest").reveal()).digest()
