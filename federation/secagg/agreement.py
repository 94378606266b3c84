"""From two members' keys to the seed of their pair mask, and from a shared secret to the key that hangs on it.

Called by the participant for its own pairs and by the coordinator for a dropped member's pairs.
Never gives the same seed to two rounds, models, rosters or pairs: all of them are in the derivation."""

from __future__ import annotations

from functools import lru_cache

from federation.errors import PeerFault
from federation.ids import RoundId
from federation.secagg.keys import Secret, derive, framed, number, x25519_public, x25519_shared


def round_scalar(round_secret: Secret) -> Secret:
    """The X25519 scalar of a round, derived from the secret (`shares.draw_secret`) that is split among the members."""
    return derive(round_secret, purpose=b"round-key")


def round_public(round_secret: Secret) -> bytes:
    """The public key a member advertises for a round.

    Who rebuilds a dropped member's secret from shares compares this with what was advertised: another value means that
    the dealer or a revealer of shares cheated.
    """
    return x25519_public(round_scalar(round_secret))


@lru_cache(maxsize=64)
def round_context(federation: str, round_id: RoundId) -> bytes:
    """The round, spelled so that no two rounds of any two federations are alike."""
    lane = round_id.lane
    return framed(federation.encode(), lane.head.value.encode(), number(lane.group), number(round_id.epoch), number(round_id.round))


def self_seed(self_secret: Secret, *, federation: str, round_id: RoundId) -> Secret:
    """The seed of a member's self mask, derived from the secret that is split among the members."""
    return derive(self_secret, purpose=b"self-mask", context=round_context(federation, round_id))


def pair_seed(
    own_scalar: Secret,
    own_public: bytes,
    peer_public: bytes,
    *,
    federation: str,
    round_id: RoundId,
    model_digest: bytes,
    ready_digest: bytes,
    accused: str,
) -> Secret:
    """The 32-byte seed of the mask between the owner of `own_scalar` (`round_scalar`) and `accused`, the peer.

    Both ends get the same seed only if they agree on the round, the model it starts from (model-inconsistency attack,
    Pasquini et al. 2021) and the members. PeerFault "bad_key": wrong length, low order, or our own key sent back.
    """
    if peer_public == own_public:
        raise PeerFault("bad_key", "our own round key sent back to us", accused=accused)
    shared = x25519_shared(own_scalar, peer_public, accused=accused)
    context = framed(round_context(federation, round_id), model_digest, ready_digest, *sorted((own_public, peer_public)))
    return derive(shared, purpose=b"pair-mask", context=context)
