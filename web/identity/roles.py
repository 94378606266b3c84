"""The roles that people have, and the scopes that API keys have.

Named by every row of `web.routes`, which says who may use it.
Never implies one role by another: an administrator is not an officer too, so that nobody grants himself customers' data by a habit of the code."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a person does here; exactly one each."""

    ADMINISTRATOR = "administrator"
    OFFICER = "officer"
    ML_ENGINEER = "ml_engineer"
    OPERATOR = "operator"


TITLES: Final = {
    Role.ADMINISTRATOR: "Administrator",
    Role.OFFICER: "Financial officer",
    Role.ML_ENGINEER: "ML engineer",
    Role.OPERATOR: "Operator of the federation",
}
DUTIES: Final = {
    Role.ADMINISTRATOR: "Invites people, confirms them, gives roles, makes API keys.",
    Role.OFFICER: "Works on flagged transactions, credit risks and product suggestions.",
    Role.ML_ENGINEER: "Watches rounds, quality, drift and the privacy budget.",
    Role.OPERATOR: "Watches the federation: members, rounds, lag. Sees no customer.",
}


class Scope(StrEnum):
    """What an API key may be used for."""

    RECOMMENDATIONS_READ = "recommendations:read"
    SCORES_READ = "scores:read"
    CASES_READ = "cases:read"
    FEEDBACK_WRITE = "feedback:write"
    ROUNDS_READ = "rounds:read"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    KEYS_WRITE = "keys:write"
    METRICS_READ = "metrics:read"


SCOPE_TITLES: Final = {
    Scope.RECOMMENDATIONS_READ: "Ask for recommendations",
    Scope.SCORES_READ: "Ask for scores",
    Scope.CASES_READ: "See officers' cases",
    Scope.FEEDBACK_WRITE: "Give feedback",
    Scope.ROUNDS_READ: "See rounds, institutions and models",
    Scope.USERS_READ: "See people",
    Scope.USERS_WRITE: "Manage people",
    Scope.KEYS_WRITE: "Manage API keys",
    Scope.METRICS_READ: "Read the metrics",
}


def roles_of(*, console: bool) -> tuple[Role, ...]:
    """The roles there are at the console (True) or at an institution's portal."""
    return (Role.OPERATOR,) if console else (Role.ADMINISTRATOR, Role.OFFICER, Role.ML_ENGINEER)


def manages_people(role: Role) -> bool:
    """Whether it invites, confirms and gives roles; at the console there is nobody else who could."""
    return role in (Role.ADMINISTRATOR, Role.OPERATOR)
