"""One story, told over every backend of a secure sum: the same values in, the same sum out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from federation.errors import OwnFault, PeerFault
from federation.ids import Lane, RoundId
from federation.messages import HeadName
from federation.privacy.gaussian import discrete_gaussian, noise_share_sigma
from federation.secagg import ring
from federation.secagg.masked_sum import MaskedSum, MaskOpener
from federation.secagg.paillier_sum import DIMENSION_MAX, PaillierOpener, PaillierSum
from federation.secagg.quantize import UnusableSum, decode_sum, encode_contribution
from federation.secagg.secure_sum import SumTerms

BANKS = ("alfa", "beta", "gamma", "delta", "epsilon")
MEMBERS = tuple(sorted(BANKS))
DIMENSION = 40
BITS = 512


def terms_of(**changes):
    fields = {
        "federation": "nordic", "round_id": RoundId(Lane(HeadName.CREDIT), 2, 11), "members": MEMBERS, "threshold": 3,
        "length": DIMENSION + 1, "model_digest": b"m" * 32, "ready_digest": b"r" * 32,
    }  # fmt: skip
    return SumTerms(**{**fields, **changes})


def masked(terms, entropy, _key):
    """(members by name, opener) of the mask backend, set up."""
    members = {name: MaskedSum(name, terms, entropy=entropy) for name in terms.members}
    advertised = {name: member.keys() for name, member in members.items()}
    dealt = {name: member.deal(advertised) for name, member in members.items()}
    for name, member in members.items():
        member.accept({dealer: boxes[name] for dealer, boxes in dealt.items() if dealer != name})
    return members, MaskOpener(terms, advertised)


def paillier(terms, entropy, key):
    """(members by name, opener) of the Paillier backend, with the dealt test key."""
    public, shares = key
    members = {
        name: PaillierSum(name, terms, public, share, entropy=entropy, bits_min=BITS)
        for name, share in zip(terms.members, shares, strict=True)
    }
    return members, PaillierOpener(terms, public, bits_min=BITS)


BACKENDS = {"masks": masked, "paillier": paillier}


@pytest.fixture(params=BACKENDS)
def cohort(request, entropy_of, paillier_key):
    return BACKENDS[request.param](terms_of(), entropy_of(request.param), paillier_key(BITS, 3, 5))


def values_of(entropy):
    """Values as a round has them: anything that fits a contribution."""
    return {name: ring.from_integers(np.frombuffer(entropy(8 * DIMENSION + 8), dtype=np.int64) % 9_000_000 - 4_500_000) for name in MEMBERS}


def plain_sum(values, names):
    return np.sum([values[name] for name in names], axis=0, dtype=np.uint32).tolist()


def test_one_drops_and_the_rest_are_summed_exactly(cohort, entropy_of):
    """Five join, one never contributes, another contributes and is not there to reveal: the sum of the four is exact."""
    members, opener = cohort
    values = values_of(entropy_of(1))
    stayed = [name for name in MEMBERS if name != "beta"]
    contributions = {name: members[name].contribute(values[name]) for name in stayed}
    revealed = {name: members[name].reveal(contributions) for name in stayed if name != "gamma"}

    assert opener.open_sum(contributions, revealed).tolist() == plain_sum(values, stayed)


def test_all_backends_agree_on_a_noisy_round(entropy_of, paillier_key, parameters):
    """Encoded with noise, summed by each backend, decoded: the same sum, mean and count to the last bit."""
    params = parameters(dimension=DIMENSION, clip_quanta=1 << 16, noise_sigma=50.0)
    entropy = entropy_of("round")
    share = noise_share_sigma(params.noise_sigma, 3)
    total = np.append(np.linspace(-50_000, 50_000, DIMENSION).astype(np.int64), 80 * params.count_quanta)
    values = {name: encode_contribution(total, discrete_gaussian(DIMENSION + 1, share, entropy=entropy), params) for name in MEMBERS}
    sums = {}
    for backend, setup in BACKENDS.items():
        members, opener = setup(terms_of(), entropy_of(backend), paillier_key(BITS, 3, 5))
        contributions = {name: members[name].contribute(values[name]) for name in MEMBERS[:4]}
        revealed = {name: members[name].reveal(contributions) for name in MEMBERS[1:4]}
        sums[backend] = opener.open_sum(contributions, revealed)

    assert sums["masks"].tolist() == sums["paillier"].tolist() == plain_sum(values, MEMBERS[:4])
    mean, count = decode_sum(sums["paillier"], params, 4)
    assert count == pytest.approx(320, abs=40)
    assert mean == pytest.approx(4 * total[:-1] / 2**16 / count, rel=1e-2, abs=1e-3)


def test_every_set_of_survivors_opens(entropy_of, paillier_key):
    """Three or more of five contribute, any three of the five reveal."""
    values = values_of(entropy_of(2))
    for backend, setup in BACKENDS.items():
        for count in (3, 4, 5):
            for contributors in itertools.islice(itertools.combinations(MEMBERS, count), 0, None, 3):
                members, opener = setup(terms_of(), entropy_of(f"{backend}{contributors}"), paillier_key(BITS, 3, 5))
                contributions = {name: members[name].contribute(values[name]) for name in contributors}
                revealed = {name: members[name].reveal(contributions) for name in (MEMBERS[0], MEMBERS[2], MEMBERS[4])}
                assert opener.open_sum(contributions, revealed).tolist() == plain_sum(values, contributors)


def test_too_few_open_nothing(cohort, entropy_of):
    """Two contributions are not revealed, two revealers do not open, and one update alone is never opened."""
    members, opener = cohort
    values = values_of(entropy_of(3))
    contributions = {name: members[name].contribute(values[name]) for name in MEMBERS[:4]}
    for few in (dict(itertools.islice(contributions.items(), size)) for size in (0, 1, 2)):
        with pytest.raises(OwnFault, match="would show too much"):
            members["alfa"].reveal(few)
        with pytest.raises(OwnFault, match="would show too much"):
            opener.open_sum(few, {})
    revealed = {name: members[name].reveal(contributions) for name in MEMBERS[:2]}
    with pytest.raises(OwnFault, match="where 3 are needed"):
        opener.open_sum(contributions, revealed)


def test_each_word_is_said_once(cohort, entropy_of):
    """A second contribution is a two-time pad, a second reveal opens a difference: both are refused."""
    members, _ = cohort
    values = values_of(entropy_of(4))
    contributions = {name: members[name].contribute(values[name]) for name in MEMBERS}
    with pytest.raises(OwnFault, match="already done in this round: contribute"):
        members["alfa"].contribute(values["beta"])
    members["alfa"].reveal(contributions)
    with pytest.raises(OwnFault, match="already done in this round: reveal"):
        members["alfa"].reveal({name: contributions[name] for name in MEMBERS[:3]})


def test_a_contribution_hides_its_values(cohort):
    """Nothing of a vector of one value is seen: no word of it stands in the contribution, and two alike look different."""
    members, _ = cohort
    values = np.full(DIMENSION + 1, 0x00ABCDEF % 4_000_000, dtype=np.uint32)
    alfa, beta = (members[name].contribute(values) for name in ("alfa", "beta"))
    word = ring.to_bytes(values[:1])

    assert word not in alfa
    assert alfa[: 4 * DIMENSION] != beta[: 4 * DIMENSION]


def test_misshapen_contributions_name_their_sender(cohort, entropy_of):
    """Cut or longer, it is refused by members and by the aggregator, and its sender named."""
    members, opener = cohort
    values = values_of(entropy_of(5))
    contributions = {name: members[name].contribute(values[name]) for name in MEMBERS}
    revealed = {name: members[name].reveal(contributions) for name in MEMBERS[:3]}
    for body in (b"", contributions["delta"][:-1], contributions["delta"] + b"x"):
        spoiled = contributions | {"delta": body}
        with pytest.raises(PeerFault, match="by delta"):
            members["gamma"].reveal(spoiled)
        with pytest.raises(PeerFault, match="by delta"):
            opener.open_sum(spoiled, revealed)


def test_misshapen_reveals_name_their_sender(cohort, entropy_of):
    """What is too short or too long to be shares or partial decryptions accuses whoever revealed it."""
    members, opener = cohort
    values = values_of(entropy_of(6))
    contributions = {name: members[name].contribute(values[name]) for name in MEMBERS}
    revealed = {name: members[name].reveal(contributions) for name in MEMBERS[:3]}
    for body in (b"", revealed["beta"][:-1], revealed["beta"] + b"x"):
        with pytest.raises(PeerFault, match="by beta"):
            opener.open_sum(contributions, revealed | {"beta": body})


def test_a_wrong_reveal_does_not_pass(entropy_of, paillier_key, parameters):
    """Paillier names who decrypted wrongly; with masks the sum is noise and is refused as such."""
    params = parameters(dimension=DIMENSION)
    quiet = np.zeros(DIMENSION + 1, dtype=np.int64)
    for backend, setup in BACKENDS.items():
        entropy = entropy_of(backend)
        members, opener = setup(terms_of(), entropy, paillier_key(BITS, 3, 5))
        values = {name: encode_contribution(quiet, quiet, params) for name in MEMBERS}
        contributions = {name: members[name].contribute(values[name]) for name in MEMBERS}
        revealed = {name: members[name].reveal(contributions) for name in MEMBERS[:3]}
        changed = bytearray(revealed["beta"])
        changed[0] ^= 1
        with pytest.raises((PeerFault, UnusableSum), match="bad_partial by beta" if backend == "paillier" else "bad_sum"):
            decode_sum(opener.open_sum(contributions, revealed | {"beta": bytes(changed)}), params, 5)


def test_a_dealer_of_wrong_round_shares_is_named(entropy_of):
    """When it drops, the key that comes out of its shares is not the one it advertised."""
    terms = terms_of()
    entropy = entropy_of("liar")
    members, opener = masked(terms, entropy, None)
    impostor, _ = masked(terms, entropy, None)
    # The aggregator is told beta's keys of another set-up: what its shares rebuild does not match them.
    opener = MaskOpener(terms, {**{name: members[name].keys() for name in MEMBERS}, "beta": impostor["beta"].keys()})
    values = values_of(entropy_of(8))
    contributions = {name: members[name].contribute(values[name]) for name in MEMBERS if name != "beta"}
    revealed = {name: members[name].reveal(contributions) for name in contributions}
    with pytest.raises(PeerFault, match="bad_share by beta"):
        opener.open_sum(contributions, revealed)


def test_masked_members_keep_the_order_of_steps(entropy_of):
    """Shares come after all keys, a contribution after all shares."""
    terms = terms_of()
    members = {name: MaskedSum(name, terms, entropy=entropy_of(name)) for name in MEMBERS}
    advertised = {name: member.keys() for name, member in members.items()}
    values = np.zeros(DIMENSION + 1, dtype=np.uint32)
    alfa = members["alfa"]
    for incomplete in ({}, {**advertised, "alfa": advertised["beta"]}):
        with pytest.raises(OwnFault, match="come before shares"):
            alfa.deal(incomplete)
    with pytest.raises(OwnFault, match="after all shares"):
        alfa.contribute(values)
    alfa.deal(advertised)
    with pytest.raises(OwnFault, match="already done"):
        alfa.deal(advertised)
    with pytest.raises(OwnFault, match="after all shares"):
        alfa.contribute(values)
    with pytest.raises(OwnFault, match="one box from each peer"):
        alfa.accept({})


def test_a_vector_of_another_length_is_refused(cohort):
    """Both backends."""
    with pytest.raises(OwnFault, match="agreed length"):
        cohort[0]["alfa"].contribute(np.zeros(DIMENSION, dtype=np.uint32))


def test_strangers_take_no_part(cohort, entropy_of):
    """Neither as contributors nor as revealers."""
    members, opener = cohort
    values = values_of(entropy_of(9))
    contributions = {name: members[name].contribute(values[name]) for name in MEMBERS}
    revealed = {name: members[name].reveal(contributions) for name in MEMBERS[:3]}
    with pytest.raises(OwnFault, match="no member"):
        members["gamma"].reveal(contributions | {"zeta": b""})
    with pytest.raises(OwnFault, match="no member"):
        opener.open_sum(contributions, revealed | {"zeta": revealed["beta"]})


@pytest.mark.parametrize(
    "change",
    [
        {"members": ("a", "b")}, {"members": ("b", "a", "c")}, {"members": ("a", "a", "b")}, {"threshold": 1}, {"threshold": 6},
        {"length": 0}, {"members": tuple(f"{k:03}" for k in range(257))},
    ],
)  # fmt: skip
def test_impossible_terms_are_refused(change):
    """Too few or too many members, unsorted or repeated ones, a threshold of one."""
    with pytest.raises(OwnFault):
        terms_of(**change)


def test_terms_differ_in_every_field():
    """What proofs are bound to differs when any of the terms does."""
    changes = [
        {}, {"federation": "x"}, {"round_id": RoundId(Lane(HeadName.CREDIT), 2, 12)}, {"threshold": 4}, {"length": 9},
        {"model_digest": b"x" * 32}, {"ready_digest": b"x" * 32}, {"members": ("a", "b", "c")},
    ]  # fmt: skip

    assert len({terms_of(**change).context() for change in changes}) == len(changes)


def test_paillier_refuses_what_it_is_not_for(entropy_of, paillier_key):
    """Small keys outside tests, large models, another cohort's key, another member's share."""
    public, shares = paillier_key(BITS, 3, 5)
    entropy = entropy_of(0)
    with pytest.raises(OwnFault, match="512 bits where 3072"):
        PaillierSum("alfa", terms_of(), public, shares[0], entropy=entropy)
    with pytest.raises(OwnFault, match="512 bits where 3072"):
        PaillierOpener(terms_of(), public)
    PaillierOpener(terms_of(length=DIMENSION_MAX + 1), public, bits_min=BITS)
    for terms in (terms_of(length=DIMENSION_MAX + 2), terms_of(threshold=4), terms_of(members=MEMBERS[:4])):
        with pytest.raises(OwnFault, match=r"use masks|another cohort"):
            PaillierOpener(terms, public, bits_min=BITS)
    with pytest.raises(OwnFault, match="another member"):
        PaillierSum("alfa", terms_of(), public, shares[1], entropy=entropy, bits_min=BITS)
