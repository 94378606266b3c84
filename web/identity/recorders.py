"""What people's doings are written to: a Protocol, and the console's answer to it.

Implemented for portals by `audit.auditor`.
Never asked after the fact: who cannot record does not act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import structlog

from federation.messages import ActionKind

_log = structlog.get_logger(__name__)


class Recorder(Protocol):
    """Where an action is recorded."""

    async def record(self, kind: ActionKind, action: str, *, actor: str, detail: Mapping[str, str] | None = None) -> object:
        """Returns once the entry is safe; AuditUnavailable: do not act."""
        ...

    async def note(self, kind: ActionKind, action: str, *, actor: str, detail: Mapping[str, str] | None = None) -> object:
        """For what has happened already."""
        ...


class LogLines:
    """The console's: lines of its log, since the federation's audit is of exchanges and an institution's is its own."""

    async def record(self, kind: ActionKind, action: str, *, actor: str, detail: Mapping[str, str] | None = None) -> None:
        """One line."""
        _log.info("action", kind=kind.value, action=action, actor=actor, detail=dict(detail or {}))

    note = record
