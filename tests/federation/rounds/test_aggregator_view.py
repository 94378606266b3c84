"""What the aggregator and the broker can see of one institution: everything they hold, and it is noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.ids import RoundId, digest_of
from federation.rounds import participant
from federation.rounds.effects import ContributionReady, Publish
from federation.rounds.transcript import SEED_BOX_BYTES
from federation.rounds.unmasking import ABSENT, lacking
from federation.secagg import ring
from federation.secagg.keys import Secret, x25519_public
from federation.secagg.sealing import PURPOSE_SELF_SEED, Address, channel_key, open_shares, unseal
from federation.secagg.shares import PRIME, combine, lagrange_weights, split
from streams.codec import encode
from tests.sim.table import FEDERATION, LANE, Stream, Table

DIMENSION = 63
# 255 degrees of freedom: mean 255, deviation 22.6. Uniform bytes exceed this once in a million.
CHI_SQUARE_MAX = 371.0
FIXED = ring.from_integers(np.arange(DIMENSION + 1, dtype=np.int64))


def chi_square(body: bytes) -> float:
    """Of the bytes' frequencies against uniform ones."""
    counts = np.bincount(np.frombuffer(body, dtype=np.uint8), minlength=256)
    expected = len(body) / 256
    return float((((counts - expected) ** 2) / expected).sum())


def preparing(seed: int = 0) -> Table:
    table = Table("ABCD", seed=seed, dimension=DIMENSION)
    table.contribute = lambda _name, _wanted: None
    table.until(m.RoundOpened)
    table.deliver()
    return table


def seen_by_aggregator(table: Table, entropy: Stream) -> bytes:
    """A's masked update with the aggregator's seal taken off: what the aggregator adds."""
    event = ContributionReady(table.coordinator.transcript.round_id(), FIXED)
    _, effects = participant.step(table.members["A"], event, entropy)
    chunks = [effect.message for effect in effects if isinstance(effect, Publish) and isinstance(effect.message, m.MaskedChunk)]
    return b"".join(unseal(chunk.body, table.sealing_secret, plain_bytes=len(chunk.body) - 48, accused="A") for chunk in chunks)


def test_the_yardstick_tells_noise_from_numbers():
    """The same statistic is far off for what is masked, before it is masked."""
    assert chi_square(ring.to_bytes(FIXED) * 100) > 100 * CHI_SQUARE_MAX


def test_an_update_is_uniform_even_if_every_pair_mask_is_known():
    """One institution, one round, one vector, again and again: the self mask alone makes the bytes uniform."""
    table = preparing()
    bodies = [seen_by_aggregator(table, Stream("self", run)) for run in range(200)]

    assert chi_square(b"".join(bodies)) < CHI_SQUARE_MAX
    # Each coordinate by itself too: its lowest and its highest byte.
    for at in (0, 3, 4 * DIMENSION, 4 * DIMENSION + 3):
        assert chi_square(bytes(body[at] for body in bodies) * 1) < CHI_SQUARE_MAX


def test_an_update_is_uniform_even_if_its_self_mask_is_known():
    """The same self seed in many federations: the pair masks alone make the bytes uniform."""
    bodies = [seen_by_aggregator(preparing(seed), Stream("one self seed")) for seed in range(60)]

    assert chi_square(b"".join(bodies)) < CHI_SQUARE_MAX


def test_two_updates_of_one_vector_have_nothing_in_common():
    """The difference of two masked updates of the same vector is uniform: no mask is used twice."""
    first, second = seen_by_aggregator(preparing(1), Stream(1)), seen_by_aggregator(preparing(2), Stream(1))
    differences = [
        (np.frombuffer(seen_by_aggregator(preparing(seed), Stream(1)), "<u4") - np.frombuffer(first, "<u4")).tobytes()
        for seed in range(2, 40)
    ]

    assert first != second
    assert chi_square(b"".join(differences)) < CHI_SQUARE_MAX


def test_fewer_shares_than_the_threshold_fit_every_secret():
    """For any t - 1 shares and any secret there is a polynomial through both: they say nothing."""
    threshold, members = 4, 5
    shares = split(Secret((12345).to_bytes(32, "little")), threshold=threshold, members=members, entropy=Stream("split"))
    known = {position: shares[position - 1] for position in (1, 3, 5)}
    for other in (0, 1, 999, PRIME - 1):
        # The share at 2 that would make it `other`: solve sum(w * share) = other for it.
        weights = dict(zip((1, 2, 3, 5), lagrange_weights((1, 2, 3, 5)), strict=True))
        rest = sum(weights[position] * int.from_bytes(share, "little") for position, share in known.items())
        missing = (other - rest) * pow(weights[2], -1, PRIME) % PRIME
        rebuilt = combine({**known, 2: missing.to_bytes(32, "little")}, threshold=threshold)
        assert int.from_bytes(rebuilt.reveal(), "little") == other
    with pytest.raises(OwnFault):
        combine(known, threshold=threshold)


def test_a_round_short_of_shares_opens_nothing():
    """With t - 1 members' shares in hand, every secret of the round lacks one; what is there is uniform."""
    table = Table("ABCDE")
    table.silent = lambda sender, message: sender in "DE" and isinstance(message, m.SharesRevealed)
    table.until(m.RoundAbandoned)
    epoch = table.coordinator.transcript.running()

    assert set(table.coordinator.shares) == set("ABC")
    assert lacking(epoch, table.coordinator.shares) == tuple("ABCDE")


def test_the_aggregators_key_opens_no_box_between_members():
    """Seed shares and key shares are boxed to members: the aggregator's sealing key is of no use on them."""
    table = Table("ABCDE")
    table.until(m.SurvivorsNamed)
    epoch = table.coordinator.transcript.running()
    update = table.coordinator.updates["B"]
    address = Address(
        federation=FEDERATION, lane=LANE, epoch=1, round=1, sender="B", recipient="A", roster_digest=epoch.roster_digest, purpose=PURPOSE_SELF_SEED,
    )  # fmt: skip
    own = table.sealing_secret
    key = channel_key(own, x25519_public(own), epoch.keys["B"].channel_key, accused="B")
    with pytest.raises(PeerFault):
        open_shares(update.seed_boxes[:SEED_BOX_BYTES], address, key=key, plain_bytes=32)


def test_the_log_holds_no_secret_in_the_clear():
    """No record of a whole round contains a contribution, a round secret, a channel secret or a share as it is."""
    table = Table("ABCDE")
    table.until(m.SharesRevealed)
    secrets: list[bytes] = []
    for name in table.names:
        held = table.members[name].secrets[1]
        secrets += [
            *(held.channel_key(position).reveal() for position in range(1, 6) if table.names[position - 1] != name),
            held.round_secret(1).reveal(),
            *(held.share(dealer, 1) or b"" for dealer in table.names),
        ]
        secrets.append(ring.to_bytes(table.contributions[name, 1]))
    table.until_ended()
    said = b"".join(encode(received.message) for received in table.log) + b"".join(body for _, body in table.chunks.values())

    assert not any(secret in said for secret in secrets)


def test_a_member_reveals_one_kind_of_share_per_peer():
    """For a survivor a share of its self seed, for a dropped member a share of its round key: the other kind is not in the record."""
    table = Table("ABCDE")
    contribute = table.contribute
    table.contribute = lambda name, wanted: contribute(name, wanted) if name != "E" else None
    table.until(m.SurvivorsNamed)
    keys = {name: {dealer: table.members[name].secrets[1].share(dealer, 1) for dealer in "ABCDE"} for name in "ABCDE"}
    table.until_ended()
    for received in table.said(m.SharesRevealed):
        plain = unseal(received.message.box, table.sealing_secret, plain_bytes=5 * 32, accused=received.sender)
        shares = [plain[at : at + 32] for at in range(0, len(plain), 32)]
        mine = keys[received.sender]

        assert shares[4] == mine["E"]
        assert ABSENT not in shares
        assert not {shares[at] for at in range(4)} & set(mine.values())


def test_masks_bind_the_model_and_the_whole_opening():
    """Two members who were shown different models, or openings that differ in anything at all, do not mask alike: their masks do not cancel."""
    table = preparing()
    state = table.members["A"]
    event = ContributionReady(table.coordinator.transcript.round_id(), FIXED)
    current = state.transcript.opened_round()

    def masked(changed: participant.ParticipantState, round_id: RoundId = event.round_id) -> bytes:
        _, effects = participant.step(changed, ContributionReady(round_id, FIXED), Stream("same"))
        chunk = next(effect.message for effect in effects if isinstance(effect, Publish) and isinstance(effect.message, m.MaskedChunk))
        return unseal(chunk.body, table.sealing_secret, plain_bytes=len(chunk.body) - 48, accused="A")

    other_model = replace(current, opened=replace(current.opened, model_digest=digest_of(b"other")))
    plain = masked(state)
    assert masked(state) == plain
    assert masked(replace(state, transcript=replace(state.transcript, round=other_model))) != plain
    assert masked(replace(state, transcript=replace(state.transcript, round=replace(current, digest=digest_of(b"other"))))) != plain
