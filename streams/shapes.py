"""How a message's dataclass maps to the dictionary Avro writes, and what Avro's types leave open: finite, in range.

Called by `streams.codec` only; each mapping is made once per type, because events are decoded by the ten thousand.
Never touches bytes, and never puts a value into a sentence: a problem names the field alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import isfinite
from operator import attrgetter
from typing import Any, Final

from federation import messages
from federation.messages import RefusalReason
from streams.schemas import NAMESPACE, raw_schemas

Convert = Callable[[Any], Any]
Problem = tuple[RefusalReason, str]  # Why, and the rest of a sentence that begins with the field's name.
Check = Callable[[Any], Problem | None]

_NOT_FINITE: Final = (RefusalReason.NON_FINITE, " is not a finite number")
_NOT_BOOLEAN: Final = (RefusalReason.MALFORMED, " is neither true nor false")


@dataclass(frozen=True, slots=True)
class Shape:
    """One message type: its fields in order, and only those conversions and checks that it needs."""

    kind: type
    names: tuple[str, ...]
    values_of: Callable[[Any], tuple[Any, ...]]
    to_avro: tuple[tuple[str, Convert], ...]
    from_avro: tuple[tuple[str, Convert], ...]
    checks: tuple[tuple[str, Check], ...]

    def datum_of(self, message: Any) -> dict[str, Any]:
        """The dictionary that Avro writes for `message`."""
        datum = dict(zip(self.names, self.values_of(message), strict=True))
        for name, convert in self.to_avro:
            datum[name] = convert(datum[name])
        return datum

    def message_of(self, datum: dict[str, Any]) -> Any:
        """The message; `datum` is used up."""
        for name, convert in self.from_avro:
            datum[name] = convert(datum[name])
        return self.kind(**datum)

    def problem_in(self, datum: dict[str, Any]) -> Problem | None:
        """The first value that the message may not hold, or None."""
        for name, check in self.checks:
            problem = check(datum[name])
            if problem is not None:
                return problem[0], name + problem[1]
        return None


@dataclass(frozen=True, slots=True)
class _Part:
    """What one Avro type needs; None: nothing, the value goes through as it is."""

    to_avro: Convert | None = None
    from_avro: Convert | None = None
    check: Check | None = None


@cache
def shape_of(name: str) -> Shape:
    """The shape of the message called `name`."""
    fields = raw_schemas()[name]["fields"]
    names = tuple(field["name"] for field in fields)
    parts = {field["name"]: _part(field["type"]) for field in fields}
    get = attrgetter(*names)
    return Shape(
        kind=getattr(messages, name),
        names=names,
        values_of=get if len(names) > 1 else lambda message: (get(message),),  # attrgetter of one name gives it bare.
        to_avro=tuple((n, p.to_avro) for n, p in parts.items() if p.to_avro),
        from_avro=tuple((n, p.from_avro) for n, p in parts.items() if p.from_avro),
        checks=tuple((n, p.check) for n, p in parts.items() if p.check),
    )


def _part(avro: Any) -> _Part:
    if isinstance(avro, str):
        return _scalar(avro) or _named(avro.removeprefix(f"{NAMESPACE}."))
    if isinstance(avro, list):  # ["null", x]: rendering refuses other unions.
        inner = _part(avro[1])
        return _Part(_unless_none(inner.to_avro), _unless_none(inner.from_avro), _unless_none(inner.check))
    return _array(_part(avro["items"])) if avro["type"] == "array" else _map(_part(avro["values"]))


def _scalar(avro: str) -> _Part | None:
    if avro == "double":
        return _Part(check=lambda value: None if isfinite(value) else _NOT_FINITE)
    if avro == "boolean":
        return _Part(check=lambda value: None if value is True or value is False else _NOT_BOOLEAN)
    if avro in {"int", "long"}:
        bits = 32 if avro == "int" else 64
        bound = 1 << (bits - 1)
        # Avro writes an int as it writes a long, and a float or a truth value as a whole number: say no to all of them.
        wrong = (RefusalReason.MALFORMED, f" is not a whole number of {bits} bits")
        return _Part(check=lambda value: None if type(value) is int and -bound <= value < bound else wrong)
    return _Part() if avro in {"string", "bytes"} else None


def _named(name: str) -> _Part:
    schema = raw_schemas()[name]
    if schema["type"] == "fixed":
        return _Part()
    if schema["type"] == "enum":
        return _Part(from_avro=getattr(messages, name))
    shape = shape_of(name)

    def check(datum: dict[str, Any]) -> Problem | None:
        problem = shape.problem_in(datum)
        return problem and (problem[0], f".{problem[1]}")

    return _Part(shape.datum_of, shape.message_of, check)


def _unless_none(step: Convert | None) -> Convert | None:
    return step and (lambda value: None if value is None else step(value))


def _array(item: _Part) -> _Part:
    to_avro, from_avro, check = item.to_avro, item.from_avro, item.check

    def first_problem(values: list[Any]) -> Problem | None:
        for index, value in enumerate(values):
            problem = check(value) if check else None
            if problem is not None:
                return problem[0], f"[{index}]{problem[1]}"
        return None

    return _Part(
        to_avro and (lambda values: [to_avro(value) for value in values]),
        (lambda values: tuple(map(from_avro, values))) if from_avro else tuple,
        check and first_problem,
    )


def _map(entry: _Part) -> _Part:
    to_avro, from_avro, check = entry.to_avro, entry.from_avro, entry.check

    def first_problem(values: dict[str, Any]) -> Problem | None:
        for position, value in enumerate(values.values()):
            problem = check(value) if check else None
            if problem is not None:
                return problem[0], f"[entry {position}]{problem[1]}"  # Not the key: it is content.
        return None

    return _Part(
        to_avro and (lambda values: {key: to_avro(value) for key, value in values.items()}),
        from_avro and (lambda values: {key: from_avro(value) for key, value in values.items()}),
        check and first_problem,
    )
