"""A process's settings as they are in force: every key, its value, and where that comes from.

Called by `riverbank config`.
Never shows a secret: settings name files, whose contents stay there."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from streams.passphrases import VARIABLE
from streams.settings import (
    AggregatorProcess,
    AuditProcess,
    FeedProcess,
    InstitutionProcess,
    OperatorProcess,
    SettingsError,
    TopicsProcess,
    VerticalProcess,
    WebProcess,
    load_settings,
)

Process = (
    InstitutionProcess | AggregatorProcess | AuditProcess | WebProcess | VerticalProcess | FeedProcess | TopicsProcess | OperatorProcess
)
# The section that only this kind of process has; an operator's file has none of them.
KINDS: Final[Mapping[str, type[Process]]] = {
    "institution": InstitutionProcess,
    "aggregator": AggregatorProcess,
    "audit": AuditProcess,
    "web": WebProcess,
    "vertical": VerticalProcess,
    "feed": FeedProcess,
    "cluster": TopicsProcess,
}
_HIDDEN: Final = "(set, not shown)"


def load_any(path: Path) -> Process:
    """The settings of whichever process a file is for; SettingsError."""
    sections = _written(path).keys() & KINDS.keys()
    if len(sections) > 1:
        raise SettingsError([f"{path}: it is for one process, and has the sections {', '.join(sorted(sections))}"])
    return load_settings(path, KINDS[sections.pop()] if sections else OperatorProcess)


def rows(path: Path) -> list[dict[str, Any]]:
    """Every key in force with its value and where it comes from: environment, file or default; SettingsError."""
    process, written = load_any(path), _written(path)
    environment = {name.removeprefix("RIVERBANK_").lower().replace("__", ".") for name in os.environ if name.startswith("RIVERBANK_")}
    found = [
        {"key": key, "value": value, "from": _origin(key, written, environment)}
        for key, value in _leaves(process, "")
    ]  # fmt: skip
    if VARIABLE in os.environ:
        found.append({"key": VARIABLE, "value": _HIDDEN, "from": "environment"})
    return found


def _written(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError([f"{path}: {error}"]) from error


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, int | float | bool | None) else str(value) if not isinstance(value, Mapping) else {}


def _origin(key: str, written: Mapping[str, Any], environment: set[str]) -> str:
    if any(key.lower() == name or key.lower().startswith(f"{name}.") for name in environment):
        return "environment"
    found: Any = written
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return "default"
        found = found[part]
    return "file"
