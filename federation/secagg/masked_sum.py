"""One round of masked summing without a log: Bonawitz et al. (CCS 2017, figure 4) read top to bottom.

Called by the benchmarks and as the measure that other backends are held against; `federation.rounds` runs the same steps as
signed records, with epochs, acks and deadlines.
Never reveals a member's self-mask share and round-key share both: one or the other, by whether it contributed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from federation.errors import OwnFault, PeerFault
from federation.secagg import ring
from federation.secagg.agreement import pair_seed, round_public, round_scalar, self_seed
from federation.secagg.keys import KEY_BYTES, Entropy, Secret, drawn, x25519_public
from federation.secagg.masks import apply_masks, pair_sign, remove_masks
from federation.secagg.ring import RingVector
from federation.secagg.sealing import (
    BOX_OVERHEAD_BYTES,
    PURPOSE_ROUND_KEYS,
    PURPOSE_SELF_SEED,
    Address,
    box_shares,
    channel_key,
    open_shares,
)
from federation.secagg.secure_sum import Once, SumTerms
from federation.secagg.shares import SHARE_BYTES, checked_share, combine, draw_secret, joined, parted, split

_BOX_BYTES: Final = SHARE_BYTES + BOX_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """A member's public keys of a round."""

    channel: bytes
    round: bytes


class MaskedSum:
    """A member. In order: `keys`, `deal`, `accept`, then `contribute` and `reveal` (SecureSum)."""

    def __init__(self, name: str, terms: SumTerms, *, entropy: Entropy) -> None:
        self._name = name
        self._terms = terms
        self._entropy = entropy
        self._once = Once()
        self._own = terms.position(name) - 1
        self._channel = Secret(drawn(entropy, KEY_BYTES))
        self._round_secret = draw_secret(entropy)
        self._peers: Mapping[str, MemberKeys] = {}
        self._held: dict[str, bytes] = {}  # dealer -> our share of its round secret
        self._held_self = b""  # Our share of our own self secret, once we have contributed.

    def keys(self) -> MemberKeys:
        """What this member advertises."""
        return MemberKeys(x25519_public(self._channel), round_public(self._round_secret))

    def deal(self, advertised: Mapping[str, MemberKeys]) -> dict[str, bytes]:
        """Shares of this member's round secret, one box for each peer; `advertised` has the keys of all members."""
        if set(advertised) != set(self._terms.members) or advertised[self._name] != self.keys():
            raise OwnFault("every member's keys, ours among them, come before shares")
        self._once.say("deal")
        self._peers = advertised
        return self._boxed(self._round_secret, PURPOSE_ROUND_KEYS, self._held)

    def accept(self, boxes: Mapping[str, bytes]) -> None:
        """Take the boxes that the peers dealt to this member; PeerFault "bad_box" or "bad_share" names a dealer."""
        if set(boxes) != set(self._terms.members) - {self._name}:
            raise OwnFault("one box from each peer")
        self._held |= {peer: self._opened(box, peer, PURPOSE_ROUND_KEYS) for peer, box in boxes.items()}

    def contribute(self, values: RingVector) -> bytes:
        """The masked vector, then one box per member in order: its share of this member's self secret (ours: zeros)."""
        if values.shape != (self._terms.length,) or len(self._held) != len(self._terms.members):
            raise OwnFault("a contribution has the agreed length and comes after all shares")
        self._once.say("contribute")
        secret = draw_secret(self._entropy)
        kept: dict[str, bytes] = {}
        boxes = self._boxed(secret, PURPOSE_SELF_SEED, kept)
        self._held_self = kept[self._name]
        masked = values.copy()
        scalar, public = round_scalar(self._round_secret), self.keys().round
        pairs = [
            (pair_sign(self._name, peer), _pair_seed(self._terms, scalar, public, keys.round, peer))
            for peer, keys in self._peers.items()
            if peer != self._name
        ]
        apply_masks(masked, _self_seed(self._terms, secret), pairs)
        return ring.to_bytes(masked) + b"".join(boxes.get(member, bytes(_BOX_BYTES)) for member in self._terms.members)

    def reveal(self, contributions: Mapping[str, bytes]) -> bytes:
        """One share per member in order: of a contributor's self secret, of another's round secret."""
        contributors = self._terms.require_enough(contributions)
        shares = []
        for member in self._terms.members:
            if member not in contributors:
                shares.append(self._held[member])
            elif member == self._name:
                shares.append(self._held_self)
            else:
                box = _parted(self._terms, contributions[member], member)[1][self._own]
                shares.append(self._opened(box, member, PURPOSE_SELF_SEED))
        self._once.say("reveal")
        return joined(shares)

    def _boxed(self, secret: Secret, purpose: bytes, own: dict[str, bytes]) -> dict[str, bytes]:
        """Boxes of shares by peer; the own share goes into `own`."""
        terms = self._terms
        boxes = {}
        shares = split(secret, threshold=terms.threshold, members=len(terms.members), entropy=self._entropy)
        for member, share in zip(terms.members, shares, strict=True):
            if member == self._name:
                own[member] = share
            else:
                address = _address(terms, self._name, member, purpose)
                boxes[member] = box_shares(share, address, key=self._channel_key(member), entropy=self._entropy)
        return boxes

    def _opened(self, box: bytes, sender: str, purpose: bytes) -> bytes:
        address = _address(self._terms, sender, self._name, purpose)
        share = open_shares(box, address, key=self._channel_key(sender), plain_bytes=SHARE_BYTES)
        return checked_share(share, accused=sender)

    def _channel_key(self, peer: str) -> Secret:
        own_public = self._peers[self._name].channel
        return channel_key(self._channel, own_public, self._peers[peer].channel, accused=peer)


class MaskOpener:
    """The aggregator, who knows what was advertised (SumOpener)."""

    def __init__(self, terms: SumTerms, advertised: Mapping[str, MemberKeys]) -> None:
        self._terms = terms
        self._advertised = advertised

    def open_sum(self, contributions: Mapping[str, bytes], revealed: Mapping[str, bytes]) -> RingVector:
        """Add the masked vectors, rebuild the contributors' self secrets and the others' round secrets, take their masks off.

        A wrong share of a round secret is noticed and its dealer named "bad_share"; a wrong share of a self secret leaves noise,
        which `decode_sum` refuses (`federation.rounds` commits dealers to their shares and names who lied).
        """
        terms = self._terms
        contributors = terms.require_enough(contributions)
        rows = {member: parted(shares, len(terms.members), accused=member) for member, shares in revealed.items()}
        total = ring.zeros(terms.length)
        self_seeds, pairs = [], []
        for position, member in enumerate(terms.members):
            secret = combine({terms.position(by): row[position] for by, row in rows.items()}, threshold=terms.threshold)
            if member in contributors:
                ring.add(total, _parted(terms, contributions[member], member)[0])
                self_seeds.append(_self_seed(terms, secret))
                continue
            public = self._advertised[member].round
            if round_public(secret) != public:
                raise PeerFault("bad_share", "its round key does not come out of the shares", accused=member)
            for peer in contributors:
                seed = _pair_seed(terms, round_scalar(secret), public, self._advertised[peer].round, peer)
                pairs.append((pair_sign(peer, member), seed))
        remove_masks(total, self_seeds, pairs)
        return total


def _parted(terms: SumTerms, contribution: bytes, sender: str) -> tuple[RingVector, list[bytes]]:
    """(masked vector, boxes in order); PeerFault "bad_length"."""
    split_at = ring.VALUE_BYTES * terms.length
    boxes = contribution[split_at:]
    if len(boxes) != _BOX_BYTES * len(terms.members):
        raise PeerFault("bad_length", "a contribution has another number of boxes than members", accused=sender)
    masked = ring.from_bytes(contribution[:split_at], terms.length, accused=sender)
    return masked, [boxes[first : first + _BOX_BYTES] for first in range(0, len(boxes), _BOX_BYTES)]


def _address(terms: SumTerms, sender: str, recipient: str, purpose: bytes) -> Address:
    where = terms.round_id
    return Address(
        federation=terms.federation, lane=where.lane, epoch=where.epoch, round=where.round, sender=sender, recipient=recipient,
        roster_digest=terms.ready_digest, purpose=purpose,
    )  # fmt: skip


def _self_seed(terms: SumTerms, secret: Secret) -> Secret:
    return self_seed(secret, federation=terms.federation, round_id=terms.round_id)


def _pair_seed(terms: SumTerms, scalar: Secret, own_public: bytes, peer_public: bytes, peer: str) -> Secret:
    return pair_seed(
        scalar, own_public, peer_public, federation=terms.federation, round_id=terms.round_id,
        model_digest=terms.model_digest, ready_digest=terms.ready_digest, accused=peer,
    )  # fmt: skip
