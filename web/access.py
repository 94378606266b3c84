"""Who may use a route: what every row of `web.routes` declares, and the one decision over it.

Applied by `web.guard` to every request.
Never lets anybody in by omission: a row that names nobody admits nobody."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from web.identity.keys import ApiKey
from web.identity.roles import Role, Scope
from web.identity.sessions import CONFIRMED_MS, Level, Session

Caller = Session | ApiKey | None
"""A person who logged in, a system with a key, or anybody."""


@dataclass(frozen=True)
class Access:
    """Who is let in."""

    public: bool = False
    anonymous: bool = False
    """Public, and who asks is not even looked up: files, health."""
    roles: frozenset[Role] = frozenset()
    scope: Scope | None = None
    any_scope: bool = False
    """Any key will do, whatever it is for."""
    levels: frozenset[Level] = frozenset({Level.FULL})
    recent: bool = False
    """Only a person who has just shown again who they are (ASVS 7.5.3)."""
    renews: bool = True
    """A person does this, so it starts the idle time anew; what a page asks by itself does not."""


class Refusal(Enum):
    """Why not."""

    UNKNOWN = auto()
    FORBIDDEN = auto()
    UNFINISHED = auto()
    """Logged in by half: a code is awaited, or has to be set up."""
    CONFIRM = auto()


def refusal(access: Access, caller: Caller, now_ms: int) -> Refusal | None:
    """Why this caller may not, or None."""
    if access.public:
        return None
    if caller is None:
        return Refusal.UNKNOWN
    if isinstance(caller, ApiKey):
        return None if access.any_scope or access.scope in caller.scopes else Refusal.FORBIDDEN
    return _refusal_of_person(access, caller, now_ms)


def _refusal_of_person(access: Access, caller: Session, now_ms: int) -> Refusal | None:
    if caller.level not in access.levels:
        return Refusal.UNFINISHED
    if caller.person.role not in access.roles:
        return Refusal.FORBIDDEN
    if access.recent and now_ms - caller.confirmed_at_ms >= CONFIRMED_MS:
        return Refusal.CONFIRM
    return None


def people_with(*roles: Role, scope: Scope | None = None, recent: bool = False, renews: bool = True) -> Access:
    """People who have logged in with one of these roles, and keys with the scope."""
    return Access(roles=frozenset(roles), scope=scope, recent=recent, renews=renews)


EVERY_ROLE: Final = tuple(Role)
MANAGERS: Final = (Role.ADMINISTRATOR, Role.OPERATOR)
BARE: Final = Access(public=True, anonymous=True)
PUBLIC: Final = Access(public=True)
SIGNED_IN: Final = people_with(*EVERY_ROLE)
"""Everybody who has logged in."""
CODE_AWAITED: Final = Access(roles=frozenset(EVERY_ROLE), levels=frozenset({Level.HALF}))
LEAVING: Final = Access(roles=frozenset(EVERY_ROLE), levels=frozenset(Level))
CONFIRMING: Final = Access(roles=frozenset(EVERY_ROLE), levels=frozenset({Level.ENROL, Level.FULL}))
ENROLLING: Final = Access(roles=frozenset(EVERY_ROLE), levels=frozenset({Level.ENROL, Level.FULL}), recent=True)
