"""Time-based one-time codes (RFC 6238: SHA-1, six digits, 30 seconds), as every authenticator app makes them.

Called by `web.identity.factors`.
Never says yes by itself: it names the step that a code belongs to, and the database decides whether that step is still unused."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import quote, urlencode

STEP_MS: Final = 30_000
DIGITS: Final = 6
SECRET_BYTES: Final = 20
_STEPS_OFF: Final = 1  # RFC 6238, 5.2: one step for clocks that differ and for slow fingers.


def code_at(secret: bytes, step: int) -> str:
    """The code of one step.

    >>> code_at(b"12345678901234567890", 1)  # RFC 4226, appendix D.
    '287082'
    """
    digest = hmac.new(secret, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(secret: bytes, code: str, now_ms: int) -> int | None:
    """The step, near now, whose code this is; None if there is none. Every step is compared, whichever fits."""
    now = now_ms // STEP_MS
    found = None
    for step in range(now - _STEPS_OFF, now + _STEPS_OFF + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()):
            found = step
    return found


def base32(secret: bytes) -> str:
    """As typed into an app by hand."""
    return base64.b32encode(secret).decode()


def app_link(secret: bytes, *, account: str, issuer: str) -> str:
    """The otpauth link that a QR code carries."""
    query = urlencode({"secret": base32(secret), "issuer": issuer, "digits": DIGITS, "period": STEP_MS // 1000})
    return f"otpauth://totp/{quote(issuer)}:{quote(account)}?{query}"
