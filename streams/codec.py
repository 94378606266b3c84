"""Messages to bytes and back: Avro's single-object encoding, read as strictly as money deserves.

Called wherever a message enters or leaves a process; the only module that touches fastavro.
Never accepts two spellings of one message, and never repeats a payload's content in an error."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast, get_args

import fastavro

from federation.errors import OwnFault
from federation.messages import Message, RefusalReason
from streams.schema_lock import Version, locked_versions
from streams.schemas import canonical_form, definitions_in, expanded, fingerprint_of, inlined
from streams.shapes import Shape, shape_of

MAGIC: Final = b"\xc3\x01"
HEADER_BYTES: Final = len(MAGIC) + 8
# Beyond this, an error does not say which field is wrong: looking for it would let one bad record cost several good ones.
_SEARCHED_BYTES_MAX: Final = 64 * 1024


class DecodeError(Exception):
    """These bytes are not one of the messages allowed here; `detail` is a sentence without any of their content."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class _Known:
    """One schema that may stand in a header, and the message its values become."""

    shape: Shape
    header: bytes
    written: Any  # As its writer knows it, parsed by fastavro.
    read: Any | None  # As we know it, parsed; None: the same.


def fingerprint(kind: type) -> str:
    """CRC-64-AVRO of the message type's schema: 16 hexadecimal digits, most significant first."""
    return _current()[kind].header[len(MAGIC) :][::-1].hex()


def encode(message: Message) -> bytes:
    """The message as a single object: 0xC3 0x01, the fingerprint little-endian, the Avro body.

    Source: Avro 1.12 specification, "Single-object encoding". OwnFault: a value that its field cannot hold.
    """
    known = _current()[type(message)]
    try:
        datum = known.shape.datum_of(message)
        problem = known.shape.problem_in(datum)
        if problem is None:
            return known.header + _written(known.written, datum)
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise OwnFault(f"a {known.shape.kind.__name__} holds a value of a wrong type ({type(error).__name__})") from None
    raise OwnFault(f"a {known.shape.kind.__name__} cannot be sent: {problem[1]}")


def kind_of(value: bytes) -> type | None:
    """The message type that a single object's header names, read no further; None for none that is known."""
    known = _by_header().get(value[:HEADER_BYTES])
    return None if known is None else known.shape.kind


def decode(value: bytes, allowed: tuple[type, ...], bytes_max: int) -> Message:
    """The message in `value`, a single object of at most `bytes_max` bytes that holds one of the types `allowed`.

    DecodeError for everything else: oversized, a schema not known or not allowed here, bytes missing or left over, a second
    spelling of the same message (an over-long number, several blocks, a repeated key), a number that is not finite.
    A message written under an earlier published version of its schema is read as today's.
    """
    if len(value) > bytes_max:
        raise DecodeError(RefusalReason.OVERSIZED, f"{len(value)} bytes, and at most {bytes_max} are allowed")
    known = _by_header().get(value[:HEADER_BYTES])
    if known is None or known.shape.kind not in allowed:
        raise _not_expected(value, known, allowed)
    return _decoded(known, value)


def decode_again(value: bytes, allowed: tuple[type, ...]) -> Message:
    """The message in bytes that `decode` accepted when they were written, and that a hash has guarded since: read, and not checked a second time.

    DecodeError: not one of the types `allowed`, or unreadable after all.
    """
    known = _by_header().get(value[:HEADER_BYTES])
    if known is None or known.shape.kind not in allowed:
        raise _not_expected(value, known, allowed)
    stream = io.BytesIO(value)
    stream.seek(HEADER_BYTES)
    try:
        return cast("Message", known.shape.message_of(_read(stream, known.written, known.read)))
    except _UnreadableError as error:
        raise DecodeError(RefusalReason.MALFORMED, _what_is_wrong(known, value)) from error


def _decoded(known: _Known, value: bytes) -> Message:
    stream = io.BytesIO(value)
    stream.seek(HEADER_BYTES)
    try:
        datum = _read(stream, known.written)
        again = _written_again(known.written, datum)
        canonical = len(value) == HEADER_BYTES + len(again) and value.endswith(again)  # The header is known; nothing is copied.
        if known.read is not None:
            stream.seek(HEADER_BYTES)
            datum = _read(stream, known.written, known.read)
    except _UnreadableError as error:
        raise DecodeError(RefusalReason.MALFORMED, _what_is_wrong(known, value)) from error
    problem = known.shape.problem_in(datum)
    if problem is not None:
        raise DecodeError(problem[0], f"{known.shape.kind.__name__}: {problem[1]}")
    if not canonical:
        raise DecodeError(RefusalReason.MALFORMED, _what_is_wrong(known, value))
    return cast("Message", known.shape.message_of(datum))


class _UnreadableError(Exception):
    """fastavro could not read the bytes, or not write again what it had read; says its exception's name."""


def _read(stream: io.BytesIO, written: Any, read: Any = None) -> Any:
    try:
        return fastavro.schemaless_reader(stream, written, read)
    except Exception as error:  # noqa: BLE001 Its failures have no common base: IndexError, EOFError, UnicodeDecodeError, ...
        raise _UnreadableError(type(error).__name__) from None  # Their texts quote the payload.


def _written_again(schema: Any, datum: Any) -> bytes | bytearray:
    try:
        return _written(schema, datum)
    except Exception as error:  # noqa: BLE001 As in _read(): it checks values inside unions that it does not check elsewhere.
        raise _UnreadableError(type(error).__name__) from None


class _Sink:
    """What fastavro writes into: it hands over its whole buffer in one piece, which is kept as it is."""

    __slots__ = ("written",)

    def __init__(self) -> None:
        self.written: bytes | bytearray = b""

    def write(self, data: bytes | bytearray) -> None:
        """Take what is written."""
        self.written = self.written + data if self.written else data


def _written(schema: Any, datum: Any) -> bytes | bytearray:
    sink = _Sink()
    fastavro.schemaless_writer(sink, schema, datum)  # type: ignore[arg-type]  # It wants no more of a stream than write().
    return sink.written


# --- the schemas a header may name ---------------------------------------------------------------------------------
def _parsed(schema: Any) -> Any:
    return fastavro.parse_schema(schema, named_schemas={})


def _header(canonical: str) -> bytes:
    return MAGIC + bytes.fromhex(fingerprint_of(canonical))[::-1]


@cache
def _current() -> dict[type, _Known]:
    found = {}
    for kind in get_args(Message):
        schema = expanded(kind.__name__)
        found[kind] = _Known(shape_of(kind.__name__), _header(canonical_form(schema)), _parsed(schema), None)
    return found


@cache
def _by_header() -> dict[bytes, _Known]:
    return _readable(locked_versions)


def _readable(published: Callable[[str], Iterable[Version]]) -> dict[bytes, _Known]:
    earlier = (_earlier(known, version.schema) for kind, known in _current().items() for version in published(kind.__name__))
    return {known.header: known for known in (*earlier, *_current().values())}


def _earlier(known: _Known, canonical: str) -> _Known:
    return _Known(known.shape, _header(canonical), _parsed(json.loads(canonical)), known.written)


# --- sentences for people ------------------------------------------------------------------------------------------
def _not_expected(value: bytes, known: _Known | None, allowed: tuple[type, ...]) -> DecodeError:
    if known is not None:
        names = " or ".join(sorted(kind.__name__ for kind in allowed))
        return DecodeError(RefusalReason.UNKNOWN_SCHEMA, f"a {known.shape.kind.__name__} where a {names} belongs")
    if len(value) < HEADER_BYTES:
        return DecodeError(RefusalReason.MALFORMED, f"{len(value)} bytes, too short for the header of {HEADER_BYTES}")
    if not value.startswith(MAGIC):
        return DecodeError(RefusalReason.MALFORMED, "byte 0: not the mark of a single object, C3 01")
    return DecodeError(RefusalReason.UNKNOWN_SCHEMA, f"no schema has the fingerprint {value[2:HEADER_BYTES][::-1].hex()}")


def _what_is_wrong(known: _Known, value: bytes) -> str:
    name = known.shape.kind.__name__
    if len(value) > _SEARCHED_BYTES_MAX:
        return f"{name}: not the canonical encoding"
    definitions = definitions_in(known.written)
    stream = io.BytesIO(value)
    stream.seek(HEADER_BYTES)
    for field in known.written["fields"]:
        start = stream.tell()
        schema = _parsed(inlined(field["type"], definitions))
        try:
            canonical = _written_again(schema, _read(stream, schema))
        except _UnreadableError as error:
            return f"{name}: {field['name']}, from byte {start}, cannot be read ({error})"
        if canonical != value[start : stream.tell()]:
            return f"{name}: {field['name']}, from byte {start}, is not in its one canonical spelling"
    return f"{name}: {len(value) - stream.tell()} bytes are left over from byte {stream.tell()}"
