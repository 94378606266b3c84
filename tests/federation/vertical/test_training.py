"""Two halves of a scorecard, trained apart: what comes out, what crosses, who is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.vertical import bank, partner
from federation.vertical.effects import Abandoned, Heard, Learned, PassSeen, Report, Table, Tick
from federation.vertical.fixed_point import PARTS, RESIDUAL_ERROR_MAX, RESIDUALS, SCORE_MAX, knots_of
from federation.vertical.phases import BANK_MOVES, PARTNER_MOVES, BankPhase, PartnerPhase, rendered
from federation.vertical.rehearsal import rehearse
from federation.vertical.saved import from_record, to_record
from federation.vertical.scorecard import Half, Lesson
from federation.vertical.tables import choice_of, residuals_for_partner, scores_for_bank
from federation.vertical.training import begun
from streams.codec import decode, encode
from tests.federation.vertical.conftest import ANSWER_BY_MS, Two, population, rows_of, seeded

HELD_OUT = 60


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def logistic(columns, labels, prior, ridge=1.0):
    """The scorecard on the joined table: logistic regression, to convergence."""
    columns = np.hstack([np.ones((len(columns), 1)), columns])
    held = np.full(columns.shape[1], ridge)
    held[0] = 1e-3
    weights = np.zeros(columns.shape[1])
    for _ in range(60):
        chance = sigmoid(prior + columns @ weights)
        curvature = columns.T @ (columns * (chance * (1 - chance))[:, None]) + np.diag(held)
        weights -= np.linalg.solve(curvature, columns.T @ (chance - labels) + held * weights)
    return prior + columns @ weights


def halves(two):
    return two.of("bank", Learned)[-1].half, two.of("partner", Learned)[-1].half


def scores(two, ours, theirs, prior=-1.0):
    mine, yours = halves(two)
    one = np.ones((len(ours), 1))
    return prior + np.hstack([one, ours]) @ mine.weights + np.hstack([one, theirs]) @ yours.weights


@pytest.fixture(scope="module")
def trained():
    """One training in the clear, for several tests to look at."""
    two = Two()
    ours, theirs, labels = population(300)
    two.train(ours, theirs, labels, held_out=HELD_OUT)
    return two, ours, theirs, labels


def test_apart_they_learn_what_one_table_would_teach(trained):
    """Every row's score is the joined logistic scorecard's, up to what the knots and sixteenths allow."""
    two, ours, theirs, labels = trained
    joined = logistic(np.hstack([ours, theirs])[:-HELD_OUT], labels[:-HELD_OUT], -1.0)

    found = scores(two, ours, theirs)[:-HELD_OUT]
    assert np.max(np.abs(sigmoid(found) - sigmoid(joined))) < 0.05
    assert np.corrcoef(found, joined)[0, 1] > 0.995


def test_the_loss_falls_and_the_training_ends_by_itself(trained):
    """The bank sees the held-out loss fall; both end with the same version, after the same pass."""
    two = trained[0]
    seen, mine, yours = two.of("bank", PassSeen), two.of("bank", Learned)[0], two.of("partner", Learned)[0]

    assert seen[0].loss > seen[-1].loss - 0.02
    assert (mine.version, mine.passes, mine.kept) == (yours.version, yours.passes, yours.kept)
    assert mine.passes < 30
    assert [step.number for step in seen] == list(range(1, mine.passes + 1))


def test_encryption_changes_nothing():
    """Another key, other blinding, other shuffles: bit for bit the same model."""
    made = []
    for seed in (1, 2):
        two = Two(seed=seed)
        two.train(*population(150), held_out=30, passes_max=2)
        made.append(halves(two))

    for one, other in zip(*made, strict=True):
        assert one.weights.any()
        assert np.array_equal(one.weights, other.weights)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_rehearsal_is_the_same_to_the_last_bit(hidden):
    """Without encryption: the oracle of the whole training, and what evaluations run."""
    ours, theirs, labels = population(150)
    coins = bytes(n % 3 == 0 for n in range(150)), bytes(n % 2 for n in range(150))
    two = Two()
    two.train(ours, theirs, labels, held_out=30, passes_max=4, bits=coins if hidden else None)
    mine, yours = coins if hidden else (b"", b"")
    bank_side = begun(
        Table(rows_of(ours), 8, 5, mine), Half.untaught(8, ridge=1.0), held_out=30, passes_max=4, labels=labels.tobytes(), offset=-1.0
    )
    rehearsed = rehearse(bank_side, begun(Table(rows_of(theirs), 7, 5, yours), Half.untaught(7, ridge=1.0), held_out=30, passes_max=4))

    for one, other in zip(halves(two), (rehearsed.bank, rehearsed.partner), strict=True):
        assert one.weights.any()
        assert np.array_equal(one.weights, other.weights)
        assert np.array_equal(one.precision, other.precision)
    assert [seen.loss for seen in two.of("bank", PassSeen)] == list(rehearsed.losses)


def test_no_plain_number_of_a_row_crosses(trained):
    """Of all messages only the refusals, counts and gains are in the clear; no ciphertext comes twice, and none holds a number as it stands."""
    two, ours, theirs, labels = trained
    mine, yours = halves(two)
    bodies = []
    for _, said in two.said_all:
        message = said.message
        fields = {name: getattr(message, name) for name in type(message).__slots__}
        clear = {name: value for name, value in fields.items() if not isinstance(value, bytes)}
        assert set(clear) <= {"purpose", "number", "gain", "finished", "kept", "version", "alignment", "held_out", "warm", "passes_max"}
        bodies += [value for name, value in fields.items() if isinstance(value, bytes) and name in {"ciphertexts", "values"}]
    size = 128
    pieces = [body[at : at + size] for body in bodies if len(body) % size == 0 for at in range(0, len(body), size)]
    told = b"".join(bodies)

    assert len(set(pieces)) == len(pieces) > 100
    for secret in (*mine.weights[mine.weights != 0].tolist(), *yours.weights[yours.weights != 0].tolist()):
        assert np.float64(secret).tobytes() not in told
    residuals = sigmoid(scores(two, ours, theirs)) - labels
    for residual in residuals[:50]:
        assert np.float64(residual).tobytes() not in told
        assert (2 * int(RESIDUALS.numbers(np.array([residual]))[0])).to_bytes(5, "little") not in bodies


def test_rare_columns_are_left_out():
    """A column of fewer rows than agreed gets no weight and no sum: its sum would be those rows' own residuals."""
    ours, theirs, labels = population(150)
    theirs[:, 0] = 0
    theirs[:4, 0] = 1
    two = Two()
    two.train(ours, theirs, labels, held_out=30, passes_max=1, rows_min=5)
    blinded = [said.message for sender, said in two.said_all if sender == "partner" and isinstance(said.message, m.SumsBlinded)]

    assert halves(two)[1].weights[1] == 0
    assert len(blinded[0].ciphertexts) // 128 == theirs.shape[1]  # The intercept is in, the rare column is not.


@pytest.mark.parametrize(("rows", "held_out"), [(8, 4), (40, 4), (40, 37)])
def test_too_few_rows_are_refused(two, rows, held_out):
    """Fewer rows than hide one: no training begins."""
    ours, theirs, labels = population(rows)
    with pytest.raises(OwnFault, match="there must be at least 5"):
        two.train(ours, theirs, labels, held_out=held_out)
    assert two.said == []


def test_the_partner_enforces_its_own_least_number(two):
    """It does not rely on the bank for that: its refusal ends the run on both sides, and is said."""
    ours, theirs, labels = population(60)
    own = two.own
    two.own = lambda message: replace(own(message), rows_min=40) if isinstance(message, m.TrainingAsked) else own(message)
    two.train(ours, theirs, labels, held_out=20)

    assert two.of("bank", Abandoned)[0].reason == "refused"
    assert "at least 40" in two.of("bank", Abandoned)[0].detail
    assert two.states["partner"].phase is PartnerPhase.IDLE


def test_a_hidden_alignment_trains_on_the_shared_rows_alone():
    """With one bit of each row here and one there, the model is that of the rows where they differ."""
    ours, theirs, labels = population(260)
    rng = np.random.Generator(np.random.PCG64(8))
    same = rng.random(260) < 0.7
    coins = rng.integers(0, 2, 260)
    two = Two()
    two.train(ours, theirs, labels, held_out=40, bits=(bytes(coins.tolist()), bytes((coins ^ same).tolist())), passes_max=25)
    taught = np.flatnonzero(same[:220])
    joined = logistic(np.hstack([ours, theirs])[taught], labels[taught], -1.0)

    assert np.max(np.abs(sigmoid(scores(two, ours, theirs)[taught]) - sigmoid(joined))) < 0.08


def test_a_warm_training_goes_on_from_what_was_learned():
    """More rows of the same kind move a taught model little; version and metric come from the training before."""
    two = Two()
    everybody = population(280)
    two.train(*(part[:200] for part in everybody), held_out=40)
    first, version = halves(two)[0], two.states["bank"].version
    two.train(*(part[200:] for part in everybody), held_out=20, run=9, warm=True)
    second = halves(two)[0]

    assert version == 2
    assert two.states["bank"].version == two.states["partner"].version == 9
    assert np.max(np.abs(second.weights - first.weights)) < 0.5
    assert np.trace(second.precision) > np.trace(first.precision)
    two.states["partner"] = replace(two.states["partner"], version=8)
    two.train(*population(80), held_out=20, run=10, warm=True)
    assert "is not the scorecard at hand" in two.of("bank", Abandoned)[-1].detail


# --- crashes ----------------------------------------------------------------------------------------------------
class Forgetful(Two):
    """After each step both parties are rebuilt from their saved records, as after a crash."""

    def step(self, name, event):
        super().step(name, event)
        state = self.states[name]
        value = encode(to_record(state))
        phases = BankPhase if name == "bank" else PartnerPhase
        self.states[name] = from_record(state.parties, phases, decode(value, (m.VerticalSaved,), 1 << 26))


def test_a_saved_state_goes_on_to_the_same_model():
    """Saved and read again after every single step, hidden and shown: the same bits as without."""
    ours, theirs, labels = population(150)
    coins = bytes(n % 2 for n in range(150))
    for bits in (None, (coins, bytes(150))):
        models = []
        for kind in (Two, Forgetful):
            two = kind()
            two.train(ours, theirs, labels, held_out=30, passes_max=2, bits=bits)
            models.append(halves(two))
        for one, other in zip(*models, strict=True):
            assert one.weights.any()
            assert np.array_equal(one.weights, other.weights)
            assert np.array_equal(one.precision, other.precision)
    for policy in m.OverlapPolicy:
        two = Forgetful()
        two.intersect(["a", "b"], ["b", "c"], policy, length=3)
        assert two.states["bank"].phase is BankPhase.IDLE


def test_no_secret_is_in_what_prints_itself(trained):
    """States, trainings and effects say their sizes, not their weights, primes or names."""
    two = trained[0]
    text = repr(two.states) + repr(two.effects)
    for secret in (str(halves(two)[0].weights[1]), "starts", "precision"):
        assert secret not in text


# --- who is named -----------------------------------------------------------------------------------------------
def flipped(body, size=128):
    """One bit of each ciphertext."""
    return b"".join(bytes([body[at] ^ 1]) + body[at + 1 : at + size] for at in range(0, len(body), size))


BENDS = {
    "bad_ciphertext in a table": (
        "partner", m.NumbersEncrypted, lambda s: replace(s, ciphertexts=b"\xff" * len(s.ciphertexts)), "bad_ciphertext"),
    "a table cut short": ("bank", m.NumbersEncrypted, lambda s: replace(s, ciphertexts=s.ciphertexts[:-1]), "bad_ciphertext"),
    "a gain that is no number": ("partner", m.NumbersEncrypted, lambda s: replace(s, gain=float("nan")), "bad_table"),
    "another pass": ("bank", m.NumbersEncrypted, lambda s: replace(s, number=s.number + 1), "out_of_step"),
    "another purpose": ("partner", m.NumbersEncrypted, lambda s: replace(s, purpose=m.TablePurpose.RESIDUALS), "out_of_step"),
    "sums cut short": ("bank", m.SumsBlinded, lambda s: replace(s, ciphertexts=s.ciphertexts[:-1]), "bad_ciphertext"),
    "sums that are no units": ("partner", m.SumsBlinded, lambda s: replace(s, ciphertexts=bytes(len(s.ciphertexts))), "bad_ciphertext"),
    "opened sums beyond their columns": ("partner", m.SumsOpened, lambda s: replace(s, values=b"\xff" * len(s.values)), "bad_sum"),
    "opened sums of too few columns": ("bank", m.SumsOpened, lambda s: replace(s, values=s.values[5:]), "bad_sum"),
    "a small key": ("bank", m.TrainingAsked, lambda s: replace(s, modulus=s.modulus[:-8]), "bad_key"),
    "a key of nothing": ("partner", m.TrainingAccepted, lambda s: replace(s, hiding_base=bytes(len(s.hiding_base))), "bad_key"),
    "the end of another pass": ("bank", m.PassEnded, lambda s: replace(s, number=s.number + 1), "out_of_step"),
    "keeping a pass that was not": ("bank", m.PassEnded, lambda s: replace(s, kept=7), "out_of_step"),
}  # fmt: skip


@pytest.mark.parametrize("name", BENDS)
def test_bent_messages_are_refused_and_attributed(two, name):
    """Flipped, cut, out of range or out of turn: the sender is named by kind, the run ends, no model comes of it."""
    sender, kind, bend, fault = BENDS[name]
    two.twist = lambda who, said: [bend(said.message) if who == sender and isinstance(said.message, kind) else said.message]
    two.train(*population(60), held_out=20, passes_max=2)
    hearer = "partner" if sender == "bank" else "bank"
    report = two.of(hearer, Report)[0]

    assert (report.kind, report.accused) == (fault, sender)
    assert two.states["bank"].phase is BankPhase.IDLE
    assert two.states["partner"].phase is PartnerPhase.IDLE
    assert two.of("bank", Learned) == two.of("partner", Learned) == []
    assert two.of(sender, Abandoned)[0].reason == "fault"


def test_flipped_ciphertexts_are_noticed(two):
    """One bit of each ciphertext of a table: what it opens to is far beyond a column's sum, almost surely."""
    two.twist = lambda who, said: [
        replace(said.message, ciphertexts=flipped(said.message.ciphertexts))
        if who == "partner" and isinstance(said.message, m.NumbersEncrypted)
        else said.message
    ]
    two.train(*population(60), held_out=20, passes_max=1)

    assert two.of("bank", Learned) == []
    assert two.of("bank", Report)[0].accused == "partner"


def test_what_was_heard_before_is_not_heard_again(two):
    """Every message three times: the duplicates change nothing and are nobody's fault."""
    two.twist = lambda _who, said: [said.message] * 3
    two.train(*population(60), held_out=20, passes_max=2)
    alone = Two()
    alone.train(*population(60), held_out=20, passes_max=2)

    assert two.of("bank", Report) == two.of("partner", Report) == two.of("bank", PeerFault) == two.of("partner", PeerFault) == []
    assert np.array_equal(halves(two)[1].weights, halves(alone)[1].weights)


def test_a_message_of_an_older_run_is_stale(trained):
    """A replayed opening or table of a run that is over is refused, and changes nothing."""
    two = trained[0]
    for name, sender in (("partner", "bank"), ("bank", "partner")):
        old = next(said for who, said in two.said_all if who == sender)
        state = two.states[name]
        with pytest.raises(PeerFault, match="stale by"):
            two.step(name, Heard(old.run - 1, 1, old.message))
        with pytest.raises(PeerFault, match="out_of_order by"):
            two.step(name, Heard(old.run, 999, old.message))
        assert two.states[name] is state


def test_absent_moves_are_refused(two):
    """Every message that the table does not permit in a phase names its sender and changes nothing."""
    example = {
        m.IntersectionAnswered: m.IntersectionAnswered(raised=b"", own=b""),
        m.SumsOpened: m.SumsOpened(purpose=m.TablePurpose.LOSS, number=1, values=b""),
        m.PassEnded: m.PassEnded(number=1, finished=True, kept=1, version=1),
        m.IntersectionClosed: m.IntersectionClosed(shared=0, positions=b"", bits_key=b"", bits=b""),
        m.NumbersEncrypted: m.NumbersEncrypted(purpose=m.TablePurpose.LOSS, number=1, gain=0.0, ciphertexts=b""),
    }
    for name, moves, phases in (("bank", BANK_MOVES, BankPhase), ("partner", PARTNER_MOVES, PartnerPhase)):
        for phase in phases:
            state = replace(two.states[name], phase=phase, run=5, heard=1)
            for kind, message in example.items():
                if kind not in moves[phase]:
                    with pytest.raises(PeerFault, match="out_of_phase"):
                        stepped(name, state, Heard(5, 2, message))
    with pytest.raises(PeerFault, match="begins no run"):
        stepped("partner", two.states["partner"], Heard(1, 1, example[m.PassEnded]))
    assert rendered() in (Path(__file__).parents[3] / "docs" / "vertical.md").read_text()


def stepped(name, state, event):
    if name == "bank":
        return bank.step(state, event, entropy=seeded(1), answer_by_ms=ANSWER_BY_MS)
    return partner.step(state, event, entropy=seeded(1), answer_by_ms=ANSWER_BY_MS, ridge=1.0)


@pytest.mark.parametrize("silent", ["bank", "partner"])
def test_a_deadline_ends_the_run(two, silent):
    """Whoever waits in vain says so, and both are idle again; the scorecard stays what it was."""
    spoken = []

    def twist(who, said):
        spoken.append(who)
        return [] if who == silent and spoken.count(silent) == 3 else [said.message]

    two.twist = twist
    two.train(*population(60), held_out=20)
    waiting = "partner" if silent == "bank" else "bank"
    two.step(waiting, Tick(ANSWER_BY_MS - 1))
    assert two.of(waiting, Abandoned) == []
    two.twist = lambda _who, said: [said.message]
    two.step(waiting, Tick(ANSWER_BY_MS))
    two.run()

    assert [effect.reason for effect in two.of(waiting, Abandoned)] == ["deadline"]
    assert two.states[waiting].phase.name == "IDLE"
    assert two.states[waiting].version == 0


def test_a_new_run_takes_the_place_of_one_that_hangs(two):
    """A bank that lost its state begins anew, with a higher number: the partner lets the old run go."""
    two.twist = lambda who, said: [] if who == "partner" else [said.message]
    two.train(*population(60), held_out=20, run=2)
    two.states["bank"] = replace(two.states["bank"], phase=BankPhase.IDLE, work=None)
    two.twist = lambda _who, said: [said.message]
    two.train(*population(60), held_out=20, run=3, passes_max=1)

    assert [effect.reason for effect in two.of("partner", Abandoned)] == ["stale"]
    assert len(two.of("bank", Learned)) == 1
    with pytest.raises(OwnFault, match="no run can begin"):
        two.train(*population(60), held_out=20, run=3)


# --- tables and steps -------------------------------------------------------------------------------------------
def test_the_tables_give_the_residual_within_the_stated_error():
    """Over all pairs of half scores: what the chooser takes is sigma(score) - label."""
    rng = np.random.Generator(np.random.PCG64(4))
    ours, theirs = rng.uniform(-SCORE_MAX, SCORE_MAX, 4000), rng.uniform(-SCORE_MAX, SCORE_MAX, 4000)
    labels = (rng.random(4000) < 0.5).astype(float)
    rows = np.arange(4000)
    for numbers, choice, offset in (
        (residuals_for_partner(ours, labels, None), choice_of(theirs, labels=None, bits=None), labels),
        (scores_for_bank(theirs, None), choice_of(ours, labels=None, bits=None), 0.0),
    ):
        taken = ((PARTS - choice.above) * numbers[choice.low, rows] + choice.above * numbers[choice.low + 1, rows]) / PARTS
        error = taken / RESIDUALS.per_unit - RESIDUALS.shift + offset - sigmoid(ours + theirs)
        assert np.max(np.abs(error)) <= RESIDUAL_ERROR_MAX
        assert abs(error.mean()) < 0.001
    for beyond in (SCORE_MAX + 0.001, float("nan")):
        with pytest.raises(OwnFault, match="beyond"):
            knots_of(np.array([beyond]))


def test_a_step_is_shortened_until_the_scores_fit():
    """A column that is all defaults would be given any weight: the step stays within the table, and still lowers the loss."""
    columns = np.ones((50, 1))
    rows = rows_of(columns)
    lesson = Lesson.of(Half.untaught(2, ridge=1e-6), rows, rows_min=5)
    weights = np.zeros(2)
    for _ in range(40):
        weights, gain = lesson.step(weights, np.array([-40.0, -40.0]), rows, -3.0)
        assert gain > 0
        assert weights.sum() - 3.0 <= SCORE_MAX
    with pytest.raises(OwnFault, match="at least 60 rows"):
        Lesson.of(Half.untaught(2, ridge=1.0), rows, rows_min=60)
