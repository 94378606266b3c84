"""Messages made from the schemas: one fixed example of each type, and hypothesis strategies.

Used by the tests of this folder and by make_golden.py.
Never draws anything by itself."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any, get_args

from hypothesis import strategies as st

from federation import messages
from federation.messages import Message
from streams.schemas import NAMESPACE, raw_schemas

KINDS: tuple[type, ...] = get_args(Message)


def example(kind: type) -> Any:
    """The same message every time, with a different value in each field."""
    return kind(**{field["name"]: _value(field["type"], field["name"]) for field in raw_schemas()[kind.__name__]["fields"]})


def _value(avro: Any, name: str) -> Any:
    seed = zlib.crc32(name.encode())
    if isinstance(avro, list):
        return _value(avro[1], name)
    if isinstance(avro, dict):
        inside = avro["items"] if avro["type"] == "array" else avro["values"]
        items = [_value(inside, f"{name}{position}") for position in range(2)]
        return tuple(items) if avro["type"] == "array" else {f"{name}{position}": item for position, item in enumerate(items)}
    scalars = {
        "string": f"{name} é",
        "bytes": name.encode(),
        "int": seed % 1000,
        "long": -seed,
        "double": seed / 1024,
        "boolean": seed % 2 == 0,
    }
    if avro in scalars:
        return scalars[avro]
    schema = raw_schemas()[avro.removeprefix(f"{NAMESPACE}.")]
    if schema["type"] == "fixed":
        return seed.to_bytes(4, "big") * (schema["size"] // 4)
    if schema["type"] == "enum":
        return getattr(messages, schema["name"])(schema["symbols"][seed % len(schema["symbols"])])
    return example(getattr(messages, schema["name"]))


@cache
def some(kind: type) -> st.SearchStrategy[Any]:
    """Any message of this type."""
    return st.builds(kind, **{field["name"]: _any(field["type"]) for field in raw_schemas()[kind.__name__]["fields"]})


def _any(avro: Any) -> st.SearchStrategy[Any]:
    if isinstance(avro, list):
        return st.none() | _any(avro[1])
    if isinstance(avro, dict) and avro["type"] == "array":
        return st.lists(_any(avro["items"]), max_size=3).map(tuple)
    if isinstance(avro, dict):
        return st.dictionaries(st.text(max_size=8), _any(avro["values"]), max_size=3)
    scalars = {
        "string": st.text(max_size=20),
        "bytes": st.binary(max_size=20),
        "int": st.integers(-(1 << 31), (1 << 31) - 1),
        "long": st.integers(-(1 << 63), (1 << 63) - 1),
        "double": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
    }
    if avro in scalars:
        return scalars[avro]
    schema = raw_schemas()[avro.removeprefix(f"{NAMESPACE}.")]
    if schema["type"] == "fixed":
        return st.binary(min_size=schema["size"], max_size=schema["size"])
    named = getattr(messages, schema["name"])
    return st.sampled_from(named) if schema["type"] == "enum" else some(named)
