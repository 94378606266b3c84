"""What a role finds in the bar at the top.

Read by `web.rendering`.
Never decides who may: a link that is shown leads to a route that decides for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from web.access import EVERY_ROLE, MANAGERS
from web.identity.roles import Role


@dataclass(frozen=True)
class Entry:
    """A link."""

    path: str
    title: str
    roles: tuple[Role, ...]


ENTRIES: Final = (
    Entry("/dashboard", "Dashboard", EVERY_ROLE),
    Entry("/cases", "Cases", (Role.OFFICER,)),
    Entry("/models", "Models", (Role.ML_ENGINEER,)),
    Entry("/live", "Learning together", EVERY_ROLE),
    Entry("/users", "People", MANAGERS),
    Entry("/keys", "API keys", MANAGERS),
)


def entries(role: Role | None, path: str) -> list[dict[str, str | bool]]:
    """The bar of a role, with the entry of this path marked."""
    return [
        {"path": entry.path, "title": entry.title, "here": path == entry.path or path.startswith(f"{entry.path}/")}
        for entry in ENTRIES
        if role in entry.roles
    ]
