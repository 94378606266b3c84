"""The bytes of the audit's ledger: one frame per entry, chained by hash, and the search for the first one that is wrong.

Called by audit.ledger, which keeps them on disk, and by whoever verifies a ledger.
Never repairs: what is wrong is named by its sequence number, and why."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from audit.merkle import HASH_BYTES, leaf_hash
from federation.errors import OwnFault
from federation.limits import RECORD_BYTES_MAX

# length of the entry (4 bytes, big-endian), leaf hash, entry. An entry begins with its sequence number (8) and its predecessor's leaf hash.
_LENGTH: Final = struct.Struct(">I")
_LINK: Final = struct.Struct(f">Q{HASH_BYTES}s")
HEAD_BYTES: Final = _LENGTH.size + HASH_BYTES
ENTRY_BYTES_MAX: Final = RECORD_BYTES_MAX + 4096
GENESIS: Final = bytes(HASH_BYTES)
"""The predecessor's hash in the first entry."""


class TamperedError(Exception):
    """The ledger is not what was written: `sequence` is the first entry that is wrong, `reason` says how."""

    def __init__(self, sequence: int, reason: str) -> None:
        super().__init__(f"entry {sequence}: {reason}")
        self.sequence = sequence
        self.reason = reason


class TornError(TamperedError):
    """The bytes end in the middle of an entry, as after a crash while it was written."""


@dataclass(frozen=True, slots=True)
class Link:
    """An entry's place in the chain."""

    sequence: int
    previous: bytes
    content: bytes = field(repr=False)


def chained(sequence: int, previous: bytes, content: bytes) -> tuple[bytes, bytes]:
    """(frame, leaf hash) of the entry that follows `previous`. OwnFault if the content is too large."""
    entry = link_bytes(sequence, previous, content)
    if len(entry) > ENTRY_BYTES_MAX:
        raise OwnFault(f"an audit entry of {len(entry)} bytes; {ENTRY_BYTES_MAX} are allowed")
    leaf = leaf_hash(entry)
    return _LENGTH.pack(len(entry)) + leaf + entry, leaf


def link_bytes(sequence: int, previous: bytes, content: bytes) -> bytes:
    """An entry's bytes: what its leaf hash is of."""
    return _LINK.pack(sequence, previous) + content


def link_of(entry: bytes) -> Link:
    """Sequence, predecessor and content of an entry's bytes."""
    sequence, previous = _LINK.unpack_from(entry)
    return Link(sequence, previous, entry[_LINK.size :])


def walk(data: bytes | memoryview, sequence: int, previous: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(offset after the frame, leaf hash, content) of each frame in `data`, checked against the chain from `sequence` and `previous` on.

    TornError: the data end inside a frame. TamperedError: anything else that is not as it was written.
    """
    at, end, minimum = 0, len(data), _LINK.size
    view = memoryview(data)
    while at < end:
        if end - at < HEAD_BYTES + minimum:
            raise TornError(sequence, "the ledger ends inside it")
        (length,) = _LENGTH.unpack_from(view, at)
        if not length and not any(view[at:]):
            raise TornError(sequence, "the ledger ends in zeros")  # A file that had grown, and whose bytes had not come.
        if not minimum <= length <= ENTRY_BYTES_MAX:
            raise TamperedError(sequence, f"it claims a length of {length} bytes")
        after = at + HEAD_BYTES + length
        if after > end:
            raise TornError(sequence, "the ledger ends inside it")
        stated, entry = bytes(view[at + _LENGTH.size : at + HEAD_BYTES]), bytes(view[at + HEAD_BYTES : after])
        leaf = leaf_hash(entry)
        if leaf != stated:
            raise TamperedError(sequence, "its bytes do not have the hash that was noted")
        number, before = _LINK.unpack_from(entry)
        if number != sequence:
            raise TamperedError(sequence, f"entry {number} stands in its place")
        if before != previous:
            raise TamperedError(sequence, "it does not follow the entry before it")
        yield after, leaf, entry[minimum:]
        at, sequence, previous = after, sequence + 1, leaf
