"""A message between the two parties as records: sealed to the other party, cut to size, and joined again.

Called by `runs`.
Never joins pieces of two messages, and never takes a second piece for one that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.ids import digest_of
from federation.limits import VERTICAL_PART_BYTES_MAX, VERTICAL_PARTS_MAX
from federation.secagg.keys import Entropy, Secret
from federation.secagg.sealing import SEAL_OVERHEAD_BYTES, seal, unseal_with_any
from streams.codec import DecodeError, decode, encode

SAID: Final = (
    m.IntersectionAsked, m.IntersectionAnswered, m.IntersectionClosed, m.MembershipMasked, m.TrainingAsked, m.TrainingAccepted,
    m.NumbersEncrypted, m.SumsBlinded, m.SumsOpened, m.PassEnded, m.RunAbandoned,
)  # fmt: skip
_BYTES_MAX: Final = VERTICAL_PARTS_MAX * VERTICAL_PART_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Address:
    """Which message of whom this is."""

    bank: str
    partner: str
    sender: str
    run: int
    sequence: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Whole:
    """A message of the other party, joined, still sealed."""

    run: int
    sequence: int
    says: str
    deadline_ms: int
    sealed: bytes = field(repr=False)


def cut(message: m.Message, address: Address, *, sealing_key: bytes, entropy: Entropy) -> Sequence[m.VerticalPart]:
    """The records of a message for the holder of `sealing_key`; OwnFault if it is longer than its parts may be."""
    sealed = seal(encode(message), sealing_key, entropy=entropy)
    bodies = [sealed[at : at + VERTICAL_PART_BYTES_MAX] for at in range(0, len(sealed), VERTICAL_PART_BYTES_MAX)]
    if len(bodies) > VERTICAL_PARTS_MAX:
        raise OwnFault(f"a {type(message).__name__} of {len(sealed)} bytes is too long to be sent")
    return [
        m.VerticalPart(
            bank=address.bank, partner=address.partner, institution=address.sender, run=address.run, sequence=address.sequence,
            part=number, parts=len(bodies), says=type(message).__name__, deadline_ms=address.deadline_ms, body=body,
        )
        for number, body in enumerate(bodies)
    ]  # fmt: skip


def opened(whole: Whole, sealing_secrets: Sequence[Secret], *, accused: str) -> m.Message:
    """The message inside; PeerFault "bad_seal", or why its bytes are no message, or "bad_part" if it is not what it says it is."""
    plain = unseal_with_any(whole.sealed, sealing_secrets, plain_bytes=len(whole.sealed) - SEAL_OVERHEAD_BYTES, accused=accused)
    try:
        message = decode(plain, SAID, _BYTES_MAX)
    except DecodeError as error:
        raise PeerFault(error.reason.value, error.detail, accused=accused) from error
    if type(message).__name__ != whole.says:
        raise PeerFault("bad_part", f"a {type(message).__name__} that calls itself {whole.says[:40]}", accused=accused)
    return message


class Joiner:
    """The pieces of the other party's newest message."""

    def __init__(self) -> None:
        self._of: tuple[int, int, int, str, int] | None = None
        self._digests: list[bytes] = []
        self._bodies: list[bytes] = []

    @property
    def incomplete(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._bodies)

    def add(self, part: m.VerticalPart) -> Whole | None:
        """The message if this was the piece it lacked. A piece heard before is passed over.

        PeerFault "two_records": other bytes in the place of a piece we have; "bad_part": numbers that cannot be, or a piece too early.
        """
        accused = part.institution
        if not 0 <= part.part < part.parts <= VERTICAL_PARTS_MAX or part.sequence < 1 or part.run < 1:
            raise PeerFault("bad_part", f"piece {part.part} of {part.parts}", accused=accused)
        if self._of is not None and (part.run, part.sequence) < self._of[:2]:
            return None
        header = (part.run, part.sequence, part.parts, part.says, part.deadline_ms)
        if self._of is None or (part.run, part.sequence) > self._of[:2]:
            self._of, self._digests, self._bodies = header, [], []
        elif header != self._of:
            raise PeerFault("two_records", "two messages under one number", accused=accused)
        digest = digest_of(part.body)
        if part.part < len(self._digests):
            if digest != self._digests[part.part]:
                raise PeerFault("two_records", f"two pieces {part.part} of one message", accused=accused)
            return None
        if part.part > len(self._digests):
            raise PeerFault("bad_part", f"piece {part.part} where {len(self._digests)} was due", accused=accused)
        self._digests.append(digest)
        self._bodies.append(part.body)
        if len(self._bodies) < part.parts:
            return None
        sealed, self._bodies = b"".join(self._bodies), []
        return Whole(part.run, part.sequence, part.says, part.deadline_ms, sealed)
