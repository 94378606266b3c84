"""A person, as everything outside the database sees one.

Made by `web.identity.people` and `web.identity.sessions` from rows.
Never carries a password, its hash or a one-time-code secret."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row

from web.identity.roles import Role

NOTICES: Final = {
    "work:in_app": "New work for me, here",
    "work:email": "New work for me, by e-mail",
    "news:email": "Models and rounds, by e-mail",
}
"""What a person may ask to be told, and where; changes to their own access they are always told."""


class Status(StrEnum):
    """Whether somebody may log in."""

    PENDING = "pending"
    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True)
class Person:
    """Somebody, as everything outside this package sees them."""

    id: str
    email: str
    name: str
    role: Role
    status: Status
    has_code: bool
    job: str
    phone: str
    zone: str
    notify: tuple[str, ...]
    created_at_ms: int
    profiled_at_ms: int | None


@dataclass(frozen=True)
class Profile:
    """What people say of themselves."""

    name: str
    job: str
    phone: str
    zone: str
    notify: tuple[str, ...]


def person_of(row: Row[Any]) -> Person:
    """The row, without its secrets."""
    return Person(
        row.id, row.email, row.name, Role(row.role), Status(row.status), row.totp_secret is not None, row.job, row.phone, row.zone,
        tuple(row.notify), row.created_at_ms, row.profiled_at_ms,
    )  # fmt: skip
