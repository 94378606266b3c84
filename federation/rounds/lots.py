"""Lots: who is in which group, drawn so that nobody chooses, and checked by everybody.

Called by `head_reading` (who folds the log), `head_participant` (which draws) and nobody else.
Never draws by itself: an institution's entropy comes in through `head_participant`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from federation.errors import OwnFault
from federation.ids import digest_of
from federation.limits import COHORT_MIN
from federation.messages import HeadName
from federation.secagg.keys import framed, number

LOT_BYTES: Final = 32
_COMMITMENT: Final = b"riverbank/lot/1"
_SEED: Final = b"riverbank/drawing/1"


def commitment(lot: bytes, *, federation: str, head: HeadName, epoch: int, institution: str) -> bytes:
    """What an institution says before anybody has shown a lot: hides the lot and binds to it.

    The name is in it: whoever copies another's commitment cannot open it.
    """
    return digest_of(framed(_COMMITMENT, federation.encode(), head.value.encode(), number(epoch), institution.encode(), lot))


def drawing_seed(lots: Mapping[str, bytes], *, federation: str, head: HeadName, epoch: int) -> bytes:
    """32 bytes from everybody's lot: uniform if only one of them was, and was unknown when the others were committed to."""
    shown = [part for institution in sorted(lots) for part in (institution.encode(), lots[institution])]
    return digest_of(framed(_SEED, federation.encode(), head.value.encode(), number(epoch), *shown))


def groups_possible(institutions: int, groups: int) -> int:
    """Into how many of `groups` so many institutions can be drawn with COHORT_MIN in each; 0: not even one."""
    return min(groups, institutions // COHORT_MIN)


def drawn_groups(institutions: Sequence[str], groups: int, seed: bytes) -> tuple[tuple[str, ...], ...]:
    """`groups` groups, sorted inside, of sizes that differ by one at most; every partition into such sizes is equally likely.

    OwnFault: a group would fall below COHORT_MIN, or a name comes twice.
    """
    if groups < 1 or groups_possible(len(institutions), groups) < groups or len(set(institutions)) != len(institutions):
        raise OwnFault(f"{groups} groups of {len(institutions)} institutions")
    ranked = sorted(institutions, key=lambda institution: digest_of(framed(seed, institution.encode())))
    return tuple(tuple(sorted(ranked[at::groups])) for at in range(groups))
