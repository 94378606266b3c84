"""What an entry of an institution's own audit may hold: an action made from its parts, and the check of one that came through Kafka.

Called by audit.auditor, which sends, and by audit.entries, which judges.
Never lets free text of any length, or anything with the look of a customer's name for a subject, into an entry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from audit.pseudonyms import is_pseudonym
from federation.ids import digest_of
from federation.limits import NAME_LENGTH_MAX
from federation.messages import ActionKind, ActionRecorded
from streams.telemetry import SOFTWARE_VERSION

DETAILS_MAX: Final = 16
DETAIL_LENGTH_MAX: Final = 200
AT_MS_END: Final = 4_102_444_800_000  # The year 2100: DateTime64 wraps far beyond it.
_SNAKE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ACTOR: Final = re.compile(rf"[A-Za-z0-9._:@-]{{1,{NAME_LENGTH_MAX}}}")


def action_of(
    kind: ActionKind, action: str, *, actor: str, subject: str, detail: Mapping[str, str], key: str, process: str, at_ms: int
) -> ActionRecorded:
    """The entry; its id follows from `process` and `key`, so that the same key is the same action."""
    return ActionRecorded(
        entry_id=digest_of(f"{process}\0{key}".encode()), at_ms=at_ms, kind=kind, action=action, actor=actor, subject=subject,
        detail=dict(sorted(detail.items())), process=process, software_version=SOFTWARE_VERSION,
    )  # fmt: skip


def problem_in(entry: ActionRecorded) -> str | None:
    """Why this may not be an entry, in a clause that quotes nothing of it; None if it may."""
    values = entry.detail.values()
    rules = (
        (0 <= entry.at_ms < AT_MS_END, "at_ms is not a time between 1970 and 2100"),
        (_SNAKE.fullmatch(entry.action), "action is not 1 to 40 characters of snake_case"),
        (
            _ACTOR.fullmatch(entry.actor) and _ACTOR.fullmatch(entry.process),
            f"actor and process are 1 to {NAME_LENGTH_MAX} characters of A-Z a-z 0-9 . _ : @ -",
        ),
        (not entry.subject or is_pseudonym(entry.subject), "subject is neither empty nor a pseudonym (audit.pseudonyms)"),
        (len(entry.detail) <= DETAILS_MAX, f"detail has more than {DETAILS_MAX} parts"),
        (all(map(_SNAKE.fullmatch, entry.detail)), "a name in detail is not 1 to 40 characters of snake_case"),
        (
            all(len(value) <= DETAIL_LENGTH_MAX and value.isprintable() for value in values),
            f"a part of detail is longer than {DETAIL_LENGTH_MAX} characters, or not printable",
        ),
    )
    return next((problem for holds, problem in rules if not holds), None)
