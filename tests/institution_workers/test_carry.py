"""What clipping cuts off a contribution stays with its institution."""

from __future__ import annotations

import numpy as np

from federation.heads.head import INTERCEPT, Layout
from federation.messages import HeadName, RoundParameters
from institution_workers.preparation import prepare
from institution_workers.pupil import Basis, Pupil
from tests.institution_workers.world import World

LAYOUT = Layout(HeadName.FRAUD, 1, (INTERCEPT, *(f"f{n}=v" for n in range(1, 9))))


def _parameters(clip_norm):
    return RoundParameters(
        dimension=len(LAYOUT), layout_digest=LAYOUT.digest, clip_norm=clip_norm, scale=65536.0, noise_sigma=0.0, examples_max=10,
        chunk_length=64,
    )  # fmt: skip


def _entropy(count):
    return bytes(n % 251 for n in range(count))


def _round(clip_norm):
    """A pupil that has learned, contributed and rested on the model that says just what it contributed; and what it knew before."""
    pupil = Pupil.new(LAYOUT, learning_rate=0.5)
    for number in range(20):
        pupil.teach((1 + number % 8,), positive=True)
        pupil.count_example()
    knew = pupil.federated.to_vector()
    delta, examples = pupil.contribute(1, 1)
    made = prepare(delta, examples, _parameters(clip_norm), honest_survivors=3, entropy=_entropy)
    pupil.contributed = pupil.base + made.said
    pupil.acknowledge(1, 1, included=True)
    pupil.adopt(made.said, Basis(1, 1, 1))
    return pupil, knew, made


def test_a_clipped_update_is_said_within_the_norm():
    """What is said has the clip norm; direction is kept."""
    _, knew, made = _round(0.25)

    assert made.was_clipped
    assert np.linalg.norm(made.said) <= 0.25
    assert np.allclose(made.said / np.linalg.norm(made.said), knew / np.linalg.norm(knew))


def test_what_was_cut_off_is_kept_and_said_later():
    """Alone in its federation, a clipped institution forgets nothing: the model and the rest are what it knew."""
    pupil, knew, made = _round(0.25)
    again, _ = pupil.contribute(1, 2)

    assert np.allclose(pupil.federated.to_vector(), knew, atol=1e-12)
    assert np.allclose(again, knew - made.said, atol=1e-12)


def test_an_update_within_the_norm_is_said_whole():
    """Nothing is left to say twice."""
    pupil, _, made = _round(10.0)

    assert not made.was_clipped
    assert np.allclose(pupil.contribute(1, 2)[0], 0.0, atol=1e-12)


async def test_a_participant_keeps_what_its_contribution_did_not_say(tmp_path, clock, encoders, scribe):
    """In a real round of a narrow norm, a bank rests on the new model and still knows nearly all it knew."""
    world = World(tmp_path, clock, encoders, clip_norm=0.01)
    await world.certify()
    bank = world.banks["bank-a"]
    bank.learn(scribe, 20, positive=True)
    knew = bank.pupil.federated.to_vector()
    await world.rounds(1)
    kept = bank.pupil.federated.to_vector() - bank.pupil.base
    for each in world.banks.values():
        each.stop()

    assert bank.pupil.basis.version == 1
    assert np.linalg.norm(bank.pupil.base) > 0
    assert np.linalg.norm(knew - kept) < 0.1 * np.linalg.norm(knew)
    assert not np.array_equal(knew, kept)
