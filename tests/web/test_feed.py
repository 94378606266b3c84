"""What the portal folds from the federation's log, and how its process ends."""

from __future__ import annotations

import hashlib
import socket
from functools import partial

import pytest

from federation import messages as m
from federation.errors import PeerFault
from federation.secagg.certificates import PartyKeys, certify
from federation.secagg.keys import Secret, sign, signing_public
from riverbank.verification import CertifiedParties
from streams.codec import encode
from streams.ports import Record
from streams.settings import WebProcess
from streams.signed import seal_record
from streams.topology import PARTIES, ROUNDS
from web import wiring
from web.feed import federation_fold

CA = Secret(b"\x05" * 32)


def test_a_decision_counts_only_from_the_aggregator():
    """An institution that signs a round's end with its own key does not change what the console shows."""
    said: list[m.Message] = []
    fold = federation_fold("fed", CertifiedParties("fed", signing_public(CA)), said.append)
    ended = m.RoundAbandoned(
        head=m.HeadName.FRAUD, group=0, epoch=1, round=1, reason=m.AbandonReason.BAD_SUM, detail="so I say", at_fault=(), abandoned_at_ms=1
    )
    for name, role in (("bank-a", m.PartyRole.INSTITUTION), ("aggregator", m.PartyRole.AGGREGATOR)):
        keys = PartyKeys.from_entropy(lambda count, name=name: hashlib.shake_256(name.encode()).digest(count))
        certified = certify(CA, federation="fed", party=name, role=role, verify_key=keys.verify_key, sealing_key=keys.sealing_key)
        fold(Record(PARTIES.full_name(), 0, 0, name.encode(), encode(certified), 1))
        value = seal_record(ended, sender=name, sign=partial(sign, keys.signing_seed), federation="fed", topic=ROUNDS)
        record = Record(ROUNDS.full_name(), 0, 0, b"fraud", value, 1)
        if role is m.PartyRole.INSTITUTION:
            with pytest.raises(PeerFault, match="not_entitled"):
                fold(record)
        else:
            fold(record)
    assert said == [ended]


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
            await wiring.run(settings, CertifiedParties("fed", bytes(32)))
