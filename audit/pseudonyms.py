"""Names under which customers stand in audits: nobody but the holder of the institution's key can tell whose they are.

Called by whoever records an action about a customer.
Never reversible, and never equal at two institutions: each has a key of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from federation.errors import OwnFault
from streams.settings import read_private_file

KEY_BYTES: Final = 32
_DOMAIN: Final = b"riverbank-audit"  # Blake2b's "person": at most 16 bytes.
_FORM: Final = re.compile(r"[0-9a-f]{32,64}")


def key_in(path: Path, entropy: Callable[[int], bytes]) -> bytes:
    """The key in a file that only its owner can read, made if there is none; OwnFault if it holds something else. Whoever loses it can match no entry to a customer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as made:
            made.write(entropy(KEY_BYTES))
    key = read_private_file(path)
    if len(key) != KEY_BYTES:
        raise OwnFault(f"{path}: a key for pseudonyms has {KEY_BYTES} bytes, not {len(key)}")
    return key


def pseudonym(key: bytes, customer: str) -> str:
    """Keyed BLAKE2b-256 (RFC 7693) of the customer's name, 64 hexadecimal digits. OwnFault unless the key has 32 bytes."""
    if len(key) != KEY_BYTES:
        raise OwnFault(f"a key for pseudonyms has {KEY_BYTES} bytes, not {len(key)}")
    return hashlib.blake2b(customer.encode(), digest_size=32, key=key, person=_DOMAIN).hexdigest()


def is_pseudonym(subject: str) -> bool:
    """Whether this has the form of one: 32 to 64 lower-case hexadecimal digits."""
    return _FORM.fullmatch(subject) is not None
