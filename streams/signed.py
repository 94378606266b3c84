"""The envelope of every record on the federation's topics: who says it, the exact bytes, a signature.

Called by the workers, the audit and the portal; the keys stay with the callables they hand in.
Never lets one party speak in another's name, nor a record of one topic or federation pass for one of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from federation.errors import OwnFault, PeerFault
from federation.ids import body_digest_of, digest_of
from federation.limits import NAME_LENGTH_MAX
from federation.messages import ChunkSummed, MaskedChunk, Message, ModelChunk, RefusalReason, SignedRecord
from streams.codec import DecodeError, decode, encode
from streams.topology import Cluster, Topic

Sign = Callable[[bytes], bytes]
"""The bytes to sign -> the signature, 64 bytes."""
Verify = Callable[[str, bytes, bytes], int]
"""(sender, signed bytes, signature) -> serial of the certificate that the signature holds under.

Raises PeerFault "unknown_sender", "bad_signature" or "stale_certificate"."""

_DOMAIN: Final = b"riverbank-record-v1"
# The fields in which a message names its own author.
_AUTHOR_FIELDS: Final = ("institution", "actor")
# Their bodies are hundreds of kilobytes: they ride beside the payload, which names them by digest, and are hashed once for everything.
_BODIED: Final = (MaskedChunk, ChunkSummed, ModelChunk)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record's value, and the identity of what it says, as in Opened."""

    value: bytes = field(repr=False)
    digest: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A record whose signature holds.

    `digest` is the identity that other messages refer to: digest_of(payload), or of a message with a body, body_digest_of(body).
    """

    sender: str
    message: Message
    digest: bytes
    serial: int
    """Of the sender's certificate that the signature holds under."""


def signed_bytes(federation: str, topic: str, payload_digest: bytes) -> bytes:
    """What a signature is made over: the domain, federation and topic (2 bytes of big-endian length before each), digest_of(payload).

    The digest, because Ed25519 reads what it signs twice with SHA-512, and the digest is needed anyhow.
    """
    names = (name.encode() for name in (federation, topic))
    return b"".join((_DOMAIN, *(len(name).to_bytes(2, "big") + name for name in names), payload_digest))


def seal_record(message: Message, *, sender: str, sign: Sign, federation: str, topic: Topic) -> bytes:
    """The record's value: `message` in an envelope signed by `sender`, for this topic.

    OwnFault: a message this topic does not carry, one in another's name, or one too large for a record.
    """
    return seal(message, sender=sender, sign=sign, federation=federation, topic=topic).value


def seal(message: Message, *, sender: str, sign: Sign, federation: str, topic: Topic) -> Sealed:
    """As `seal_record`, with the payload's digest."""
    if type(message) not in topic.carries or not topic.signed:
        raise OwnFault(f"{topic.name} does not carry a signed {type(message).__name__}")
    if _author(message) not in {None, sender}:
        raise OwnFault(f"{sender} may not send a {type(message).__name__} in the name of {_author(message)}")
    said, body = _without_body(message)
    payload = encode(said)
    digest = digest_of(payload)
    signature = sign(signed_bytes(federation, _full_name(topic, sender), digest))
    value = encode(SignedRecord(sender=sender, payload=payload, signature=signature, body=body))
    if len(value) > topic.bytes_max:
        raise OwnFault(f"a {type(message).__name__} of {len(value)} bytes; {topic.name} takes {topic.bytes_max}")
    return Sealed(value, _identity(said, digest))


def open_record(value: bytes, *, topic: Topic, federation: str, verify: Verify) -> Opened:
    """The message in a record of `topic`, once its signature has been verified.

    DecodeError: not an envelope, or another body in it than was signed for, so nobody can be accused. PeerFault: what `verify` raises, "impersonation",
    or the reason why the signed payload cannot be read ("malformed", "unknown_schema", ...).
    """
    return open_envelope(unwrapped(value, topic), topic=topic, federation=federation, verify=verify)


def unwrapped(value: bytes, topic: Topic) -> SignedRecord:
    """The envelope of a record of `topic`, nothing in it believed yet; DecodeError if it is none."""
    envelope = decode(value, (SignedRecord,), topic.bytes_max)
    if not isinstance(envelope, SignedRecord) or not 1 <= len(envelope.sender) <= NAME_LENGTH_MAX:
        raise DecodeError(RefusalReason.INVALID, f"a sender's name has 1 to {NAME_LENGTH_MAX} characters")
    return envelope


def open_envelope(envelope: SignedRecord, *, topic: Topic, federation: str, verify: Verify) -> Opened:
    """The second half of `open_record`, after `unwrapped`."""
    sender, payload = envelope.sender, envelope.payload
    digest = digest_of(payload)
    serial = verify(sender, signed_bytes(federation, _full_name(topic, sender), digest), envelope.signature)
    try:
        said = decode(payload, topic.carries, topic.bytes_max)
    except DecodeError as error:
        raise PeerFault(error.reason.value, error.detail, accused=sender) from error
    if _author(said) not in {None, sender}:
        raise PeerFault("impersonation", f"a {type(said).__name__} in the name of {_author(said)}", accused=sender)
    return Opened(sender, _with_body(said, envelope.body), _identity(said, digest), serial)


def _full_name(topic: Topic, sender: str) -> str:
    """An own topic is its sender's own."""
    return topic.full_name(sender if topic.cluster is Cluster.OWN else None)


def _without_body(message: Message) -> tuple[Message, bytes]:
    """What is encoded and signed, and the body that rides beside it; in the body's place stands its digest."""
    if not isinstance(message, _BODIED):
        return message, b""
    return replace(message, body=body_digest_of(message.body)), message.body


def _with_body(said: Message, body: bytes) -> Message:
    """The message again. DecodeError for another body than was signed for: whoever carried the record may have changed it."""
    if not isinstance(said, _BODIED):
        if body:
            raise DecodeError(RefusalReason.INVALID, f"a {type(said).__name__} has no body")
        return said
    if body_digest_of(body) != said.body:
        raise DecodeError(RefusalReason.INVALID, f"the body of a {type(said).__name__} is not the one that was signed for")
    return replace(said, body=body)


def _identity(said: Message, payload_digest: bytes) -> bytes:
    return said.body if isinstance(said, _BODIED) else payload_digest


def _author(message: Message) -> str | None:
    return next((getattr(message, name) for name in _AUTHOR_FIELDS if hasattr(message, name)), None)
