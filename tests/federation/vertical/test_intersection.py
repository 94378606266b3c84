"""Which customers two parties share, and what crosses while they find out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation import messages as m
from federation.errors import OwnFault, PeerFault
from federation.vertical import intersection as psi
from federation.vertical.effects import Aligned
from federation.vertical.ristretto import hashed, is_point, points_in, raised, secret_scalar
from tests.federation.vertical.conftest import Two, seeded

SHOWN, COUNTED, HIDDEN = m.OverlapPolicy
CONTEXT = psi.run_context("fed", "bank", "partner", 1)
NAMES = st.lists(st.sampled_from([f"p{n}" for n in range(12)]), min_size=1, max_size=12, unique=True)


def aligned(two):
    (ours,), (theirs,) = two.of("bank", Aligned), two.of("partner", Aligned)
    return ours, theirs


@settings(derandomize=True, deadline=None, max_examples=25)
@given(NAMES, NAMES)
def test_the_shared_are_those_in_both_lists(ours, theirs):
    """Shown: both sides have the same rows of the same people. Counted: how many, and no name."""
    shared = set(ours) & set(theirs)
    for policy in (SHOWN, COUNTED):
        two = Two()
        two.intersect(ours, theirs, policy)
        mine, yours = aligned(two)

        assert mine.shared == yours.shared == len(shared)
        assert mine.names == yours.names
        assert set(mine.names) == (shared if policy is SHOWN else set())


@settings(derandomize=True, deadline=None, max_examples=15)
@given(NAMES, NAMES)
def test_the_hidden_outcome_is_in_neither_half(ours, theirs):
    """Row by row, bank's bit xor partner's says whether it is one person; the partner's bits are coins of its own."""
    two = Two()
    two.intersect(ours, theirs, HIDDEN, length=12)
    mine, yours = aligned(two)

    assert len(mine.names) == len(yours.names) == len(mine.bits) == len(yours.bits) == 12
    assert {name for name in mine.names if not name.startswith("\0")} == set(ours)
    for our_name, their_name, our_bit, their_bit in zip(mine.names, yours.names, mine.bits, yours.bits, strict=True):
        assert (our_name == their_name) == bool(our_bit ^ their_bit)
    again = Two(seed=2)
    again.intersect(ours, theirs, HIDDEN, length=12)
    assert aligned(again)[0].bits != mine.bits or aligned(again)[1].bits != yours.bits


def test_neither_half_of_the_hidden_bits_tells_the_outcome():
    """Over many rows both halves are balanced among the shared as among the others."""
    two = Two()
    ours, theirs = [f"p{n}" for n in range(400)], [f"p{n}" for n in range(200, 600)]
    two.intersect(ours, theirs, HIDDEN, length=400)
    mine, yours = aligned(two)
    for side in (mine, yours):
        for shared in (False, True):
            bits = [bit for bit, one, other in zip(side.bits, mine.names, yours.names, strict=True) if (one == other) == shared]
            assert len(bits) == 200
            assert 60 < sum(bits) < 140


def test_what_crosses_are_fresh_points():
    """No name, no bare hash of one, no point twice in two runs; the bank's secret is another each time."""
    ours, theirs = ["anna", "bela"], ["bela", "carl"]
    seen = set()
    for run in (1, 2):
        two = Two(seed=run)
        two.intersect(ours, theirs, SHOWN, run=run)
        asked, answered, closed = (said.message for _, said in two.said_all)
        points = [body[at : at + 32] for body in (asked.points, answered.raised, answered.own) for at in range(0, len(body), 32)]
        bare = set(hashed([name.encode() for name in ours + theirs], psi.run_context("fed", "bank", "partner", run)))

        assert all(is_point(point) for point in points)
        assert bare.isdisjoint(points)
        assert seen.isdisjoint(points)
        assert closed.positions in {(0).to_bytes(4, "little"), (1).to_bytes(4, "little")}
        seen |= set(points)


def test_the_orders_are_drawn():
    """A list's order tells nothing: neither side sends its names in the order it has them, and counted answers are shuffled."""
    names = [f"p{n}" for n in range(50)]
    asking, points = psi.ask(names, CONTEXT, entropy=seeded("a"))
    answer = psi.answer(points, names, CONTEXT, policy=COUNTED, most=50, entropy=seeded("b"), accused="bank")
    shown = psi.answer(points, names, CONTEXT, policy=SHOWN, most=50, entropy=seeded("b"), accused="bank")

    assert sorted(asking.names) == sorted(answer.names) == sorted(names)
    assert list(asking.names) != names
    assert list(answer.names) != names
    assert sorted(answer.asked_at) == list(range(50)) != list(answer.asked_at)
    assert list(shown.asked_at) == list(range(50))


@pytest.mark.parametrize(
    "points",
    [b"", b"x" * 31, bytes(32), b"\xff" * 32, b"\x01" + bytes(31), b"x" * 33, 2 * hashed([b"a"], b"c")[0], hashed([b"a"], b"c")[0] * 2],
)
def test_what_is_no_list_of_points_accuses_the_bank(points):
    """Another length, the identity, an encoding that is not canonical, the same point twice: the run ends, the bank is named."""
    with pytest.raises(PeerFault, match="by bank") as fault:
        psi.answer(points, ["a"], CONTEXT, policy=SHOWN, most=9, entropy=seeded(1), accused="bank")
    assert fault.value.kind in {"bad_points", "bad_point"}


def test_longer_lists_than_allowed_are_refused():
    """The partner's cap holds before anything is computed."""
    _, points = psi.ask(["a", "b", "c"], CONTEXT, entropy=seeded(1))
    with pytest.raises(PeerFault, match="bad_points by bank"):
        psi.answer(points, ["a"], CONTEXT, policy=SHOWN, most=2, entropy=seeded(1), accused="bank")
    for names in ([], ["a", "a"]):
        with pytest.raises(OwnFault, match="different names"):
            psi.ask(names, CONTEXT, entropy=seeded(1))


@pytest.mark.parametrize(
    ("says", "bend", "accused"),
    [
        (m.IntersectionAnswered, lambda s: m.IntersectionAnswered(raised=s.raised[32:], own=s.own), "partner"),
        (m.IntersectionAnswered, lambda s: m.IntersectionAnswered(raised=s.raised, own=s.own[:-1]), "partner"),
        (m.IntersectionAnswered, lambda s: m.IntersectionAnswered(raised=s.raised, own=s.raised[:32] * 2), "partner"),
        (m.IntersectionClosed, lambda s: m.IntersectionClosed(shared=s.shared + 1, positions=s.positions, bits_key=b"", bits=b""), "bank"),
        (m.IntersectionClosed, lambda s: m.IntersectionClosed(shared=s.shared, positions=b"\xff" * 4, bits_key=b"", bits=b""), "bank"),
        (m.IntersectionClosed, lambda s: m.IntersectionClosed(shared=s.shared, positions=s.positions[:-1], bits_key=b"", bits=b""), "bank"),
        (m.IntersectionClosed, lambda s: m.IntersectionClosed(shared=2, positions=s.positions[:4] * 2, bits_key=b"", bits=b""), "bank"),
    ],
)
def test_bent_answers_are_refused_and_attributed(two, says, bend, accused):
    """Whoever sends what cannot be is named, the run ends on both sides, nobody is aligned."""
    two.twist = lambda _sender, said: [bend(said.message) if isinstance(said.message, says) else said.message]
    two.intersect(["a", "b", "c"], ["b", "c", "d"], SHOWN)
    hearer = "bank" if accused == "partner" else "partner"

    assert [report.accused for report in two.of(hearer, two.report)] == [accused]
    assert two.of(hearer, Aligned) == []
    assert two.states[hearer].phase.name == "IDLE"


@pytest.mark.parametrize("bits", [lambda b: b[:-1], lambda b: b[32:] + b[:32], lambda b: b[:32] + b"\xff" * 32 + b[64:]])
def test_bent_bits_are_refused(two, bits):
    """A ciphertext that holds no bit, or is none, ends the run and names the partner."""
    two.twist = lambda _sender, said: [
        m.MembershipMasked(bits=bits(said.message.bits)) if isinstance(said.message, m.MembershipMasked) else said.message
    ]
    two.intersect(["a", "b"], ["b", "c"], HIDDEN, length=4)

    assert [(report.kind, report.accused) for report in two.of("bank", two.report)] == [("bad_bits", "partner")]
    assert two.of("bank", Aligned) == []


def test_hidden_lists_of_two_lengths_are_refused(two):
    """Whom the bank leaves unassigned would be known not to be shared: the partner's longer list ends the run."""
    two.intersect(["a", "b"], ["b", "c", "d"], HIDDEN, length=2)

    assert two.of("partner", Aligned) == two.of("bank", Aligned) == []
    assert "3 names where the list is to have 2" in two.of("bank", two.abandoned)[0].detail


def test_points_are_raised_as_exponents_commute():
    """A (b P) = b (a P), and a secret never shows."""
    a, b = secret_scalar(seeded("a")), secret_scalar(seeded("b"))
    points = hashed([b"x", b"y"], CONTEXT)

    assert raised(raised(points, a, accused=""), b, accused="") == raised(raised(points, b, accused=""), a, accused="")
    assert points_in(b"".join(points), most=2, accused="x") == points
    assert repr(a) == "Secret(32 bytes)"
