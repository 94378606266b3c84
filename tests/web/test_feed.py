"""What the portal folds from the federation's log, and how its process ends."""

from __future__ import annotations

import asyncio
import socket

import pytest

from federation import messages as m
from federation.errors import PeerFault
from streams.memory import MemoryLog
from streams.parties import Parties
from streams.ports import Record
from streams.settings import WebProcess
from streams.signed import seal_record
from streams.topology import FEDERATION_TOPICS, ROUNDS, partitions_of
from tests.credentials import AGGREGATOR, Credentials
from web import wiring
from web.feed import federation_fold, keep_up


async def test_a_decision_counts_only_from_the_aggregator():
    """An institution that signs a round's end with its own key does not change what the console shows."""
    said: list[m.Message] = []
    credentials, log = Credentials("fed", ["bank-a"]), MemoryLog(partitions_of(FEDERATION_TOPICS))
    await credentials.publish(log)
    parties = Parties(log, federation="fed", ca_verify_key=credentials.ca_verify_key)
    fold = federation_fold(parties, said.append)
    ended = m.RoundAbandoned(
        head=m.HeadName.FRAUD, group=0, epoch=1, round=1, reason=m.AbandonReason.BAD_SUM, detail="so I say", at_fault=(), abandoned_at_ms=1
    )
    for name in ("bank-a", AGGREGATOR):
        value = seal_record(ended, sender=name, sign=credentials.keys[name].sign, federation="fed", topic=ROUNDS)
        record = Record(ROUNDS.full_name(), 0, 0, b"fraud", value, 1)
        if name == AGGREGATOR:
            await fold(record)
        else:
            with pytest.raises(PeerFault, match="wrong_role"):
                await fold(record)
    assert said == [ended]


async def test_a_revocation_reaches_a_portal_that_runs():
    """What a revoked aggregator says from then on is passed over, though no record made anybody look for news of it."""
    credentials, log = Credentials("fed", ["bank-a"]), MemoryLog(partitions_of(FEDERATION_TOPICS))
    await credentials.publish(log)
    parties = Parties(log, federation="fed", ca_verify_key=credentials.ca_verify_key)
    fold = federation_fold(parties, lambda _message: None)
    ended = m.RoundAbandoned(
        head=m.HeadName.FRAUD, group=0, epoch=1, round=1, reason=m.AbandonReason.BAD_SUM, detail="", at_fault=(), abandoned_at_ms=1
    )
    value = seal_record(ended, sender=AGGREGATOR, sign=credentials.keys[AGGREGATOR].sign, federation="fed", topic=ROUNDS)
    await fold(Record(ROUNDS.full_name(), 0, 0, b"fraud", value, 700))
    await credentials.enter(log, credentials.act(AGGREGATOR, m.Standing.REVOKED, at_ms=700))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(keep_up(parties), 0.1)  # It looks at once, then for ever.

    with pytest.raises(PeerFault, match="stale_certificate"):
        await fold(Record(ROUNDS.full_name(), 0, 1, b"fraud", value, 700))


async def test_a_taken_address_is_an_os_error(tmp_path):
    """The operator gets one sentence, not a stack trace: a task group's wrapping is taken off."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = WebProcess.model_validate(
            {
                "federation": {"name": "fed", "bootstrap": "127.0.0.1:9", "ca_verify_key": "00" * 32},
                "web": {"port": taken.getsockname()[1], "state_dir": str(tmp_path)},
            }
        )
        with pytest.raises(OSError, match="address already in use"):
            await wiring.run(settings)
