"""Names under which customers stand in audits: nobody but the holder of the institution's key can tell whose they are.

Called by whoever records an action about a customer.
Never reversible, and never equal at two institutions: each has a key of its own."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from federation.errors import OwnFault

KEY_BYTES: Final = 32
_DOMAIN: Final = b"riverbank-audit"  # Blake2b's "person": at most 16 bytes.
_FORM: Final = re.compile(r"[0-9a-f]{32,64}")


def pseudonym(key: bytes, customer: str) -> str:
    """Keyed BLAKE2b-256 (RFC 7693) of the customer's name, 64 hexadecimal digits. OwnFault unless the key has 32 bytes."""
    if len(key) != KEY_BYTES:
        raise OwnFault(f"a key for pseudonyms has {KEY_BYTES} bytes, not {len(key)}")
    return hashlib.blake2b(customer.encode(), digest_size=32, key=key, person=_DOMAIN).hexdigest()


def is_pseudonym(subject: str) -> bool:
    """Whether this has the form of one: 32 to 64 lower-case hexadecimal digits."""
    return _FORM.fullmatch(subject) is not None
