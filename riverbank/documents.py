"""Pages of the documentation that are rendered from the code: every setting of every process, every metric.

Called by `riverbank docs`.
Never edited by hand: a check compares the pages with what would be rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from riverbank.configuration import KINDS
from streams import telemetry
from streams.settings import OperatorProcess

PAGES: Final = Path(__file__).parents[1] / "docs"
_SETTINGS: Final = """\
# Settings

Rendered from `streams/settings.py` by `riverbank docs render`; do not edit.

A process is told what to do by one TOML file (`--config`). `RIVERBANK_SECTION__KEY` in the environment overrides a key, and `riverbank config show`
says what is in force and why. Unknown keys are refused. No setting is a secret: keys and passwords lie in files of mode 0600, which settings name.
"""
_METRICS: Final = """\
# Metrics

Rendered from `streams/telemetry.py` by `riverbank docs render`; do not edit.

Every process with `[ops] port` serves these at `/metrics` (Prometheus' text format), beside `/health/live` and `/health/ready`. Labels come from short
fixed lists; none names a customer. `docker/monitoring/` has a Grafana dashboard and alert rules.

| metric | kind | labels | is |
|---|---|---|---|
"""


def rendered() -> dict[str, str]:
    """File name below docs/ -> text."""
    return {"settings.md": settings_page(), "metrics.md": metrics_page()}


def stale() -> list[str]:
    """Pages that are not what would be rendered now."""
    return [name for name, text in rendered().items() if not (PAGES / name).is_file() or (PAGES / name).read_text() != text]


def settings_page() -> str:
    """Every section of every kind of process, a row for each key."""
    parts, told = [_SETTINGS], set[type[BaseModel]]()
    for kind in (*KINDS.values(), OperatorProcess):
        for name, field in kind.model_fields.items():
            for model in _models(field.annotation):
                parts.extend(_section(name, model, told))
    return "\n".join(parts)


def _section(key: str, model: type[BaseModel], told: set[type[BaseModel]]) -> Iterator[str]:
    if model in told:
        return
    told.add(model)
    yield f"## [{key}]\n\n{_sentence(model.__doc__)}\n\n| key | default | is |\n|---|---|---|"
    inner = []
    for name, field in model.model_fields.items():
        models = list(_models(field.annotation))
        inner += [(f"{key}.{name}" if not _is_table(field.annotation) else f"{key}.{name}.NAME", each) for each in models]
        yield f"| `{name}` | {_default(field.default, required=field.is_required(), table=bool(models))} | {_sentence(field.description)} |"
    yield ""
    for name, each in inner:
        yield from _section(name, each, told)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)


def _is_table(annotation: Any) -> bool:
    return any(get_args(each) and issubclass(getattr(each, "__origin__", object), Mapping) for each in (annotation, *get_args(annotation)))


def _default(value: Any, *, required: bool, table: bool) -> str:
    if required:
        return "needed"
    if value is None or value is PydanticUndefined or table:
        return "–"
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value) or "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def metrics_page() -> str:
    """A row for each metric of ours."""
    rows = []
    for metric in vars(telemetry).values():
        if hasattr(metric, "_labelnames"):
            family = next(iter(metric.describe()))
            name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
            labels = ", ".join(metric._labelnames)  # noqa: SLF001 The client has no other way to say it.
            rows.append(f"| `{name}` | {family.type} | {labels or '–'} | {_sentence(family.documentation)} |")
    return _METRICS + "\n".join(rows) + "\n"
