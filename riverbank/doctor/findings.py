"""One finding of the doctor: what was looked at, how it stands, what to do.

Made by the other modules of this package, shown by the CLI.
Never without a repair when something is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from federation.errors import require


class Level(StrEnum):
    """How bad it is."""

    GOOD = "good"
    WARNING = "warning"  # It works now.
    WRONG = "wrong"  # It does not work, or is not safe.


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject`: what was looked at (a path, an address, a package); `found`: how it stands; `repair`: what to do about it."""

    check: str
    level: Level
    subject: str
    found: str
    repair: str = ""

    def __post_init__(self) -> None:
        """Broken if it says that something is wrong and not what to do."""
        require(self.level is Level.GOOD or bool(self.repair), f"{self.check}: a finding without a repair")
