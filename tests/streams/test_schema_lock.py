"""Published schemas stay readable: what may change, what may not, and that the lock says the truth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.schema_lock import Version, check, incompatibilities, lock_path, read_lock, unreadable, update_lock, updated_lock
from streams.schemas import canonical_form, expanded, fingerprint_of


def record(*fields, name: str = "R"):
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t, **rest} for n, t, rest in fields]}


def field(name: str, kind, **rest):
    return name, kind, rest


ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b"]}
FIXED = {"type": "fixed", "name": "F", "size": 4}


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (record(field("x", "int")), record(field("x", "int"))),
        (record(field("x", "int"), field("y", "string", default="")), record(field("x", "int"))),
        (record(field("x", "int")), record(field("x", "int"), field("y", "string"))),
        (record(field("x", "long")), record(field("x", "int"))),
        (record(field("x", "double")), record(field("x", "long"))),
        (record(field("x", "double")), record(field("x", "float"))),
        (record(field("x", ["null", "int"])), record(field("x", "int"))),
        (record(field("x", ["null", "long"])), record(field("x", ["null", "int"]))),
        (record(field("x", {**ENUM, "symbols": ["a", "b", "c"]})), record(field("x", ENUM))),
        (record(field("x", {"type": "array", "items": "long"})), record(field("x", {"type": "array", "items": "int"}))),
        (record(field("x", record(field("y", "int"), name="S"))), record(field("x", record(field("y", "int"), name="S")))),
        (record(field("b", "int"), field("a", "int")), record(field("a", "int"), field("b", "int"))),
    ],
)
def test_changes_that_keep_old_records_readable(new, old):
    """Added with a default, removed, widened, made optional, reordered."""
    assert unreadable(new, old) == []


@pytest.mark.parametrize(
    ("new", "old", "problem"),
    [
        (record(field("x", "int"), field("y", "string")), record(field("x", "int")), "y: added without a default"),
        (record(field("x", "int")), record(field("x", "long")), "x: long cannot be read as int"),
        (record(field("x", "int")), record(field("x", "string")), "x: string cannot be read as int"),
        (record(field("x", "int")), record(field("x", ["null", "int"])), "x: null cannot be read as int"),
        (record(field("x", ["null", "int"])), record(field("x", "string")), "x: no branch reads string"),
        (record(field("x", {**ENUM, "symbols": ["b"]})), record(field("x", ENUM)), "x: E lost a"),
        (record(field("x", {**ENUM, "name": "G"})), record(field("x", ENUM)), "x: E was renamed G"),
        (record(field("x", {**FIXED, "size": 5})), record(field("x", FIXED)), "x: F has 5 bytes instead of 4"),
        (record(field("x", "bytes")), record(field("x", FIXED)), "x: fixed cannot be read as bytes"),
        (
            record(field("x", {"type": "map", "values": "int"})),
            record(field("x", {"type": "map", "values": "double"})),
            "x[]: double cannot be read as int",
        ),
        (record(name="S"), record(name="R"), ": R was renamed S"),
        (
            record(field("x", record(field("y", "int"), name="S"))),
            record(field("x", record(field("z", "int"), name="S"))),
            "x.y: added without a default",
        ),
    ],
)
def test_changes_that_make_old_records_unreadable(new, old, problem: str):
    """Each is named by its place."""
    assert unreadable(new, old) == [problem]


def version_of(name: str, change=bool, since: str = "0.0.1") -> Version:
    schema = json.loads(canonical_form(expanded(name)))
    change(schema)
    form = json.dumps(schema, separators=(",", ":"))
    return Version(fingerprint_of(form), since, form)


def test_the_lock_is_fresh():
    """Every message's newest version is today's schema, and all are compatible."""
    assert check() == []


def test_a_stale_lock_and_a_stale_rendering_are_found(tmp_path: Path):
    """Both, with what to run."""
    lock = json.loads(lock_path().read_text())
    del lock["CardTransaction"]
    (tmp_path / "avro.lock").write_text(json.dumps(lock))
    (tmp_path / "messages.py").write_text("")

    problems = check(tmp_path / "avro.lock", tmp_path / "messages.py")

    assert len(problems) == 2
    assert problems[0].startswith("CardTransaction: schemas/avro.lock is stale")
    assert problems[1].startswith("federation/messages.py is stale")


def test_a_forged_entry_is_found(tmp_path: Path):
    """A fingerprint that is not its schema's."""
    lock = json.loads(lock_path().read_text())
    lock["CardTransaction"].insert(0, {**lock["CardTransaction"][0], "fingerprint": "0" * 16})
    (tmp_path / "avro.lock").write_text(json.dumps(lock))

    assert check(tmp_path / "avro.lock") == ["CardTransaction: the lock's entry 0000000000000000 is not the fingerprint of its schema"]


def test_a_compatible_change_adds_a_version():
    """The earlier one stays, for the records written under it."""
    old = version_of("CardTransaction", lambda s: s["fields"].append({"name": "channel", "type": "string"}))

    updated = updated_lock({"CardTransaction": (old,)}, "0.2.0")

    assert updated["CardTransaction"] == (old, version_of("CardTransaction", since="0.2.0"))


def test_an_unchanged_schema_keeps_its_entry():
    """Since does not move."""
    same = version_of("CardTransaction")

    assert updated_lock({"CardTransaction": (same,)}, "0.2.0")["CardTransaction"] == (same,)


def test_an_incompatible_change_is_refused(tmp_path: Path):
    """Whether it takes a field's meaning or the whole message away; and the lock stays as it was."""
    without = version_of("CardTransaction", lambda s: s["fields"].pop())
    lock = {"CardTransaction": (without,), "Vanished": (version_of("CardTransaction"),)}
    path = tmp_path / "avro.lock"
    path.write_text(
        json.dumps({"CardTransaction": [{"fingerprint": without.fingerprint, "since": without.since, "schema": without.schema}]})
    )
    before = path.read_text()

    assert incompatibilities(lock) == [
        "Vanished: published since 0.0.1, and gone",
        f"CardTransaction: does not read its version of 0.0.1 ({without.fingerprint}): amount: added without a default",
    ]
    with pytest.raises(ValueError, match="amount: added without a default"):
        update_lock(path)
    assert path.read_text() == before


def test_afresh_forgets(tmp_path: Path):
    """Before a first release there is nothing to keep."""
    path = tmp_path / "avro.lock"

    update_lock(path, afresh=True)

    assert {name: len(versions) for name, versions in read_lock(path).items()} == dict.fromkeys(read_lock(path), 1)
    assert check(path) == []
