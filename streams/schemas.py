"""Avro schema files: loaded, made self-contained, fingerprinted, and rendered into `federation/messages.py`.

Called by `streams.codec` (schemas and fingerprints) and by `streams.schema_lock` (render, check).
Never guesses: a schema it cannot render, a recursive or an unbounded one is an error."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

NAMESPACE: Final = "riverbank"
# Avro's primitive types -> the fewest bytes a value takes.
PRIMITIVES: Final = {"null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1}
_SCALARS: Final = {"string": "str", "bytes": "bytes", "int": "int", "long": "int", "double": "float", "boolean": "bool"}


def avro_folder() -> Path:
    """The folder of the `.avsc` files inside the installed package."""
    return Path(str(importlib.resources.files("schemas") / "avro"))


@cache
def raw_schemas() -> dict[str, dict[str, Any]]:
    """Short name -> schema as written, sorted by name."""
    found = {}
    for path in sorted(avro_folder().glob(f"{NAMESPACE}.*.avsc")):
        schema = json.loads(path.read_text())
        if path.name != f"{NAMESPACE}.{schema['name']}.avsc":
            raise ValueError(f"{path.name} declares {schema['name']}: name the file after the schema")
        found[schema["name"]] = schema
    return found


def inlined(schema: Any, definitions: Mapping[str, Any], path: tuple[str, ...] = (), seen: set[str] | None = None) -> Any:
    """`schema` with each named schema written out where it first appears, so that it needs no other file.

    `definitions`: short name -> schema. ValueError for what could exhaust a decoder: a recursive schema (a small record can
    overflow its stack) and items of no width (five bytes can stand for a billion of them).
    """
    seen = set() if seen is None else seen
    if isinstance(schema, list):
        return [inlined(branch, definitions, path, seen) for branch in schema]
    if isinstance(schema, str):
        if schema in PRIMITIVES:
            return schema
        short = schema.removeprefix(f"{NAMESPACE}.")
        if short in path:
            raise ValueError(f"recursive schema: {' -> '.join((*path, short))}")
        return f"{NAMESPACE}.{short}" if short in seen else inlined(definitions[short], definitions, path, seen)
    if schema["type"] in {"array", "map"}:
        part = "items" if schema["type"] == "array" else "values"
        if schema["type"] == "array" and least_bytes(schema["items"], definitions, path) == 0:
            raise ValueError(f"{' -> '.join(path)}: an array of items without width has no bound")
        return {**schema, part: inlined(schema[part], definitions, path, seen)}
    name = schema["name"].removeprefix(f"{NAMESPACE}.")
    if name in seen:  # Written out a second time, in definitions that were self-contained themselves.
        return f"{NAMESPACE}.{name}"
    seen.add(name)
    if schema["type"] == "record":
        fields = [{**field, "type": inlined(field["type"], definitions, (*path, name), seen)} for field in schema["fields"]]
        schema = {**schema, "fields": fields}
    return schema


def least_bytes(schema: Any, definitions: Mapping[str, Any], path: tuple[str, ...] = ()) -> int:
    """The fewest bytes a value of `schema` takes; ValueError for a recursive schema."""
    if isinstance(schema, list):
        return 1 + min(least_bytes(branch, definitions, path) for branch in schema)
    if isinstance(schema, str):
        if schema in PRIMITIVES:
            return PRIMITIVES[schema]
        short = schema.removeprefix(f"{NAMESPACE}.")
        if short in path:
            raise ValueError(f"recursive schema: {' -> '.join((*path, short))}")
        return least_bytes(definitions[short], definitions, (*path, short))
    if schema["type"] == "fixed":
        return int(schema["size"])
    if schema["type"] == "record":
        return sum(least_bytes(field["type"], definitions, path) for field in schema["fields"])
    return 1  # An enum's index, or the end of an array or a map.


@cache
def expanded(name: str) -> dict[str, Any]:
    """The self-contained schema of one message."""
    return dict(inlined(raw_schemas()[name], raw_schemas()))


def canonical_form(schema: Any) -> str:
    """The parsing canonical form of a self-contained schema (Avro 1.12 specification, "Parsing Canonical Form for Schemas")."""
    return json.dumps(_canonical(schema), separators=(",", ":"), ensure_ascii=False)


def _canonical(schema: Any) -> Any:
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return [_canonical(branch) for branch in schema]
    kept: dict[str, Any] = {}
    if "name" in schema:
        kept["name"] = f"{NAMESPACE}.{schema['name'].removeprefix(f'{NAMESPACE}.')}"
    kept["type"] = schema["type"]
    if "fields" in schema:
        kept["fields"] = [{"name": field["name"], "type": _canonical(field["type"])} for field in schema["fields"]]
    for key in ("symbols", "items", "values", "size"):
        if key in schema:
            kept[key] = schema[key] if key in {"symbols", "size"} else _canonical(schema[key])
    return kept


_CRC_EMPTY: Final = 0xC15D213AA4D7A795


def _crc_table() -> tuple[int, ...]:
    table = []
    for start in range(256):
        value = start
        for _ in range(8):
            value = (value >> 1) ^ (_CRC_EMPTY if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def fingerprint_of(canonical: str) -> str:
    """CRC-64-AVRO of a canonical form: 16 hexadecimal digits, most significant first (Avro 1.12, "Schema Fingerprints").

    >>> fingerprint_of('"null"')
    '63dd24e7cc258f8a'
    """
    value = _CRC_EMPTY
    for byte in canonical.encode():
        value = (value >> 8) ^ _CRC_TABLE[(value ^ byte) & 0xFF]
    return f"{value:016x}"


def references(schema: Any) -> list[str]:
    """Short names of the named schemas that `schema` refers to, in order of appearance."""
    if isinstance(schema, str):
        return [schema.removeprefix(f"{NAMESPACE}.")] if schema.startswith(f"{NAMESPACE}.") else []
    if isinstance(schema, list):
        return [name for part in schema for name in references(part)]
    if schema["type"] == "record":
        return [name for field in schema["fields"] for name in references(field["type"])]
    if schema["type"] in {"array", "map"}:
        return references(schema["items" if schema["type"] == "array" else "values"])
    return references(schema["type"]) if isinstance(schema["type"], (dict, list)) else []


def in_dependency_order() -> list[str]:
    """Every schema after those it refers to; a cycle is an error (a recursive schema can crash the decoder)."""
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ValueError(f"recursive schema: {' -> '.join((*path, name))}")
        if name not in order:
            for needed in references(raw_schemas()[name]):
                visit(needed, (*path, name))
            order.append(name)

    for name in raw_schemas():
        visit(name, ())
    return order


def _python_type(avro: Any) -> str:
    if isinstance(avro, str):
        if avro in _SCALARS:
            return _SCALARS[avro]
        target = raw_schemas()[avro.removeprefix(f"{NAMESPACE}.")]
        return "bytes" if target["type"] == "fixed" else str(target["name"])
    if isinstance(avro, list) and len(avro) == 2 and avro[0] == "null":
        return f"{_python_type(avro[1])} | None"
    if isinstance(avro, dict) and avro["type"] == "array":
        return f"tuple[{_python_type(avro['items'])}, ...]"
    if isinstance(avro, dict) and avro["type"] == "map":
        return f"Mapping[str, {_python_type(avro['values'])}]"
    raise ValueError(f"no Python type for {avro!r}")


def _render_one(schema: dict[str, Any]) -> list[str]:
    name, doc = schema["name"], schema["doc"]
    if schema["type"] == "enum":
        return [f"class {name}(StrEnum):", f'    """{doc}"""', "", *(f'    {s.upper()} = "{s}"' for s in schema["symbols"])]
    lines = ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {name}:", f'    """{doc}"""', ""]
    for field in schema["fields"]:
        hidden = " = field(repr=False)" if field.get("secret") else ""
        lines += [f"    {field['name']}: {_python_type(field['type'])}{hidden}", f'    """{field["doc"]}"""']
    return lines


def render_messages() -> str:
    """The text of `federation/messages.py`."""
    head = (
        '"""Every message as a frozen dataclass. Rendered from schemas/avro by `riverbank schemas render`; do not edit.\n\n'
        "Used by everything that speaks or listens.\n"
        'Never holds logic."""\n\n'
        "from __future__ import annotations\n\nfrom collections.abc import Mapping\nfrom dataclasses import dataclass, field\nfrom enum import StrEnum\n"
    )
    blocks = ["\n".join(_render_one(raw_schemas()[n])) for n in in_dependency_order() if raw_schemas()[n]["type"] != "fixed"]
    records = [n for n in in_dependency_order() if raw_schemas()[n]["type"] == "record"]
    union = "\n    | ".join(records)
    return head + "\n\n" + "\n\n\n".join(blocks) + f"\n\n\nMessage = (\n    {union}\n)\n"


def definitions_in(schema: Any) -> dict[str, Any]:
    """Short name -> definition, of every named schema written out inside `schema`."""
    if isinstance(schema, str):
        return {}
    if isinstance(schema, list):
        return {name: found for branch in schema for name, found in definitions_in(branch).items()}
    inside = [schema[key] for key in ("items", "values") if key in schema] + [field["type"] for field in schema.get("fields", ())]
    found = definitions_in(inside)
    if "name" in schema:
        found[schema["name"].removeprefix(f"{NAMESPACE}.")] = schema
    return found
