"""A pair's seed is theirs, for one round, model and roster."""

from __future__ import annotations

import pytest

from federation.errors import PeerFault
from federation.ids import Lane, RoundId
from federation.messages import HeadName
from federation.secagg.agreement import pair_seed, round_public, round_scalar, self_seed
from federation.secagg.keys import Secret

ALICE, BOB, CAROL = (Secret(bytes([k]) * 32) for k in (1, 2, 3))
STATEMENT = {
    "federation": "nordic",
    "round_id": RoundId(Lane(HeadName.CREDIT, 0), 3, 40),
    "model_digest": b"m" * 32,
    "ready_digest": b"r" * 32,
    "accused": "bob",
}


def seed_between(own, peer, **changes):
    return pair_seed(round_scalar(own), round_public(own), round_public(peer), **{**STATEMENT, **changes})


def test_both_ends_agree_and_others_do_not():
    """Alice's seed with Bob is Bob's with Alice, and nobody else's."""
    assert seed_between(ALICE, BOB) == seed_between(BOB, ALICE)
    assert seed_between(ALICE, BOB) != seed_between(ALICE, CAROL)


@pytest.mark.parametrize(
    "change",
    [
        {"federation": "baltic"},
        {"round_id": RoundId(Lane(HeadName.FRAUD, 0), 3, 40)},
        {"round_id": RoundId(Lane(HeadName.CREDIT, 1), 3, 40)},
        {"round_id": RoundId(Lane(HeadName.CREDIT, 0), 4, 40)},
        {"round_id": RoundId(Lane(HeadName.CREDIT, 0), 3, 41)},
        {"model_digest": b"n" * 32},
        {"ready_digest": b"s" * 32},
    ],
)
def test_every_circumstance_is_in_the_seed(change):
    """Another federation, lane, epoch, round, model or set of members gives another seed."""
    assert seed_between(ALICE, BOB, **change) != seed_between(ALICE, BOB)
    if "federation" in change or "round_id" in change:
        where = {name: STATEMENT[name] for name in ("federation", "round_id")}
        assert self_seed(ALICE, **{**where, **change}) != self_seed(ALICE, **where)


def test_a_low_order_key_accuses_the_peer(vectors_in):
    """Its seed would be known to everybody."""
    for point in vectors_in("x25519_rfc7748")["low_order"]:
        with pytest.raises(PeerFault, match="bad_key by bob"):
            pair_seed(round_scalar(ALICE), round_public(ALICE), bytes.fromhex(point), **STATEMENT)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_a_key_of_another_length_accuses_the_peer(key):
    """A key has 32 bytes."""
    with pytest.raises(PeerFault, match="bad_key by bob"):
        pair_seed(round_scalar(ALICE), round_public(ALICE), key, **STATEMENT)


def test_our_own_key_sent_back_accuses_the_peer():
    """A reflected key would make a seed that the peer cannot know: it only spoils the round."""
    with pytest.raises(PeerFault, match="bad_key by bob"):
        seed_between(ALICE, ALICE)


def test_what_is_shared_is_never_a_key_itself():
    """The scalar, the self seed and the split secret are different bytes."""
    where = {name: STATEMENT[name] for name in ("federation", "round_id")}
    values = [ALICE.reveal(), round_scalar(ALICE).reveal(), self_seed(ALICE, **where).reveal(), round_public(ALICE)]

    assert len(set(values)) == len(values)
