"""Chunk sums: exactly the terms asked for, whatever the order, repetition, lateness or a restart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator_worker.chunk_sums import ChunkSums, Missing, opener
from federation.errors import PeerFault
from federation.ids import ZERO_DIGEST, digest_of
from federation.messages import ChunkSummed, HeadName, MaskedChunk, SumRequested, SumTerm
from federation.rounds.effects import Report
from federation.secagg import ring, sealing
from federation.secagg.keys import Secret, x25519_public

SECRET = Secret(b"\x07" * 32)
LENGTH = 6


def vector(institution: str, round_: int = 1, twist: int = 0, length: int = LENGTH) -> np.ndarray:
    seed = int.from_bytes(digest_of(f"{institution}/{round_}/{twist}".encode())[:4], "little")
    return np.random.default_rng(seed).integers(0, 1 << 32, length, dtype=np.uint32)


def chunk(institution: str, round_: int = 1, twist: int = 0, length: int = LENGTH) -> MaskedChunk:
    body = sealing.seal(
        ring.to_bytes(vector(institution, round_, twist, length)),
        x25519_public(SECRET),
        entropy=lambda n: b"\x05" * (n - 1) + bytes([1 + twist]),
    )
    return MaskedChunk(head=HeadName.CREDIT, group=0, epoch=1, round=round_, institution=institution, chunk=0, chunks=1, body=body)


def request(*chunks: MaskedChunk, round_: int = 1, length: int = LENGTH) -> SumRequested:
    terms = tuple(SumTerm(institution=c.institution, chunk_digest=digest_of(c.body)) for c in sorted(chunks, key=lambda c: c.institution))
    return SumRequested(
        head=HeadName.CREDIT, group=0, epoch=1, round=round_, chunk=0, length=length,
        survivors_digest=ZERO_DIGEST, terms=terms, opened_at_ms=0,
    )  # fmt: skip


def summed(outcome: object) -> np.ndarray:
    assert isinstance(outcome, ChunkSummed), outcome
    return np.frombuffer(outcome.body, dtype="<u4")


def plain(*institutions: str, round_: int = 1) -> np.ndarray:
    total = np.zeros(LENGTH, dtype=np.uint32)
    for institution in institutions:
        total += vector(institution, round_)
    return total


def arrive(sums: ChunkSums, chunk: MaskedChunk, offset: int) -> tuple[ChunkSummed | Report, ...]:
    return sums.arrive(chunk, digest_of(chunk.body), offset)


@pytest.fixture
def sums() -> ChunkSums:
    return ChunkSums(opener(lambda: (SECRET,)))


def test_all_arrive_then_are_asked_for(sums: ChunkSums) -> None:
    """Three pieces that arrived are answered at once with their sum modulo 2^32."""
    for offset, name in enumerate("ABC"):
        assert arrive(sums, chunk(name), offset) == ()

    assert (plain("A", "B", "C") == summed(sums.request(request(*map(chunk, "ABC"))))).all()


def test_duplicates_count_once(sums: ChunkSums) -> None:
    """A piece delivered again, at its own offset or appended twice, is in the sum once and nobody is accused."""
    for offset, name in enumerate("ABBA"):
        assert arrive(sums, chunk(name), offset) == ()
    arrive(sums, chunk("A"), 0)

    assert (plain("A", "B") == summed(sums.request(request(*map(chunk, "AB"))))).all()
    assert arrive(sums, chunk("A"), 0) == ()


def test_a_request_waits_for_the_last_piece(sums: ChunkSums) -> None:
    """Asked before all have arrived, the sum comes with the last arrival and not before."""
    arrive(sums, chunk("A"), 0)
    asked = request(*map(chunk, "ABC"))

    assert Missing((), frozenset(asked.terms[1:])) == sums.request(asked)
    assert arrive(sums, chunk("C"), 1) == ()
    assert (plain("A", "B", "C") == summed(arrive(sums, chunk("B"), 2)[0])).all()


def test_who_is_not_asked_for_is_subtracted(sums: ChunkSums) -> None:
    """A piece that came but did not survive is named by offset, read again, and gone from the sum."""
    for offset, name in enumerate("ABC"):
        arrive(sums, chunk(name), offset)
    missing = sums.request(request(*map(chunk, "AC")))

    assert Missing((1,), frozenset()) == missing
    assert (plain("A", "C") == summed(arrive(sums, chunk("B"), 1)[0])).all()


def test_late_pieces_change_nothing(sums: ChunkSums) -> None:
    """What arrives after the request and is not asked for is not added; the same request is answered the same again."""
    arrive(sums, chunk("A"), 0)
    first = summed(sums.request(request(chunk("A"))))

    assert arrive(sums, chunk("B"), 1) == ()
    assert (first == summed(sums.request(request(chunk("A"))))).all()


def test_two_bodies_under_one_name_are_reported_and_the_named_one_counts(sums: ChunkSums) -> None:
    """The second body is misbehaviour; the sum takes the one whose digest the update declared."""
    arrive(sums, chunk("A"), 0)
    arrive(sums, chunk("B"), 1)
    (report,) = arrive(sums, chunk("B", twist=1), 2)

    assert isinstance(report, Report)
    assert (report.kind, report.accused) == ("contradicting_chunk", "B")

    missing = sums.request(request(chunk("A"), chunk("B", twist=1)))
    assert isinstance(missing, Missing)
    assert missing.surplus == (1,)
    arrive(sums, chunk("B"), 1)
    outcomes = arrive(sums, chunk("B", twist=1), 2)

    assert (plain("A") + vector("B", twist=1) == summed(outcomes[-1])).all()


def test_after_a_restart_everything_is_wanted(sums: ChunkSums) -> None:
    """A new owner that saw nothing names every term, and sums what is read again."""
    asked = request(*map(chunk, "AB"))

    assert Missing((), frozenset(asked.terms)) == sums.request(asked)
    arrive(sums, chunk("B"), 1)
    assert (plain("A", "B") == summed(arrive(sums, chunk("A"), 0)[0])).all()


def test_an_odd_length_first_does_not_spoil_the_round(sums: ChunkSums) -> None:
    """A member whose body has another length is neither added nor able to have honest ones refused."""
    arrive(sums, chunk("X", length=LENGTH + 1), 0)
    arrive(sums, chunk("A"), 1)
    missing = sums.request(request(chunk("A"), chunk("B")))

    assert isinstance(missing, Missing)
    assert missing.surplus == ()
    arrive(sums, chunk("A"), 1)
    assert (plain("A", "B") == summed(arrive(sums, chunk("B"), 2)[0])).all()


def test_a_declared_body_of_another_length_accuses_its_author(sums: ChunkSums) -> None:
    """Asked for by digest but of the wrong length: refused, by name."""
    odd = chunk("X", length=LENGTH - 1)
    sums.request(request(odd))

    with pytest.raises(PeerFault, match="bad_length by X"):
        arrive(sums, odd, 0)


def test_a_body_that_does_not_open_is_refused_and_changes_nothing(sums: ChunkSums) -> None:
    """Garbage in place of a sealed body accuses its sender; the honest body is still welcome."""
    broken = MaskedChunk(
        head=HeadName.CREDIT, group=0, epoch=1, round=1, institution="A", chunk=0, chunks=1, body=b"\x05" * (LENGTH * 4 + 48)
    )
    with pytest.raises(PeerFault, match="bad_seal by A"):
        arrive(sums, broken, 0)

    assert arrive(sums, chunk("A"), 1) == ()
    assert (plain("A") == summed(sums.request(request(chunk("A"))))).all()


def test_a_newer_round_forgets_the_older(sums: ChunkSums) -> None:
    """Asking for round 2 drops round 1 of the same lane's chunk."""
    arrive(sums, chunk("A"), 0)
    sums.request(request(chunk("A")))
    arrive(sums, chunk("A", round_=2), 1)
    sums.request(request(chunk("A", round_=2), round_=2))

    assert len(sums._sums) == 1


def test_memory_is_bounded_whatever_rounds_are_named() -> None:
    """A member naming a thousand rounds fills no more than the bound, and evicts nothing that cannot be read again."""
    sums = ChunkSums(opener(lambda: (SECRET,)), sums_kept=8)
    for round_ in range(1, 1000):
        arrive(sums, chunk("X", round_=round_), round_)

    assert len(sums._sums) == 8


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.data())
def test_any_history_gives_the_plain_sum(data: st.DataObject) -> None:
    """Arrivals in any order, repeated, contradicted, before or after a request, through a restart: the exact sum of the terms."""
    names = "ABCDE"
    log = [
        chunk(name, twist=twist)
        for name, twist in data.draw(st.lists(st.tuples(st.sampled_from(names), st.integers(0, 1)), min_size=1, max_size=12))
    ]
    log += [chunk(name) for name in names]
    survivors = data.draw(st.lists(st.sampled_from(names), unique=True, min_size=1))
    asked = request(*map(chunk, survivors))
    asked_at = data.draw(st.integers(0, len(log)))
    sums = ChunkSums(opener(lambda: (SECRET,)))
    answers: list[ChunkSummed] = []
    for offset in range(data.draw(st.integers(0, len(log))), len(log)):
        if offset == asked_at:
            outcome = sums.request(asked)
            answers += [outcome] if isinstance(outcome, ChunkSummed) else []
        answers += [o for o in arrive(sums, log[offset], offset) if isinstance(o, ChunkSummed)]
    missing = sums.request(asked)
    if isinstance(missing, Missing):
        for offset in data.draw(st.permutations(range(len(log)))):
            answers += [o for o in arrive(sums, log[offset], offset) if isinstance(o, ChunkSummed)]
    else:
        answers.append(missing)

    assert answers
    assert all((plain(*survivors) == summed(answer)).all() for answer in answers)
