"""The aggregator as it is run, on a real broker: rounds, kills, two workers, a clean stop."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from federation import messages as m
from riverbank.embedded.kafka import EmbeddedKafka
from tests.aggregator_worker.troupe import Troupe

pytestmark = [pytest.mark.broker]
NAMES = ("ash", "birch", "cedar", "doum")
DIMENSION = 70_000  # Two chunks, of two partitions.


@pytest_asyncio.fixture
async def troupe(tmp_path: Path) -> AsyncIterator[Troupe]:
    """A broker of its own: the topics' names are fixed."""
    async with EmbeddedKafka(tmp_path / "kafka") as kafka:
        made = Troupe(kafka.bootstrap, tmp_path, NAMES, dimension=DIMENSION)
        await made.prepare()
        yield made
        await made.close()


def published(count: int):
    return lambda cast: len(cast.published) >= count


def survivors_by_round(troupe: Troupe) -> dict[int, set[bytes]]:
    """Round -> the digests of the lists of survivors that the log names for it."""
    found: dict[int, set[bytes]] = {}
    for received in troupe.cast.heard:
        if isinstance(received.message, m.SurvivorsNamed):
            found.setdefault(received.message.round, set()).add(received.digest)
    return found


async def test_rounds_are_exact_and_sigterm_is_clean(troupe: Troupe):
    """Five rounds, exact to the bit, nobody accused, no warning; SIGTERM ends the process with 0 within seconds."""
    worker = troupe.start()
    await troupe.cast.play(published(5))
    await worker.ready()
    asked = time.monotonic()
    code = await worker.ended(signal.SIGTERM)

    assert code == 0
    assert time.monotonic() - asked < 5
    assert worker.grave() == []
    assert await troupe.faults() == []
    await troupe.check()


@pytest.mark.parametrize("kind", [m.RoundOpened, m.MaskedUpdate, m.SurvivorsNamed, m.SharesRevealed, m.ModelPublished])
async def test_sigkill_loses_at_most_one_round(troupe: Troupe, kind: type[m.Message]):
    """Killed right after a record of this kind and started again: at most that round is lost, the survivors named stay named, sums are exact."""
    first = troupe.start()
    await troupe.cast.play(published(2))
    seen = len(troupe.cast.said(kind))
    await troupe.cast.play(lambda cast: len(cast.said(kind)) > seen)
    await first.ended(signal.SIGKILL)
    begun = time.monotonic()
    troupe.start()
    await troupe.cast.play(published(len(troupe.cast.published) + 3))

    assert time.monotonic() - begun < 30
    assert len(troupe.cast.said(m.RoundAbandoned)) <= 1
    assert all(len(digests) == 1 for digests in survivors_by_round(troupe).values())
    await troupe.check()


@pytest.mark.parametrize(("kind", "number"), [("lanes", 0), ("chunks", 0), ("chunks", 1)])
async def test_two_workers_share_and_one_takes_over(troupe: Troupe, kind: str, number: int):
    """Two workers of one group: rounds go on exactly while both live, when the owner of this partition is killed, and when it comes back."""
    workers = [troupe.start(), troupe.start()]
    for worker in workers:
        await worker.ready()
    await troupe.cast.play(published(3))
    for worker in workers:
        await worker.until(lambda w: 0 < len(w.said("partitions assigned")[-1]["chunks"]) < 4)
    await troupe.cast.play(published(len(troupe.cast.published) + 3))
    owner = next(w for w in workers if number in w.said("partitions assigned")[-1][kind])
    await owner.ended(signal.SIGKILL)
    await troupe.cast.play(published(len(troupe.cast.published) + 3))
    troupe.start()
    await troupe.cast.play(published(len(troupe.cast.published) + 5))

    assert len(troupe.cast.said(m.RoundAbandoned)) <= 2
    await troupe.check()


async def test_without_a_broker_the_process_says_so_and_ends(tmp_path: Path):
    """Nothing listens: one sentence with the address, exit code 1, within seconds."""
    troupe = Troupe("127.0.0.1:1", tmp_path, NAMES, dimension=5)
    troupe.write_settings()
    worker = troupe.start()
    code = await worker.ended(within_s=30)

    assert code == 1
    assert any("127.0.0.1:1" in str(line) for line in worker.grave())


async def test_a_paused_owner_cannot_fork_a_round(troupe: Troupe):
    """Stopped in its tracks until its partitions are another's, then woken: what it still says changes nothing that was decided."""
    first = troupe.start()
    await first.ready()
    await troupe.cast.play(published(2))
    first.process.send_signal(signal.SIGSTOP)
    successor = troupe.start()
    await troupe.cast.play(published(len(troupe.cast.published) + 2))
    first.process.send_signal(signal.SIGCONT)
    await troupe.cast.play(published(len(troupe.cast.published) + 6))

    assert successor.process.poll() is None
    assert len(troupe.cast.said(m.RoundAbandoned)) <= 1
    assert {state.head.model_digest for state in troupe.cast.states.values()} == {troupe.cast.published[-1].model_digest}
    await troupe.check()


async def test_a_broker_that_restarts_costs_a_pause(tmp_path: Path):
    """The broker goes and comes back: rounds go on, with the same process or with the one its supervisor starts."""
    async with EmbeddedKafka(tmp_path / "kafka") as kafka:
        troupe = Troupe(kafka.bootstrap, tmp_path, NAMES, dimension=DIMENSION)
        await troupe.prepare()
        try:
            worker = troupe.start()
            await worker.ready()
            await troupe.cast.play(published(2))
            await kafka.stop()
            await kafka.start()
            begun = time.monotonic()
            while len(troupe.cast.published) < 5:
                if worker.process.poll() is not None:
                    assert worker.process.poll() != 0
                    worker = troupe.start()
                with contextlib.suppress(AssertionError):
                    await troupe.cast.play(published(5), within_s=2)
                assert time.monotonic() - begun < 90

            await troupe.check()
        finally:
            await troupe.close()
