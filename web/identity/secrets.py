"""Tokens that are shown once and kept as hashes, and one-time-code secrets under a key that lies outside the database.

Called by the rest of `web.identity`.
Never compares a secret with == and never keeps a token that could be used."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from pathlib import Path
from typing import Final

from nacl.secret import SecretBox

from streams.ports import Entropy
from streams.settings import read_private_file

TOKEN_BYTES: Final = 32


def new_token(entropy: Entropy) -> str:
    """256 bits as 43 characters that need no escaping anywhere."""
    return base64.urlsafe_b64encode(entropy(TOKEN_BYTES)).rstrip(b"=").decode()


def new_id(entropy: Entropy) -> str:
    """A name for a row: 128 bits, hexadecimal."""
    return entropy(16).hex()


def hash_of(token: str) -> str:
    """What is kept of a token: with 256 bits of entropy a plain hash cannot be searched."""
    return hashlib.sha256(token.encode()).hexdigest()


def form_token(token: str) -> str:
    """The proof that a form was made for the holder of this cookie; it tells nothing of the cookie."""
    return hmac.new(token.encode(), b"riverbank form", hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Equality in a time that says nothing of where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())


class Vault:
    """Encrypts what has to be read again (XSalsa20-Poly1305): a copy of the database alone opens nothing."""

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        self._box = SecretBox(key)
        self._entropy = entropy

    def sealed(self, secret: bytes) -> bytes:
        """Under a new nonce."""
        return bytes(self._box.encrypt(secret, self._entropy(SecretBox.NONCE_SIZE)))

    def opened(self, sealed: bytes) -> bytes:
        """What was sealed; nacl's CryptoError under another key."""
        return self._box.decrypt(sealed)


def open_vault(key_file: Path, entropy: Entropy) -> Vault:
    """The vault of the key in this file, which is made if there is none; SettingsError if others can read it."""
    key_file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "wb") as file:
            file.write(entropy(SecretBox.KEY_SIZE))
            file.flush()
            os.fsync(file.fileno())
    return Vault(read_private_file(key_file), entropy)
