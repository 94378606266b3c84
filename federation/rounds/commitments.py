"""Commitments to dealt shares and secrets: they turn "the sum does not open" into the name of who lied.

Called by the participant (commit when dealing, check when receiving) and the coordinator (check what is revealed).
Never opens anything: a commitment to 255 uniform bits says nothing about them (BLAKE2b taken as a random oracle)."""

from __future__ import annotations

import hashlib
from typing import Final

from federation.ids import RoundId
from federation.secagg.agreement import round_context
from federation.secagg.keys import Secret, derive, framed, number

# A revealer who lies needs a second preimage (2^128); a dealer's collision (2^64) binds nobody but himself.
TAG_BYTES: Final = 16
_TAG_DOMAIN: Final = b"riverbank/share-tag/1"


def share_tag(share: bytes, *, federation: str, round_id: RoundId, dealer: str, position: int, purpose: bytes) -> bytes:
    """16 bytes: the commitment to `dealer`'s share at `position` (from 1, roster order) for one round and purpose.

    Members times threshold of them are made in a round: hence the share is the key of one BLAKE2b (RFC 7693), and nothing around it.
    """
    said = framed(_TAG_DOMAIN, round_context(federation, round_id), dealer.encode(), number(position), purpose)
    return hashlib.blake2b(said, key=share, digest_size=TAG_BYTES).digest()


def secret_commitment(secret: Secret, *, federation: str, round_id: RoundId, dealer: str) -> bytes:
    """32 bytes: the commitment to the secret behind a self mask."""
    context = framed(round_context(federation, round_id), dealer.encode())
    return derive(secret, purpose=b"self-secret-commitment", context=context).reveal()
