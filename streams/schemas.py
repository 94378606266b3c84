"""Avro schema files: loaded, fingerprinted, locked, and rendered into `federation/messages.py`.

Called by `streams.codec` (schemas and fingerprints) and by `riverbank schemas` (render, check).
Never guesses: a schema it cannot render or a recursive one is an error."""

from __future__ import annotations

import importlib.resources
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

NAMESPACE: Final = "riverbank"
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
