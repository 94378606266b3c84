"""The aggregator's half of the cryptography: shares opened and checked, secrets rebuilt, masks taken off the sum.

Called by `coordinator` (when shares are revealed) and `decisions` (when there are enough).
Never rebuilds both secrets of one member: for a survivor the self seed, for a dropped member the round key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, TypeAlias

from federation import messages as m
from federation.errors import PeerFault
from federation.ids import digest_of
from federation.rounds.commitments import TAG_BYTES, secret_commitment, share_tag
from federation.rounds.effects import RingVector
from federation.rounds.transcript import Epoch, Transcript
from federation.secagg.agreement import pair_seed, round_public, round_scalar, self_seed
from federation.secagg.keys import Secret
from federation.secagg.masks import pair_sign, remove_masks
from federation.secagg.ring import to_bytes
from federation.secagg.sealing import PURPOSE_ROUND_KEYS, PURPOSE_SELF_SEED, unseal_with_any
from federation.secagg.shares import SHARE_BYTES, combine_many

# What a member says in place of a share it does not hold: no share can be this, all are below 2^255.
ABSENT: Final = b"\xff" * SHARE_BYTES

RevealedShares: TypeAlias = Mapping[str, Mapping[str, bytes]]
"""Revealer -> dealer -> share; only shares that fit the dealer's commitment."""


def tag_of(epoch: Epoch, tags: bytes, holder: str, number: int | None) -> bytes:
    """The 16 bytes of `tags` that commit to `holder`'s share; `number` is the round for an epoch's tags, None for one round's."""
    at = epoch.positions[holder] - 1
    if number is not None:
        at = at * epoch.announced.rounds + number - epoch.announced.first_round
    return tags[TAG_BYTES * at : TAG_BYTES * (at + 1)]


def open_revealed(
    transcript: Transcript,
    sealing_secrets: Sequence[Secret],
    message: m.SharesRevealed,
    updates: Mapping[str, m.MaskedUpdate],
    epoch_tags: Mapping[int, Mapping[str, bytes]],
) -> tuple[dict[str, bytes], list[PeerFault]]:
    """Dealer -> share, of the shares in one record that fit their commitments; a fault per share that does not."""
    epoch, current = transcript.running(), transcript.opened_round()
    revealer = message.institution
    try:
        plain = unseal_with_any(message.box, sealing_secrets, plain_bytes=SHARE_BYTES * len(epoch.peers), accused=revealer)
    except PeerFault as fault:
        return {}, [fault]
    shares: dict[str, bytes] = {}
    faults = []
    round_id, position, survivors = transcript.round_id(), epoch.positions[revealer], frozenset(current.survivors)
    for index, dealer in enumerate(epoch.peers):
        share = plain[SHARE_BYTES * index : SHARE_BYTES * (index + 1)]
        if share == ABSENT:
            continue
        if dealer in survivors:
            purpose, tag = PURPOSE_SELF_SEED, tag_of(epoch, updates[dealer].share_tags, revealer, None)
        else:
            purpose, tag = PURPOSE_ROUND_KEYS, tag_of(epoch, epoch_tags[epoch.number][dealer], revealer, current.opened.round)
        made = share_tag(share, federation=transcript.federation, round_id=round_id, dealer=dealer, position=position, purpose=purpose)
        if made == tag:
            shares[dealer] = share
        else:
            faults.append(PeerFault("bad_share", f"not the share that {dealer} dealt", accused=revealer))
    return shares, faults


def sum_digest(total: RingVector) -> bytes:
    """The identity of an opened sum, for the record."""
    return digest_of(to_bytes(total))


def lacking(epoch: Epoch, shares: RevealedShares) -> tuple[str, ...]:
    """The ready members of whose secret there are not yet threshold-many good shares."""
    held = Counter(chain.from_iterable(shares.values()))
    return tuple(dealer for dealer in epoch.peers if held[dealer] < epoch.threshold)


def open_sum(transcript: Transcript, shares: RevealedShares, updates: Mapping[str, m.MaskedUpdate], masked_sum: RingVector) -> RingVector:
    """The survivors' sum without masks, uint32[contribution_length]; `lacking` must be empty.

    PeerFault "bad_shares" accuses the dealer whose shares, though they are what he committed to, rebuild another secret.
    """
    epoch, current = transcript.running(), transcript.opened_round()
    round_id = transcript.round_id()
    secrets = _rebuilt(epoch, shares)
    self_seeds = []
    for name in current.survivors:
        made = secret_commitment(secrets[name], federation=transcript.federation, round_id=round_id, dealer=name)
        if made != updates[name].secret_commitment:
            raise PeerFault("bad_shares", "his shares do not rebuild the self seed he committed to", accused=name)
        self_seeds.append(self_seed(secrets[name], federation=transcript.federation, round_id=round_id))
    dropped = [name for name in epoch.peers if name not in current.survivors]
    for name in dropped:
        if round_public(secrets[name]) != epoch.round_public(name, current.opened.round):
            raise PeerFault("bad_shares", "his shares do not rebuild the round key he advertised", accused=name)
    total = masked_sum.copy()
    remove_masks(total, self_seeds, _pair_seeds(transcript, dropped, secrets))
    return total


def _pair_seeds(transcript: Transcript, dropped: Sequence[str], secrets: Mapping[str, Secret]) -> Iterator[tuple[int, Secret]]:
    """(sign that the survivor applied, seed) for every pair of a survivor and a dropped member."""
    epoch, current = transcript.running(), transcript.opened_round()
    number = current.opened.round
    for gone in dropped:
        scalar, public = round_scalar(secrets[gone]), epoch.round_public(gone, number)
        for name in current.survivors:
            seed = pair_seed(
                scalar,
                public,
                epoch.round_public(name, number),
                federation=transcript.federation,
                round_id=transcript.round_id(),
                model_digest=current.opened.model_digest,
                ready_digest=current.digest,
                accused=name,
            )
            yield pair_sign(name, gone), seed


def _rebuilt(epoch: Epoch, shares: RevealedShares) -> dict[str, Secret]:
    """Every ready member's secret, from threshold-many shares each; dealers with the same holders are combined together."""
    holders: dict[tuple[int, ...], list[str]] = {}
    for dealer in epoch.peers:
        positions = [epoch.positions[revealer] for revealer in sorted(shares) if dealer in shares[revealer]]
        holders.setdefault(tuple(positions[: epoch.threshold]), []).append(dealer)
    secrets: dict[str, Secret] = {}
    for positions_used, dealers in holders.items():
        rows = [[shares[epoch.members[position - 1]][dealer] for position in positions_used] for dealer in dealers]
        secrets.update(zip(dealers, combine_many(positions_used, rows, threshold=epoch.threshold), strict=True))
    return secrets
