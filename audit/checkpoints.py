"""Signed statements of the audit's size and root, in the form of C2SP tlog-checkpoint, with cosignatures of witnesses (C2SP tlog-cosignature).

Called by the audit writer, which signs, by institutions, which cosign, and by whoever verifies.
Never holds a key: whoever signs hands in a callable."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from audit.merkle import HASH_BYTES
from federation.errors import OwnFault

Sign = Callable[[bytes], bytes]
"""The bytes to sign -> an Ed25519 signature, 64 bytes."""
Verify = Callable[[bytes, bytes, bytes], bool]
"""(verify key, signed bytes, signature) -> whether it holds."""

_ED25519: Final = b"\x01"
_COSIGNATURE: Final = b"\x04"
_KEY_ID_BYTES: Final = 4
_SIGNATURE_BYTES: Final = 64
_NAME: Final = re.compile(r"[^\s+]+")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE: Final = "\u2014 "  # The em dash that begins a signature line.


class NoteError(Exception):
    """Not a checkpoint, or not one that its keys signed; one sentence."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`root`: 32 bytes, of the first `size` entries of the log named `origin`."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """OwnFault for an origin that cannot stand in a note, a negative size or a root of another length."""
        if not _NAME.fullmatch(self.origin) or self.size < 0 or len(self.root) != HASH_BYTES:
            raise OwnFault(f"not a checkpoint: {self.origin!r}, size {self.size}, root of {len(self.root)} bytes")

    @property
    def text(self) -> bytes:
        """What is signed: origin, size and root, a line each."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()


def key_id(name: str, kind: bytes, verify_key: bytes) -> bytes:
    """The first 4 bytes of SHA-256(name || newline || kind || key) (C2SP signed-note)."""
    return hashlib.sha256(name.encode() + b"\n" + kind + verify_key).digest()[:_KEY_ID_BYTES]


def signed(checkpoint: Checkpoint, *, verify_key: bytes, sign: Sign) -> str:
    """The note: the checkpoint and the log's own signature, whose name is the origin."""
    line = _signature_line(checkpoint.origin, key_id(checkpoint.origin, _ED25519, verify_key) + sign(checkpoint.text))
    return checkpoint.text.decode() + "\n" + line


def cosigned(checkpoint: Checkpoint, *, witness: str, verify_key: bytes, at_s: int, sign: Sign) -> str:
    """A witness's line for the note: that it saw this as the log's only history at `at_s` (seconds since 1970, UTC)."""
    blob = key_id(witness, _COSIGNATURE, verify_key) + at_s.to_bytes(8, "big") + sign(_cosigned_bytes(checkpoint, at_s))
    return _signature_line(witness, blob)


def _cosigned_bytes(checkpoint: Checkpoint, at_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % at_s + checkpoint.text


def _signature_line(name: str, blob: bytes) -> str:
    if not _NAME.fullmatch(name):
        raise OwnFault(f"{name!r} cannot stand in a signature line")
    return f"{_LINE}{name} {base64.b64encode(blob).decode()}\n"


def parsed(note: str) -> tuple[Checkpoint, tuple[tuple[str, bytes], ...]]:
    """The checkpoint of a note and its (name, key id and signature) lines; NoteError. Nothing is verified."""
    text, gap, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if not gap or len(lines) != 3 or not _NAME.fullmatch(lines[0]) or not _SIZE.fullmatch(lines[1]) or not signatures.endswith("\n"):
        raise NoteError("it does not have the lines of a checkpoint: origin, size, root, an empty one, signatures")
    root = _decoded(lines[2])
    if len(root) != HASH_BYTES:
        raise NoteError(f"its root has {len(root)} bytes instead of {HASH_BYTES}")
    found = []
    for line in signatures.removesuffix("\n").split("\n"):
        name, _, blob = line.removeprefix(_LINE).partition(" ")
        if not line.startswith(_LINE) or not _NAME.fullmatch(name):
            raise NoteError("a signature line is malformed")
        found.append((name, _decoded(blob)))
        if len(found[-1][1]) <= _KEY_ID_BYTES:
            raise NoteError("a signature line holds no signature")
    return Checkpoint(lines[0], int(lines[1]), root), tuple(found)


def _decoded(text: str) -> bytes:
    try:
        blob = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise NoteError("it holds something that is not base64") from error
    if base64.b64encode(blob).decode() != text:  # Two texts for the same bytes would be two notes that mean the same.
        raise NoteError("it holds base64 that is not canonical")
    return blob


def verified(note: str, *, origin: str, verify_key: bytes, verify: Verify) -> Checkpoint:
    """The checkpoint of a note that the log `origin` signed; NoteError says what is wrong with it."""
    checkpoint, lines = parsed(note)
    if checkpoint.origin != origin:
        raise NoteError(f"it is of the log {checkpoint.origin}, not of {origin}")
    wanted = key_id(origin, _ED25519, verify_key)
    for name, blob in lines:
        if name == origin and blob[:_KEY_ID_BYTES] == wanted and len(blob) == 4 + _SIGNATURE_BYTES:
            if verify(verify_key, checkpoint.text, blob[4:]):
                return checkpoint
            raise NoteError(f"the signature of {origin} does not hold")
    raise NoteError(f"it has no signature by the known key of {origin}")


def witnesses_of(note: str, keys: dict[str, bytes], verify: Verify) -> dict[str, int]:
    """Witness -> seconds since 1970 of its cosignature, of those `keys` (name -> verify key) whose cosignature holds."""
    checkpoint, lines = parsed(note)
    found: dict[str, int] = {}
    for name, blob in lines:
        key = keys.get(name)
        if key is None or blob[:_KEY_ID_BYTES] != key_id(name, _COSIGNATURE, key) or len(blob) != 4 + 8 + _SIGNATURE_BYTES:
            continue
        at_s = int.from_bytes(blob[4:12], "big")
        if verify(key, _cosigned_bytes(checkpoint, at_s), blob[12:]):
            found[name] = at_s
    return found
