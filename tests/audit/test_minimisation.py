"""Data minimisation: whatever is exchanged or done, the audit has who, what, when and digests of it, and no content."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.actions import action_of, problem_in
from federation import messages as m
from federation.errors import OwnFault
from streams.codec import decode
from streams.courier import Courier
from streams.memory import MemoryLog
from streams.schemas import raw_schemas
from streams.topology import AUDIT, FEDERATION_TOPICS
from tests.streams.examples import some

KINDS = sorted(
    {kind for topic in FEDERATION_TOPICS for kind in topic.carries if topic.signed and topic is not AUDIT}, key=lambda kind: kind.__name__
)
ABOUT = {"actor", "federation", "institution", "bank", "partner", "party", "head", "group", "epoch", "round", "run", "says"}
"""What an entry may repeat of a message: whose it is and which round it belongs to."""
FREE = 6  # Shorter values are in anything by chance.


def contents(value: Any, name: str = "") -> list[bytes]:
    """Every text and blob inside a message, but those that say whose it is."""
    if name in ABOUT:
        return []
    match value:
        case str():
            return [value.encode()]
        case bytes():
            return [value]
        case dict():
            return [found for pair in value.items() for each in pair for found in contents(each)]
        case tuple():
            return [found for each in value for found in contents(each)]
    fields = type(value).__slots__ if is_dataclass(value) else ()
    return [found for field in fields for found in contents(getattr(value, field), field)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data())
def test_an_entry_repeats_nothing_of_what_was_exchanged(kind, data):
    """For every kind of message there is, with anything in it."""
    message = data.draw(some(kind))
    author = getattr(message, "institution", getattr(message, "actor", "north"))
    courier = Courier(MemoryLog({}), federation="fed", sender=author, sign=lambda _signed: bytes(64))
    try:
        records = courier.prepare([message], 5)
    except (OwnFault, ValueError):  # Nothing that could be sent.
        return
    envelope = decode(records[-1].value, (m.SignedRecord,), 1 << 20)
    said = envelope.payload.replace(author.encode(), b"")

    assert isinstance(decode(envelope.payload, AUDIT.carries, 1 << 20), m.AuditEntry)
    assert not [each for each in contents(message) if len(each) >= FREE and each in said]


def test_no_entry_has_a_place_for_numbers_of_customers():
    """No entry of any audit has a field of floating-point numbers, or a list of numbers or bytes: a feature vector does not fit."""
    kinds = ("AuditEntry", "ActionRecorded", "ActionsLogged")
    types = {name: [field["type"] for field in raw_schemas()[name]["fields"]] for name in kinds}

    for name, found in types.items():
        assert "double" not in json.dumps(found), name
        assert not [each for each in found if isinstance(each, dict) and each["type"] == "array"], name


@given(name=st.text(min_size=1, max_size=40), kind=st.sampled_from(m.ActionKind))
def test_no_action_is_about_a_name(name, kind):
    """An action's subject is a pseudonym: 32 to 64 hexadecimal digits, or nobody."""
    entry = action_of(kind, "done", actor="ann", subject=name, detail={}, key="k", process="portal", at_ms=1)
    pseudonymous = 32 <= len(name) <= 64 and not set(name) - set("0123456789abcdef")

    assert (problem_in(entry) is None) == pseudonymous


def test_every_kind_of_message_was_looked_at():
    """Those of the federation's topics but the audit's own and the CA's word."""
    assert len(KINDS) > 30
    assert set(KINDS) <= set(get_args(m.Message))
