"""Nobody speaks in another's name, and a record of one topic or federation passes for no other."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import pytest

from federation.errors import OwnFault, PeerFault
from federation.ids import body_digest_of, digest_of
from federation.messages import (
    AuditEntry,
    ChunkSummed,
    EpochClosed,
    EpochKeys,
    InstitutionStatus,
    MaskedChunk,
    ModelChunk,
    PartyCertified,
    RefusalReason,
    SignedRecord,
)
from streams.codec import DecodeError, decode, encode
from streams.signed import Opened, open_record, seal, seal_record, signed_bytes, unwrapped
from streams.topology import AUDIT, CHUNKS, MODELS, PARTIES, ROUNDS, STATUS, SUMS, Topic
from tests.streams.examples import example

KEYS = {"bank-a": b"A", "bank-b": b"B"}
STATUS_OF_A = replace(example(InstitutionStatus), institution="bank-a")


def sign_as(party: str):
    """Keyed hashes stand in for Ed25519: the real ones live in federation.secagg, which streams may not see."""
    return lambda signed: hashlib.blake2b(signed, key=KEYS[party]).digest()


def verify(sender: str, signed: bytes, signature: bytes) -> int:
    if sender not in KEYS:
        raise PeerFault("unknown_sender", "not certified", accused=sender)
    if signature != sign_as(sender)(signed):
        raise PeerFault("bad_signature", "does not verify", accused=sender)
    return 1


def sealed(message=STATUS_OF_A, sender: str = "bank-a", topic: Topic = STATUS, federation: str = "north") -> bytes:
    return seal_record(message, sender=sender, sign=sign_as(sender), federation=federation, topic=topic)


def opened(value: bytes, topic: Topic = STATUS, federation: str = "north") -> Opened:
    return open_record(value, topic=topic, federation=federation, verify=verify)


def accused(value: bytes, **elsewhere) -> tuple[str, str]:
    with pytest.raises(PeerFault) as caught:
        opened(value, **elsewhere)
    return caught.value.kind, caught.value.accused


def forged(payload: bytes, sender: str = "bank-a", topic: Topic = STATUS, body: bytes = b"") -> bytes:
    """An envelope around any payload, with a true signature."""
    signature = sign_as(sender)(signed_bytes("north", topic.full_name(), digest_of(payload)))
    return encode(SignedRecord(sender=sender, payload=payload, signature=signature, body=body))


def test_what_is_sealed_opens():
    """The sender, the message and the digest of its payload."""
    digest = digest_of(encode(STATUS_OF_A))

    assert opened(sealed()) == Opened("bank-a", STATUS_OF_A, digest, 1)
    assert seal(STATUS_OF_A, sender="bank-a", sign=sign_as("bank-a"), federation="north", topic=STATUS).digest == digest


@pytest.mark.parametrize(("kind", "topic"), [(MaskedChunk, CHUNKS), (ChunkSummed, SUMS), (ModelChunk, MODELS)])
def test_a_body_rides_beside_the_payload(kind: type, topic: Topic):
    """In the payload stands its digest, which is the record's identity too; what is opened has the body again."""
    message = replace(example(kind), body=b"body " * 100)
    message = replace(message, institution="bank-a") if kind is MaskedChunk else message
    digest = body_digest_of(message.body)
    record = seal(message, sender="bank-a", sign=sign_as("bank-a"), federation="north", topic=topic)
    envelope = unwrapped(record.value, topic)

    assert opened(record.value, topic) == Opened("bank-a", message, digest, 1)
    assert (record.digest, envelope.body, envelope.payload) == (digest, message.body, encode(replace(message, body=digest)))
    assert envelope.signature == sign_as("bank-a")(signed_bytes("north", topic.full_name(), digest_of(envelope.payload)))


def test_another_body_than_was_signed_for_is_refused():
    """Nobody is accused of it: whoever carried the record may have changed it. No other message has a body at all."""
    message = replace(example(ModelChunk), body=body_digest_of(b"body"))
    for value, topic, says in (
        (forged(encode(message), topic=MODELS, body=b"another"), MODELS, "not the one that was signed for"),
        (forged(encode(message), topic=MODELS), MODELS, "not the one that was signed for"),
        (forged(encode(STATUS_OF_A), body=b"body"), STATUS, "has no body"),
    ):
        with pytest.raises(DecodeError, match=says):
            opened(value, topic)

    assert opened(forged(encode(message), topic=MODELS, body=b"body"), MODELS).message == replace(message, body=b"body")


def test_a_record_carried_elsewhere_does_not_verify():
    """Another federation, another topic."""
    elsewhere = replace(STATUS, name="status.v2")

    assert accused(sealed(), federation="south") == ("bad_signature", "bank-a")
    assert accused(sealed(), topic=elsewhere) == ("bad_signature", "bank-a")


def test_names_and_payload_cannot_run_into_each_other():
    """Every split of the same letters is signed as other bytes."""
    splits = [("ab", "c", b"d"), ("a", "bc", b"d"), ("abc", "", b"d"), ("", "abc", b"d"), ("ab", "", b"cd"), ("ab", "cd", b"")]

    for one, other in itertools.combinations(splits, 2):
        assert signed_bytes(*one) != signed_bytes(*other)
    assert signed_bytes("ab", "c", b"d") == b"riverbank-record-v1" + b"\0\2ab" + b"\0\1c" + b"d"


def test_a_changed_byte_anywhere_is_refused():
    """Of the sender, the payload, or the signature: a fault of somebody's, or not an envelope."""
    value = sealed()

    for position in range(len(value)):
        spoiled = value[:position] + bytes([value[position] ^ 1]) + value[position + 1 :]
        with pytest.raises((PeerFault, DecodeError)):
            opened(spoiled)


def test_a_stranger_is_refused():
    """His signature may be as good as he likes."""
    value = encode(SignedRecord(sender="bank-z", payload=encode(STATUS_OF_A), signature=bytes(64), body=b""))

    assert accused(value) == ("unknown_sender", "bank-z")


@pytest.mark.parametrize("sender", ["", "a" * 65])
def test_a_name_of_no_length_or_too_much(sender: str):
    """Refused before anybody looks it up."""
    with pytest.raises(DecodeError) as caught:
        opened(encode(SignedRecord(sender=sender, payload=b"", signature=bytes(64), body=b"")))

    assert caught.value.reason is RefusalReason.INVALID


def test_nobody_speaks_in_anothers_name():
    """Neither in the field `institution` nor as the actor of an audit entry."""
    keys = replace(example(EpochKeys), institution="bank-b")
    entry = replace(example(AuditEntry), actor="bank-b")

    assert accused(forged(encode(keys), topic=ROUNDS), topic=ROUNDS) == ("impersonation", "bank-a")
    assert accused(forged(encode(entry), topic=AUDIT), topic=AUDIT) == ("impersonation", "bank-a")
    assert opened(sealed(replace(keys, institution="bank-a"), topic=ROUNDS), topic=ROUNDS).sender == "bank-a"
    assert opened(sealed(example(EpochClosed), topic=ROUNDS), topic=ROUNDS).sender == "bank-a"


def test_whoever_signs_rubbish_is_named():
    """A payload that cannot be read, or that does not belong on the topic."""
    assert accused(forged(b"rubbish")) == ("malformed", "bank-a")
    assert accused(forged(encode(STATUS_OF_A)[:-1])) == ("malformed", "bank-a")
    assert accused(forged(encode(example(EpochClosed)))) == ("unknown_schema", "bank-a")


def test_an_envelope_inside_an_envelope_is_refused():
    """No topic carries one as its payload."""
    assert accused(forged(sealed())) == ("unknown_schema", "bank-a")


def test_what_is_not_an_envelope_accuses_nobody():
    """A bare message, or a record beyond the topic's limit."""
    with pytest.raises(DecodeError, match="a InstitutionStatus where a SignedRecord belongs"):
        opened(encode(STATUS_OF_A))
    with pytest.raises(DecodeError, match="oversized"):
        opened(sealed(), topic=replace(STATUS, bytes_max=100))


def test_we_do_not_send_what_others_would_refuse():
    """A message on the wrong topic, in another's name, too large, or where nothing is signed."""
    with pytest.raises(OwnFault, match=r"rounds\.v1 does not carry a signed InstitutionStatus"):
        sealed(topic=ROUNDS)
    with pytest.raises(OwnFault, match="bank-b may not send a InstitutionStatus in the name of bank-a"):
        sealed(sender="bank-b")
    with pytest.raises(OwnFault, match=r"status\.v1 takes 100"):
        sealed(topic=replace(STATUS, bytes_max=100))
    with pytest.raises(OwnFault, match="does not carry a signed PartyCertified"):
        sealed(example(PartyCertified), topic=PARTIES)


def test_the_envelope_is_the_schemas():
    """Another implementation finds sender, payload and signature where the schema says."""
    envelope = decode(sealed(), (SignedRecord,), STATUS.bytes_max)

    assert isinstance(envelope, SignedRecord)
    assert envelope.payload == encode(STATUS_OF_A)
    assert envelope.signature == sign_as("bank-a")(signed_bytes("north", "status.v1", digest_of(envelope.payload)))
