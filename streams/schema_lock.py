"""The lock of published schemas: schemas/avro.lock, every version of every message that may lie in somebody's log.

Called by `streams.codec` (earlier versions) and by `riverbank schemas` (render, check).
Never lets a published schema change so that records written under it could no longer be read."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from streams.access import render_access
from streams.schemas import NAMESPACE, PRIMITIVES, canonical_form, definitions_in, expanded, fingerprint_of, raw_schemas, render_messages
from streams.topology import render_topology

# What a value written as the key may be read as (Avro 1.12, "Schema Resolution"), where messages have such types.
_PROMOTIONS: Final = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


@dataclass(frozen=True, slots=True)
class Version:
    """One published schema of a message: its fingerprint, the release that brought it, its canonical form."""

    fingerprint: str
    since: str
    schema: str


def lock_path() -> Path:
    """Where the lock lies inside the installed package."""
    return Path(str(importlib.resources.files("schemas") / "avro.lock"))


def messages_path() -> Path:
    """Where the rendered messages lie."""
    return Path(str(importlib.resources.files("federation") / "messages.py"))


def topology_page() -> Path | None:
    """Where the page of topics lies; None outside a checkout, where there are no docs."""
    page = Path(__file__).parents[1] / "docs" / "topology.md"
    return page if page.parent.is_dir() else None


def _topology_text() -> str:
    return render_topology() + render_access()


def read_lock(path: Path | None = None) -> dict[str, tuple[Version, ...]]:
    """Message name -> its published versions, oldest first; empty when there is no lock yet."""
    path = lock_path() if path is None else path
    if not path.exists():
        return {}
    return {name: tuple(Version(**entry) for entry in entries) for name, entries in json.loads(path.read_text()).items()}


@cache
def _locked() -> dict[str, tuple[Version, ...]]:
    return read_lock()


def locked_versions(name: str) -> tuple[Version, ...]:
    """The published versions of one message, oldest first."""
    return _locked().get(name, ())


def unreadable(new: Any, old: Any) -> list[str]:
    """Why a reader with the self-contained schema `new` could not read what was written as `old`; empty when it can.

    Source: Avro 1.12 specification, "Schema Resolution"; stricter in two points: an enum may not lose a symbol, and a union
    must keep each of its branches, because a record that is readable only sometimes is not readable.
    """
    return _unreadable(new, old, definitions_in(new), definitions_in(old), "")


def _unreadable(new: Any, old: Any, ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> list[str]:
    new, old = _resolved(new, ours), _resolved(old, theirs)
    if isinstance(old, list):
        return [problem for branch in old for problem in _unreadable(new, branch, ours, theirs, where)]
    if isinstance(new, list):
        tries = [_unreadable(branch, old, ours, theirs, where) for branch in new]
        return [] if [] in tries else [f"{where}: no branch reads {_kind(old)}"]
    if _kind(new) != _kind(old):
        return [] if _kind(new) in _PROMOTIONS.get(_kind(old), ()) else [f"{where}: {_kind(old)} cannot be read as {_kind(new)}"]
    if _kind(new) in {"array", "map"}:
        part = "items" if new["type"] == "array" else "values"
        return _unreadable(new[part], old[part], ours, theirs, f"{where}[]")
    return [] if _kind(new) in PRIMITIVES else _unreadable_named(new, old, ours, theirs, where)


def _unreadable_named(new: Any, old: Any, ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> list[str]:
    if _short(new) != _short(old):
        return [f"{where}: {_short(old)} was renamed {_short(new)}"]
    return _unreadable_record(new, old, ours, theirs, where) if _kind(new) == "record" else _unreadable_leaf(new, old, where)


def _unreadable_leaf(new: Any, old: Any, where: str) -> list[str]:
    if new["type"] == "enum":
        lost = [symbol for symbol in old["symbols"] if symbol not in new["symbols"]]
        return [f"{where}: {_short(old)} lost {', '.join(lost)}"] if lost else []
    return [] if new["size"] == old["size"] else [f"{where}: {_short(old)} has {new['size']} bytes instead of {old['size']}"]


def _unreadable_record(new: Any, old: Any, ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> list[str]:
    written = {field["name"]: field["type"] for field in old["fields"]}
    problems = []
    for field in new["fields"]:
        place = f"{where}.{field['name']}" if where else str(field["name"])
        if field["name"] in written:
            problems += _unreadable(field["type"], written[field["name"]], ours, theirs, place)
        elif "default" not in field:
            problems.append(f"{place}: added without a default")
    return problems


def _resolved(schema: Any, definitions: Mapping[str, Any]) -> Any:
    return definitions[schema.removeprefix(f"{NAMESPACE}.")] if isinstance(schema, str) and schema.startswith(f"{NAMESPACE}.") else schema


def _kind(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema["type"])


def _short(schema: Any) -> str:
    return str(schema["name"].removeprefix(f"{NAMESPACE}."))


def _message_names() -> list[str]:
    return [name for name, schema in raw_schemas().items() if schema["type"] == "record"]


def incompatibilities(lock: Mapping[str, tuple[Version, ...]]) -> list[str]:
    """One sentence per way in which today's schemas could not read a published version."""
    problems = [f"{name}: published since {entries[0].since}, and gone" for name, entries in lock.items() if name not in _message_names()]
    for name in _message_names():
        for entry in lock.get(name, ()):
            found = unreadable(expanded(name), json.loads(entry.schema))
            problems += [f"{name}: does not read its version of {entry.since} ({entry.fingerprint}): {problem}" for problem in found]
    return problems


def check(lock: Path | None = None, messages: Path | None = None) -> list[str]:
    """What is wrong with the schemas, the lock and the rendered messages, one sentence each; empty when all agree."""
    locked = read_lock(lock)
    problems = incompatibilities(locked)
    for name in _message_names():
        newest = locked[name][-1].fingerprint if name in locked else None
        if newest != fingerprint_of(canonical_form(expanded(name))):
            problems.append(f"{name}: schemas/avro.lock is stale; run `riverbank schemas render`")
    for name, entries in locked.items():
        problems += [
            f"{name}: the lock's entry {entry.fingerprint} is not the fingerprint of its schema"
            for entry in entries
            if entry.fingerprint != fingerprint_of(entry.schema)
        ]
    if (messages or messages_path()).read_text() != render_messages():
        problems.append("federation/messages.py is stale; run `riverbank schemas render`")
    page = topology_page()
    if page is not None and (not page.exists() or page.read_text() != _topology_text()):
        problems.append("docs/topology.md is stale; run `riverbank schemas render`")
    return problems


def updated_lock(lock: Mapping[str, tuple[Version, ...]], release: str) -> dict[str, tuple[Version, ...]]:
    """`lock` with a version appended to each message whose schema changed; ValueError when a published version became unreadable."""
    problems = incompatibilities(lock)
    if problems:
        raise ValueError("; ".join(problems))
    updated = {}
    for name in _message_names():
        form = canonical_form(expanded(name))
        today = Version(fingerprint_of(form), release, form)
        entries = tuple(entry for entry in lock.get(name, ()) if entry.fingerprint != today.fingerprint)
        unchanged = name in lock and lock[name][-1].fingerprint == today.fingerprint
        updated[name] = lock[name] if unchanged else (*entries, today)
    return updated


def update_lock(path: Path | None = None, *, afresh: bool = False) -> None:
    """Write the lock for today's schemas; `afresh` forgets every version before, which only an unreleased lock may do."""
    path = lock_path() if path is None else path
    updated = updated_lock({} if afresh else read_lock(path), version("riverbank"))
    plain = {
        name: [{"fingerprint": e.fingerprint, "since": e.since, "schema": e.schema} for e in entries] for name, entries in updated.items()
    }
    path.write_text(json.dumps(plain, indent=1) + "\n")
    _locked.cache_clear()


def render(*, afresh: bool = False) -> None:
    """Write schemas/avro.lock, federation/messages.py and, in a checkout, docs/topology.md; ValueError for an incompatible change."""
    update_lock(afresh=afresh)
    messages_path().write_text(render_messages())
    page = topology_page()
    if page is not None:
        page.write_text(_topology_text())
