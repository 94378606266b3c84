"""Everything a handler may use, in one place: read models, feeds, the way to send feedback, a clock.

Made by `web.wiring`, stored in the aiohttp application by `web.app`.
Never a global: two portals in one process do not know of each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web as http
from jinja2 import Environment

from audit.history import History
from federation import messages as m
from streams.ports import Clock, Entropy
from web.cases.desk import Desk
from web.cases.intake import Intake
from web.feed import Feed
from web.identity.house import Identity
from web.identity.recorders import Recorder
from web.readmodels.customers import Customers
from web.readmodels.institutions import Institutions
from web.readmodels.partnerships import Partnerships
from web.readmodels.progress import Progress
from web.readmodels.rounds import Rounds

SendFeedback = Callable[[m.FeedbackGiven], Awaitable[None]]
"""Returns once the log has acknowledged; LogUnavailable when it does not."""


AskReview = Callable[[m.ReviewAsked], Awaitable[None]]
"""Likewise."""


@dataclass
class Institution:
    """A portal's side of its own institution."""

    name: str
    customers: Customers
    feed: Feed
    send_feedback: SendFeedback
    ask_review: AskReview
    desk: Desk
    intake: Intake
    progress: Progress
    progress_feed: Feed


@dataclass
class Window:
    """What the portal, or the console (no institution), shows and answers with."""

    rounds: Rounds
    institutions: Institutions
    partnerships: Partnerships
    checkpoints: History
    feed: Feed
    clock: Clock
    templates: Environment
    identity: Identity
    entropy: Entropy
    recorder: Recorder
    origin: str | None = None
    """How browsers reach it; None: from this machine."""
    institution: Institution | None = None

    @property
    def secure(self) -> bool:
        """Whether browsers reach it over TLS."""
        return self.origin is not None and self.origin.startswith("https://")

    def checks(self) -> dict[str, bool]:
        """What it needs to answer with, by name."""
        checks = {"federation_log": self.feed.disconnected_since_ms is None, "federation_read": self.feed.caught_up.is_set()}
        if self.institution is not None:
            feed, customers = self.institution.feed, self.institution.customers
            checks |= {
                "own_log": feed.disconnected_since_ms is None,
                "own_read": feed.caught_up.is_set(),
                "model": m.HeadName.PRODUCTS in customers.models,
            }
        return checks

    def degraded(self) -> bool:
        """Whether answers rest on memory alone, because a log is out of reach or not yet read to its end."""
        feeds = [self.feed, *([self.institution.feed] if self.institution else [])]
        return any(feed.disconnected_since_ms is not None or not feed.caught_up.is_set() for feed in feeds)


WINDOW: Final = http.AppKey("window", Window)
