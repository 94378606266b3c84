"""Every kind of key of the protocol changed while rounds run, on a real broker with the aggregator's own process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from federation import messages as m
from federation.members.directory import Directory
from federation.members.keys import PartyKeys
from federation.rounds import head_participant
from federation.rounds.effects import PartiesKnown
from riverbank.embedded.kafka import EmbeddedKafka
from tests.aggregator_worker.cast import Cast
from tests.aggregator_worker.troupe import Troupe
from tests.credentials import AGGREGATOR, OPERATOR, keys_of

pytestmark = [pytest.mark.broker]
NAMES = ("ash", "birch", "cedar", "doum")
OVERLAP_UNTIL_MS = 3_999_000_000_000


def published(cast: Cast, more: int) -> Callable[[Cast], bool]:
    """So many more models than now."""
    wanted = len(cast.published) + more
    return lambda cast: len(cast.published) >= wanted


def known_to_all(troupe: Troupe, directory: Directory) -> None:
    """Everybody in the cast reads who is who."""
    troupe.parties.directory = directory
    sealing_keys = {each.serial: each.sealing_key for each in directory.certificates[AGGREGATOR]}
    known = PartiesKnown(directory.acceptable(0, *m.PartyRole), sealing_keys)
    cast = troupe.cast
    cast.states = {name: head_participant.step(state, known, os.urandom)[0] for name, state in cast.states.items()}


async def renewed(troupe: Troupe, party: str) -> PartyKeys:
    """New keys of a party, certified and published; its former ones."""
    former, keys = troupe.parties.keys[party], keys_of(party, "renewed")
    certified = troupe.parties.certificate(party, keys, serial=2, previous_until_ms=OVERLAP_UNTIL_MS)
    troupe.parties.keys[party] = keys
    if party == AGGREGATOR:  # On the disk before anybody hears of them.
        troupe.parties.write_key_file(troupe.directory / "aggregator.key", AGGREGATOR, former)
    known_to_all(troupe, troupe.parties.directory.admit(certified, at_ms=0))
    await troupe.parties.certify(troupe.log, certified)
    return former


async def test_all_keys_change_and_no_round_is_lost(tmp_path: Path):
    """An institution's, the aggregator's (to sign and to unseal), the operator's; then an institution is suspended with the newest of these."""
    async with EmbeddedKafka(tmp_path / "kafka") as kafka:
        troupe = Troupe(kafka.bootstrap, tmp_path, NAMES, dimension=4)
        try:
            await troupe.prepare(masked_wait_ms=30_000, unmask_wait_ms=30_000, epoch_wait_ms=30_000)
            worker, cast = troupe.start(), troupe.cast
            await cast.play(published(cast, 2), within_s=90)

            await renewed(troupe, "ash")
            cast._couriers["ash"] = troupe.parties.courier(troupe.log, "ash")
            await cast.play(published(cast, 2))
            assert {each.serial for each in cast.heard if each.sender == "ash"} == {1, 2}

            await renewed(troupe, AGGREGATOR)
            await cast.play(lambda cast: cast.heard[-1].sender == AGGREGATOR and cast.heard[-1].serial == 2)
            await cast.play(published(cast, 3))
            assert worker.said("keys changed")

            await renewed(troupe, OPERATOR)
            suspended = troupe.parties.act("doum", m.Standing.SUSPENDED)
            await troupe.parties.enter(troupe.log, suspended)
            # Members who read it before the aggregator does would refuse the round that is opened meanwhile.
            await cast.play(lambda cast: bool(cast.said(m.EpochClosed)))
            known_to_all(troupe, troupe.parties.directory.take(OPERATOR, suspended))
            await cast.play(lambda cast: "doum" not in cast.published[-1].contributors)

            assert cast.said(m.RoundAbandoned) == []
            assert cast.reports == []
            await troupe.check()
        finally:
            await troupe.close()
