"""Every checker bites: a world with one promise broken on purpose is caught by the checker of that promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from federation import messages as m
from federation.ids import digest_of
from federation.rounds.effects import Received, Report, RoundEnded
from streams.codec import encode
from tests.sim import checkers
from tests.sim.faults import CALM, Faults
from tests.sim.head_table import MEDIAN
from tests.sim.table import AGGREGATOR
from tests.sim.world import InstitutionShell, World


@pytest.fixture(scope="module")
def lived() -> World:
    """A peaceful history of two rounds."""
    world = World(1, faults=CALM, institutions=4)
    world.run(2)
    return world


def appended(world: World, kind: type[m.Message], **changes: object) -> None:
    """One more record like the last of its kind, changed."""
    last = [received for received in world.log if isinstance(received.message, kind)][-1]
    message = replace(last.message, **changes)
    world.log.append(Received(last.sender, message, digest_of(encode(message)), 1))


def last_round(world: World) -> int:
    return world.read().head.round_next - 1


def a_wrong_sum(world: World) -> None:
    world.contributed["A", last_round(world)][0] = world.contributed["A", last_round(world)][0] + np.uint32(1)


def a_wrong_model(world: World) -> None:
    model = [received.message for received in world.log if isinstance(received.message, m.ModelPublished)][-1]
    world.models[model.model_digest] = world.models[model.model_digest] + 1.0


def a_second_mask(world: World) -> None:
    appended(world, m.MaskedUpdate, secret_commitment=bytes(32))


def an_unmasked_chunk(world: World) -> None:
    digest = next(iter(world.chunks))
    world.contributed["A", 1].append(np.concatenate([world.opened_chunk(digest), world.opened_chunk(digest)]))


def an_endless_round(world: World) -> None:
    appended(world, m.RoundOpened, round=99)


def a_second_ack(world: World) -> None:
    appended(world, m.SurvivorsAcked, survivors_digest=bytes(32))


def both_secrets(world: World) -> None:
    revealed = [received.message for received in world.log if isinstance(received.message, m.SharesRevealed)]
    appended(world, m.SharesRevealed, round=revealed[0].round)


def an_early_share(world: World) -> None:
    appended(world, m.SharesRevealed, round=99)


def a_kept_secret(world: World) -> None:
    disk = world.institutions["A"].disk
    world.institutions["A"].disk = replace(disk, record=replace(disk.record, lot=world.round_secrets["A"][1]))


def another_reading(world: World) -> None:
    shell = world.institutions["A"]
    shell.state = replace(shell.state, head=replace(shell.state.head, round_next=99))


def an_accusation(world: World) -> None:
    world.reports.append((AGGREGATOR, Report("two_records", "A", "")))


def a_wrong_word(world: World) -> None:
    name, ended = next((name, ended) for name, ended in world.ended if ended.model_version is not None)
    world.ended.append((name, RoundEnded(ended.round_id, ended.model_version, ended.model_digest, included=not ended.included)))


def a_growing_record(world: World) -> None:
    shell = world.institutions["A"]
    shell.state = replace(shell.state, unadopted=((1, ("A",) * 40_000),))


def a_wrong_merge(world: World) -> None:
    merged = next(received.message for received in world.log if isinstance(received.message, m.GroupsMerged))
    world.models[merged.model_digest] = world.models[merged.model_digest] + 1.0


def another_grouping(world: World) -> None:
    appended(world, m.EpochAnnounced, invited=("A", "B", "C"))


IN_GROUPS = {checkers.merged_models_follow_from_sums, checkers.one_grouping}
BROKEN: dict[Callable[..., object], Callable[[World], None]] = {
    checkers.sums_are_exact: a_wrong_sum,
    checkers.models_follow_from_sums: a_wrong_model,
    checkers.merged_models_follow_from_sums: a_wrong_merge,
    checkers.one_grouping: another_grouping,
    checkers.masked_once: a_second_mask,
    checkers.nothing_unmasked: an_unmasked_chunk,
    checkers.every_round_ends: an_endless_round,
    checkers.one_ack: a_second_ack,
    checkers.never_both_secrets: both_secrets,
    checkers.no_share_below_the_quorum: an_early_share,
    checkers.nothing_after_erasure: a_kept_secret,
    checkers.one_reading: another_reading,
    checkers.only_the_unlucky_are_accused: an_accusation,
    checkers.nobody_is_told_wrongly: a_wrong_word,
    checkers.the_record_is_small: a_growing_record,
}


def test_a_peaceful_history_has_no_breach(lived: World):
    """Nothing is found where nothing is wrong, and every checker is tried below."""
    assert checkers.breaches(lived) == []
    assert set(BROKEN) == set(checkers.CHECKERS)


@pytest.mark.parametrize("checker", BROKEN, ids=lambda checker: checker.__name__)
def test_a_checker_bites(checker: Callable[..., object]):
    """The promise broken, its checker says so."""
    in_groups = checker in IN_GROUPS
    world = World(1, faults=CALM, institutions=9 if in_groups else 4, grouping=MEDIAN if in_groups else None)
    world.run(2)
    for shell in world.institutions.values():  # Everybody reads to the end.
        if shell.has_work():
            shell.run_turn()
    BROKEN[checker](world)

    assert list(checker(world)) != []


def test_a_shell_that_speaks_before_it_saves_is_caught():
    """Without the journal, a crash between saying and saving masks two vectors under one round's keys: the checkers see it."""

    class Hasty(InstitutionShell):
        def one_turn(self) -> None:
            before = self.disk
            super().one_turn()
            if self.world.trouble.chance(0.2):
                self.disk = before  # What was said is not what will be remembered.
                self.fall()

    found = set()
    for seed in range(40):
        world = World(seed, faults=Faults(partial=0.3))
        world.institutions = {name: Hasty(world, name) for name in world.names}
        try:
            world.run(2)
        except AssertionError:
            continue  # Stuck: members that contradict themselves are refused.
        found |= {breach.split(" in ")[0].split(" to ")[0].split(" ", 1)[1] for breach in checkers.breaches(world)}

    assert found & {"contributed twice", "masked twice"}
