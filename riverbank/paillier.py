"""The dealer of a threshold Paillier key, as a command: draws a key, writes each holder's share and the public key.

Called by `riverbank paillier deal`; what the files are for is told in docs/paillier.md.
Never writes a prime, nor a share where another than the dealer's own user could read it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from federation.errors import OwnFault
from federation.limits import COHORT_MIN, NAME_LENGTH_MAX
from federation.secagg.paillier import KeyShare, PublicKey
from federation.secagg.paillier_dealer import deal
from riverbank.provisioning.bundles import write_secret
from streams.ports import Entropy

PUBLIC_FILE: Final = "paillier.pub"
SHARE_FILE: Final = "paillier.share"
_NAME: Final = re.compile(rf"[a-z][a-z0-9-]{{0,{NAME_LENGTH_MAX - 1}}}")  # As in settings.


def deal_files(directory: Path, *, members: Sequence[str], threshold: int, bits: int, entropy: Entropy) -> Path:
    """Deal a key to `members` (sorted; share k belongs to the k-th) and write it below `directory`, which must not exist yet.

    Returns the public key's file. OwnFault, before anything is drawn: wrong names, an impossible threshold, too few bits.
    """
    if list(members) != sorted(set(members)) or len(members) < COHORT_MIN or not all(_NAME.fullmatch(name) for name in members):
        raise OwnFault(f"members are {COHORT_MIN} or more different names of small letters and digits, sorted")
    if not 2 <= threshold <= len(members):
        raise OwnFault(f"a key for {threshold} of {len(members)}: the threshold is from 2 to the number of members")
    if directory.exists():
        raise OwnFault(f"{directory} exists: a key is dealt into a new folder, never over another")
    public, shares = deal(threshold=threshold, members=len(members), entropy=entropy, bits=bits)
    return write_key(directory, members, public, shares)


def write_key(directory: Path, members: Sequence[str], public: PublicKey, shares: Sequence[KeyShare]) -> Path:
    """`<member>/paillier.share` (readable by its owner alone) for each, and `paillier.pub`; the public key's file."""
    for member, share in zip(members, shares, strict=True):
        write_secret(directory / member / SHARE_FILE, share.to_bytes())
    path = directory / PUBLIC_FILE
    path.write_bytes(public.to_bytes())
    return path
