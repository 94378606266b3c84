"""Schema files are self-contained, bounded, documented, and fingerprinted as the specification says."""

from __future__ import annotations

from pathlib import Path

import fastavro
import pytest

from federation.messages import Message
from streams.schema_lock import messages_path
from streams.schemas import (
    canonical_form,
    expanded,
    fingerprint_of,
    in_dependency_order,
    inlined,
    least_bytes,
    raw_schemas,
    render_messages,
)

RECORDS = [name for name, schema in raw_schemas().items() if schema["type"] == "record"]


@pytest.mark.parametrize("name", RECORDS)
def test_canonical_form_and_fingerprint_agree_with_fastavro(name: str):
    """Two implementations, one answer."""
    schema = fastavro.parse_schema(expanded(name), named_schemas={})
    theirs = fastavro.schema.to_parsing_canonical_form(schema)

    assert canonical_form(expanded(name)) == theirs
    assert bytes.fromhex(fingerprint_of(theirs))[::-1].hex() == fastavro.schema.fingerprint(theirs, "CRC-64-AVRO")


@pytest.mark.parametrize(
    ("canonical", "fingerprint"),
    [('"int"', "7275d51a3f395c8f"), ('"string"', "8f014872634503c7"), ('"double"', "8e7535c032ab957e"), ('"bytes"', "4fc016dac3201965")],
)
def test_fingerprints_of_the_specification(canonical: str, fingerprint: str):
    """The published values of Avro's own test suite (share/test/data/schema-tests.txt)."""
    assert fingerprint_of(canonical) == fingerprint


def test_a_recursive_schema_is_refused():
    """Five kilobytes of one can overflow the decoder's stack and end the process."""
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "riverbank.Node"]}]}
    pair = {
        "A": {"type": "record", "name": "A", "fields": [{"name": "b", "type": {"type": "array", "items": "riverbank.B"}}]},
        "B": {"type": "record", "name": "B", "fields": [{"name": "a", "type": {"type": "map", "values": "riverbank.A"}}]},
    }

    with pytest.raises(ValueError, match="recursive schema: Node -> Node"):
        inlined(node, {"Node": node})
    with pytest.raises(ValueError, match="recursive schema: A -> B -> A"):
        inlined(pair["A"], pair)


@pytest.mark.parametrize(
    "items",
    [
        "null",
        {"type": "record", "name": "Empty", "fields": []},
        {"type": "fixed", "name": "Nothing", "size": 0},
        {"type": "record", "name": "Hollow", "fields": [{"name": "n", "type": "null"}]},
    ],
)
def test_items_without_width_are_refused(items):
    """Five bytes would stand for fifty million of them."""
    record = {"type": "record", "name": "Many", "fields": [{"name": "items", "type": {"type": "array", "items": items}}]}

    with pytest.raises(ValueError, match="without width"):
        inlined(record, {})


@pytest.mark.parametrize("name", RECORDS)
def test_every_message_is_bounded_by_its_bytes(name: str):
    """No recursion, and a record takes at least a byte."""
    assert least_bytes(expanded(name), raw_schemas()) >= 1
    assert inlined(raw_schemas()[name], raw_schemas()) == expanded(name)


def test_every_schema_and_field_is_documented():
    """In a sentence."""
    for name, schema in raw_schemas().items():
        assert schema["doc"].endswith((".", ").")), name
        for field in schema.get("fields", ()):
            assert field["doc"].strip(), f"{name}.{field['name']}"


def test_the_rendered_messages_are_fresh():
    """federation/messages.py says what the schemas say."""
    assert messages_path().read_text() == render_messages()
    assert Path(messages_path()).name == "messages.py"
    assert {kind.__name__ for kind in Message.__args__} == set(RECORDS)


def test_definitions_come_before_their_uses():
    """So that the rendered module can be imported."""
    order = in_dependency_order()

    assert order.index("RoundParameters") < order.index("EpochAnnounced")
    assert sorted(order) == sorted(raw_schemas())
