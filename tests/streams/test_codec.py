"""Messages survive the trip; everything that is not the one canonical spelling of an allowed message is refused."""

from __future__ import annotations

import io
import json
import struct
import time
import traceback
from dataclasses import fields, replace
from pathlib import Path

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import OwnFault
from federation.messages import (
    CardTransaction,
    CreditApplication,
    CustomerProfile,
    EpochAnnounced,
    EpochReady,
    EpochSaved,
    HeadName,
    OutcomeObserved,
    PartyCertified,
    ProductInteraction,
    RefusalReason,
    RoundParameters,
    SignedRecord,
    SumRequested,
)
from streams.codec import HEADER_BYTES, MAGIC, DecodeError, _current, _decoded, _earlier, _readable, decode, encode, fingerprint
from streams.schema_lock import Version, locked_versions
from streams.schemas import canonical_form, expanded, fingerprint_of
from tests.streams.examples import KINDS, example, some

GOLDEN = Path(__file__).with_name("golden")
SIZE = 1 << 20
quick = settings(derandomize=True, deadline=None, max_examples=200, database=None)

TRANSACTION = CardTransaction(event_id="e-1", customer="c-1", occurred_at_ms=1_700_000_000_000, consented=True, terminal="t-1", amount=12.5)


def refused(value: bytes, *allowed: type) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(value, allowed or KINDS, SIZE)
    return caught.value


def header(kind: type) -> bytes:
    return encode(example(kind))[:HEADER_BYTES]


# --- the trip ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_survives_the_trip(kind: type):
    """Every type: decode undoes encode, and equal messages have equal bytes."""

    @settings(quick, max_examples=25)
    @given(some(kind))
    def trip(message):
        value = encode(message)

        assert decode(value, (kind,), SIZE) == message
        assert encode(decode(value, (kind,), SIZE)) == value

    trip()


@pytest.mark.parametrize("kind", KINDS)
def test_golden_bytes(kind: type):
    """Today's bytes of the example are those on file; another machine or release writes the same."""
    golden = bytes.fromhex((GOLDEN / f"{kind.__name__}.{fingerprint(kind)}.hex").read_text())

    assert encode(example(kind)) == golden
    assert decode(golden, (kind,), SIZE) == example(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_published_version_stays_readable(kind: type):
    """Each version in the lock has a golden file, and it still decodes."""
    for version in locked_versions(kind.__name__):
        golden = bytes.fromhex((GOLDEN / f"{kind.__name__}.{version.fingerprint}.hex").read_text())

        assert isinstance(decode(golden, (kind,), SIZE), kind)


def test_every_golden_file_is_of_a_published_version():
    """No leftovers."""
    published = {f"{kind.__name__}.{version.fingerprint}.hex" for kind in KINDS for version in locked_versions(kind.__name__)}

    assert {path.name for path in GOLDEN.iterdir()} == published


@pytest.mark.parametrize("kind", KINDS)
def test_another_implementation_reads_what_we_write(kind: type):
    """A bare fastavro, from the schema file, gives the fields; the header is the specification's."""
    value = encode(example(kind))
    schema = fastavro.parse_schema(expanded(kind.__name__), named_schemas={})
    spelled = fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(schema), "CRC-64-AVRO")

    assert value[:2] == b"\xc3\x01" == MAGIC
    assert value[2:HEADER_BYTES].hex() == spelled  # fastavro prints the little-endian bytes.
    assert value[2:HEADER_BYTES][::-1].hex() == fingerprint(kind)


# --- what is refused, and what the sentence says -------------------------------------------------------------------
def test_too_large_is_refused_before_it_is_read():
    """The cap is on the whole value."""
    value = encode(TRANSACTION)

    with pytest.raises(DecodeError) as caught:
        decode(value, (CardTransaction,), len(value) - 1)
    assert caught.value.reason is RefusalReason.OVERSIZED
    assert decode(value, (CardTransaction,), len(value)) == TRANSACTION


def test_a_schema_nobody_knows_is_named_by_its_fingerprint():
    """Also a known one where it does not belong, by its name."""
    unknown = refused(MAGIC + bytes.fromhex("0102030405060708") + b"x")
    misplaced = refused(encode(TRANSACTION), OutcomeObserved, ProductInteraction)

    assert (unknown.reason, unknown.detail) == (RefusalReason.UNKNOWN_SCHEMA, "no schema has the fingerprint 0807060504030201")
    assert misplaced.reason is RefusalReason.UNKNOWN_SCHEMA
    assert misplaced.detail == "a CardTransaction where a OutcomeObserved or ProductInteraction belongs"


@pytest.mark.parametrize("value", [b"", b"\xc3", MAGIC + bytes(7), b"{}" + bytes(20)])
def test_what_is_not_a_single_object(value: bytes):
    """Too short for a header, or without its mark."""
    assert refused(value).reason is RefusalReason.MALFORMED


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite(number: float):
    """In a field, in a map and in a nested record; the field is named, the map's key is not."""
    transaction = encode(TRANSACTION)[:-8] + struct.pack("<d", number)
    application = encode(replace(example(CreditApplication), numbers={"income": 1.0, "debts": 2.0}))
    one, two = struct.pack("<d", 1.0), struct.pack("<d", 2.0)
    nested = encode(example(EpochAnnounced))
    sigma = struct.pack("<d", example(RoundParameters).noise_sigma)

    in_field, in_map = refused(transaction), refused(application.replace(two, struct.pack("<d", number)))
    in_record = refused(nested.replace(sigma, struct.pack("<d", number)))

    assert one in application
    assert {in_field.reason, in_map.reason, in_record.reason} == {RefusalReason.NON_FINITE}
    assert in_field.detail == "CardTransaction: amount is not a finite number"
    assert in_map.detail == "CreditApplication: numbers[entry 1] is not a finite number"
    assert in_record.detail == "EpochAnnounced: parameters.noise_sigma is not a finite number"


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (lambda v: v + b"\x00", "1 bytes are left over from byte {end}"),
        (lambda v: v[:-1], "amount, from byte {amount}, cannot be read (EOFError)"),
        (lambda v: v[:10], "event_id, from byte 10, cannot be read (EOFError)"),
        (lambda v: v[:10] + b"\x06\xff\xfe\xfd" + v[14:], "event_id, from byte 10, cannot be read (UnicodeDecodeError)"),
        # A length of three in two bytes instead of one.
        (lambda v: v[:10] + b"\x86\x00" + v[11:], "event_id, from byte 10, is not in its one canonical spelling"),
        (lambda v: v[: -8 - 4 - 1] + b"\x02" + v[-8 - 4 :], None),
        (lambda v: v[:-13] + b"\x05" + v[-12:], "consented, from byte {consented}, is not in its one canonical spelling"),
        (lambda v: v[:10] + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + v[11:], None),
        (lambda v: v[:10] + b"\x01" + v[11:], "event_id, from byte 10, cannot be read (EOFError)"),
    ],
)
def test_the_sentence_names_the_field_and_the_byte(spoil, detail: str | None):
    """Left over, cut off, not UTF-8, spelled too long, a truth value that is neither, lengths that are negative or absurd."""
    value = encode(TRANSACTION)
    places = {"end": len(value), "amount": len(value) - 8, "consented": len(value) - 13}

    error = refused(spoil(value))

    assert error.reason is RefusalReason.MALFORMED
    if detail is not None:
        assert error.detail == "CardTransaction: " + detail.format(**places)


def test_no_sentence_repeats_content():
    """Neither a key, nor a value, nor bytes."""
    value = encode(replace(TRANSACTION, customer="ivanhoe", terminal="rebecca"))
    spoiled = [value[:cut] for cut in range(len(value))] + [value + b"x", value[:-8] + struct.pack("<d", float("nan"))]

    for each in spoiled:
        detail = refused(each).detail
        assert "ivanhoe" not in detail
        assert "rebecca" not in detail
        assert "rebecca" not in "".join(traceback.format_exception(refused(each)))


def test_an_int_that_does_not_fit_32_bits():
    """Avro writes ints as it writes longs; fastavro would let it through."""
    fits = encode(replace(example(SumRequested), group=(1 << 31) - 1))
    large = encode(replace(example(SumRequested), group=-(1 << 31)))
    # One more than the largest, spelled canonically: zigzag of 2^31 is 2^32.
    beyond = fits.replace(b"\xfe\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x10")

    assert decode(large, (SumRequested,), SIZE).group == -(1 << 31)  # type: ignore[union-attr]
    assert refused(beyond).detail == "SumRequested: group is not a whole number of 32 bits"


def test_an_int_that_does_not_fit_inside_an_optional_record():
    """It is read, and then fastavro will not write it again: still only a decode error."""
    saved = replace(example(EpochSaved), ready=replace(example(EpochReady), group=(1 << 31) - 1))
    value = encode(saved).replace(b"\xfe\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x10")

    assert refused(value).detail.startswith("EpochSaved: ready, from byte")
    assert example(EpochReady).members[0].institution not in "".join(traceback.format_exception(refused(value)))


def test_a_map_with_a_repeated_key():
    """The second would silently win."""
    value = encode(replace(example(CreditApplication), numbers={"aa": 1.0, "ab": 2.0}))

    assert refused(value.replace(b"\x04ab", b"\x04aa")).detail.endswith("numbers, from byte 40, is not in its one canonical spelling")


def test_an_array_in_two_blocks_or_with_its_size():
    """Other writers may, the canonical form has one block without a size."""
    profile = replace(example(CustomerProfile), held=("a", "b"))
    value = encode(profile)
    one_block = b"\x04\x02a\x02b\x00"
    assert one_block in value

    for other in (b"\x02\x02a\x02\x02b\x00", b"\x03\x08\x02a\x02b\x00"):
        assert refused(value.replace(one_block, other)).detail.startswith("CustomerProfile: held, from byte")


@pytest.mark.parametrize("index", [b"\x01", b"\x7f", b"\x04", b"\x7e"])
def test_union_branches_and_enum_symbols_that_do_not_exist(index: bytes):
    """Negative ones too: Python would count from the end."""
    interaction = replace(example(ProductInteraction), segment=None)
    value = encode(interaction)
    outcome = encode(replace(example(OutcomeObserved), head=HeadName.CREDIT, event_id="e"))

    assert refused(value[:-1] + index).reason is RefusalReason.MALFORMED
    if index != b"\x04":  # The third head exists.
        assert refused(outcome[:12] + index + outcome[13:]).reason is RefusalReason.MALFORMED


def test_a_small_record_cannot_claim_a_large_array():
    """A count of 2^60 ends at the last byte, at once."""
    value = encode(replace(example(CustomerProfile), held=("a", "b")))
    claim = value.replace(b"\x04\x02a\x02b\x00", b"\x80\x80\x80\x80\x80\x80\x80\x80\x20\x02a\x02b\x00")
    started = time.monotonic()

    assert refused(claim).reason is RefusalReason.MALFORMED
    assert time.monotonic() - started < 0.05


# --- hostile bytes -------------------------------------------------------------------------------------------------
@quick
@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_message_or_a_decode_error(value: bytes):
    """Nothing else ever comes out."""
    with pytest.raises(DecodeError):
        decode(value, KINDS, SIZE)


@settings(quick, max_examples=1500)
@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_any_body_under_a_true_header(kind: type, body: bytes):
    """A decode error, or a message of which these are the only bytes."""
    check_only_spelling(header(kind) + body)


@settings(quick, max_examples=1500)
@given(st.data(), st.sampled_from(KINDS))
def test_spoiled_messages(data, kind: type):
    """Cut, grown or changed at random: a decode error, or a message of which these are the only bytes."""
    value = bytearray(encode(data.draw(some(kind))))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(HEADER_BYTES, len(value)))
        end = data.draw(st.integers(start, min(len(value), start + 4)))
        # Bytes with their high bit set make the numbers around them longer.
        value[start:end] = data.draw(st.binary(max_size=4) | st.sampled_from([b"\x80" * 4, b"\xff" * 5]))
    check_only_spelling(bytes(value))


def check_only_spelling(value: bytes) -> None:
    try:
        message = decode(value, KINDS, SIZE)
    except DecodeError as error:
        message, reason = None, error.reason
    if message is None:
        assert reason in {RefusalReason.MALFORMED, RefusalReason.NON_FINITE}
    else:
        assert encode(message) == value


# --- what we write ourselves ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": float("nan")},
        {"amount": "12.5"},
        {"occurred_at_ms": 1.5},
        {"occurred_at_ms": True},
        {"occurred_at_ms": 1 << 63},
        {"consented": 1},
        {"event_id": b"e"},
        {"event_id": None},
    ],
)
def test_we_do_not_write_what_we_would_refuse(wrong):
    """A value its field cannot hold is our own fault, said before anything is sent."""
    with pytest.raises(OwnFault, match="CardTransaction"):
        encode(replace(TRANSACTION, **wrong))


def test_fixed_fields_have_their_size():
    """63 bytes are no signature."""
    with pytest.raises(OwnFault, match="SignedRecord"):
        encode(SignedRecord(sender="a", payload=b"", signature=bytes(63), body=b""))


# --- earlier versions ----------------------------------------------------------------------------------------------
def earlier_transaction(change) -> tuple[object, dict[str, object]]:
    """A transaction as an earlier schema had it: (what the codec knows of it, its parsed schema)."""
    schema = json.loads(canonical_form(expanded("CardTransaction")))
    change(schema["fields"])
    known = _earlier(_current()[CardTransaction], json.dumps(schema, separators=(",", ":")))
    return known, known.written  # type: ignore[return-value]


def written_under(known, datum) -> bytes:
    stream = io.BytesIO()
    stream.write(known.header)
    fastavro.schemaless_writer(stream, known.written, datum)
    return stream.getvalue()


def test_a_field_that_was_removed_is_dropped():
    """The rest is read as today's."""
    known, _ = earlier_transaction(lambda f: f.append({"name": "channel", "type": "string"}))
    datum = {f.name: getattr(TRANSACTION, f.name) for f in fields(TRANSACTION)} | {"channel": "till"}

    assert _decoded(known, written_under(known, datum)) == TRANSACTION


def test_a_number_that_grew_is_promoted_and_still_checked():
    """A float becomes a double; not a number stays refused, and so do left-over bytes."""
    known, _ = earlier_transaction(lambda f: f[-1].update(type="float"))
    datum = {f.name: getattr(TRANSACTION, f.name) for f in fields(TRANSACTION)}

    assert _decoded(known, written_under(known, datum)) == TRANSACTION
    for spoiled in (written_under(known, datum | {"amount": float("nan")}), written_under(known, datum) + b"\x00"):
        with pytest.raises(DecodeError):
            _decoded(known, spoiled)


@pytest.mark.parametrize("kind", [SignedRecord, PartyCertified])
def test_what_is_read_from_strangers_has_no_containers(kind: type):
    """Both are read before a signature is checked: a megabyte of them takes no longer than a megabyte of copying."""
    shapes = [field["type"] for field in expanded(kind.__name__)["fields"]]

    assert {shape["type"] for shape in shapes if isinstance(shape, dict)} <= {"fixed", "enum"}
    assert not any(isinstance(shape, list) for shape in shapes)


def test_published_versions_are_known_by_their_headers():
    """And today's schema is read as itself, though it is published too."""
    known, written = earlier_transaction(lambda f: f.append({"name": "channel", "type": "string"}))
    schema = canonical_form({**written, "type": "record"})
    today = canonical_form(expanded("CardTransaction"))
    versions = {"CardTransaction": [Version(fingerprint_of(form), "0.0.1", form) for form in (schema, today)]}

    readable = _readable(lambda name: versions.get(name, ()))

    assert len(readable) == len(KINDS) + 1
    assert readable[known.header].shape.kind is CardTransaction  # type: ignore[attr-defined]
    assert readable[header(CardTransaction)].read is None
