"""The envelope of every record on the federation's topics: who says it, the exact bytes, a signature.

Called by the workers, the audit and the portal; the keys stay with the callables they hand in.
Never lets one party speak in another's name, nor a record of one topic or federation pass for one of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from federation.errors import OwnFault, PeerFault
from federation.ids import digest_of
from federation.limits import NAME_LENGTH_MAX
from federation.messages import Message, RefusalReason, SignedRecord
from streams.codec import DecodeError, decode, encode
from streams.topology import Topic

Sign = Callable[[bytes], bytes]
"""The bytes to sign -> the signature, 64 bytes."""
Verify = Callable[[str, bytes, bytes], None]
"""(sender, signed bytes, signature); raises PeerFault "unknown_sender" or "bad_signature"."""

_DOMAIN: Final = b"riverbank-record-v1"
# The fields in which a message names its own author.
_AUTHOR_FIELDS: Final = ("institution", "actor")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record's value, and the identity of the payload inside: digest_of(payload)."""

    value: bytes = field(repr=False)
    digest: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A record whose signature holds. `digest` is the identity other messages refer to: digest_of(payload)."""

    sender: str
    message: Message
    payload: bytes = field(repr=False)
    digest: bytes


def signed_bytes(federation: str, topic: str, payload: bytes) -> bytes:
    """What a signature is made over: the domain, federation and topic (2 bytes of big-endian length before each), the payload."""
    names = (name.encode() for name in (federation, topic))
    return b"".join((_DOMAIN, *(len(name).to_bytes(2, "big") + name for name in names), payload))


def seal_record(message: Message, *, sender: str, sign: Sign, federation: str, topic: Topic) -> bytes:
    """The record's value: `message` in an envelope signed by `sender`, for this federation topic.

    OwnFault: a message this topic does not carry, one in another's name, or one too large for a record.
    """
    return seal(message, sender=sender, sign=sign, federation=federation, topic=topic).value


def seal(message: Message, *, sender: str, sign: Sign, federation: str, topic: Topic) -> Sealed:
    """As `seal_record`, with the payload's digest."""
    if type(message) not in topic.carries or not topic.signed:
        raise OwnFault(f"{topic.name} does not carry a signed {type(message).__name__}")
    if _author(message) not in {None, sender}:
        raise OwnFault(f"{sender} may not send a {type(message).__name__} in the name of {_author(message)}")
    payload = encode(message)
    signature = sign(signed_bytes(federation, topic.full_name(), payload))
    value = encode(SignedRecord(sender=sender, payload=payload, signature=signature))
    if len(value) > topic.bytes_max:
        raise OwnFault(f"a {type(message).__name__} of {len(value)} bytes; {topic.name} takes {topic.bytes_max}")
    return Sealed(value, digest_of(payload))


def open_record(value: bytes, *, topic: Topic, federation: str, verify: Verify) -> Opened:
    """The message in a record of `topic`, once its signature has been verified.

    DecodeError: not an envelope, so nobody can be accused. PeerFault: "unknown_sender" and "bad_signature" (from `verify`),
    "impersonation", or the reason why the signed payload cannot be read ("malformed", "unknown_schema", ...).
    """
    envelope = decode(value, (SignedRecord,), topic.bytes_max)
    if not isinstance(envelope, SignedRecord) or not 1 <= len(envelope.sender) <= NAME_LENGTH_MAX:
        raise DecodeError(RefusalReason.INVALID, f"a sender's name has 1 to {NAME_LENGTH_MAX} characters")
    sender, payload = envelope.sender, envelope.payload
    verify(sender, signed_bytes(federation, topic.full_name(), payload), envelope.signature)
    try:
        message = decode(payload, topic.carries, topic.bytes_max)
    except DecodeError as error:
        raise PeerFault(error.reason.value, error.detail, accused=sender) from error
    if _author(message) not in {None, sender}:
        raise PeerFault("impersonation", f"a {type(message).__name__} in the name of {_author(message)}", accused=sender)
    return Opened(sender, message, payload, digest_of(payload))


def _author(message: Message) -> str | None:
    return next((getattr(message, name) for name in _AUTHOR_FIELDS if hasattr(message, name)), None)
