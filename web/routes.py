"""The URL table: every path of the portal and the console, and who may use it.

Read by `web.app`, which denies what is not here, and by the document of the API.
Never holds logic: handlers do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp.typedefs import Handler

from web import handlers, scores
from web.access import (
    BARE,
    CODE_AWAITED,
    CONFIRMING,
    ENROLLING,
    EVERY_ROLE,
    LEAVING,
    MANAGERS,
    PUBLIC,
    SIGNED_IN,
    Access,
    people_with,
)
from web.identity.roles import Role, Scope
from web.pages import factors, home, keys, live, login, registration, settings, users


@dataclass(frozen=True)
class Route:
    """One row: what answers there, and whom."""

    method: str
    path: str
    handler: Handler
    access: Access


_RECENT: Final = people_with(*EVERY_ROLE, recent=True)
_MANAGING: Final = people_with(*MANAGERS)
_GRAVE: Final = people_with(*MANAGERS, recent=True)
_ROUNDS: Final = people_with(*EVERY_ROLE, scope=Scope.ROUNDS_READ)

ROUTES: Final = (
    # Anybody.
    Route("GET", "/", home.home, PUBLIC),
    Route("GET", "/privacy", home.privacy, PUBLIC),
    Route("GET", "/security", home.security, PUBLIC),
    Route("GET", "/components", home.components, PUBLIC),
    Route("GET", "/health/live", handlers.health_live, BARE),
    Route("GET", "/health/ready", handlers.health_ready, BARE),
    # In and out.
    Route("GET", "/register", registration.register_page, PUBLIC),
    Route("POST", "/register", registration.register, PUBLIC),
    Route("GET", "/invitation/{token}", registration.invitation_page, PUBLIC),
    Route("POST", "/invitation/{token}", registration.invitation, PUBLIC),
    Route("GET", "/login", login.login_page, PUBLIC),
    Route("POST", "/login", login.login, PUBLIC),
    Route("GET", "/login/code", login.code_page, CODE_AWAITED),
    Route("POST", "/login/code", login.code, CODE_AWAITED),
    Route("POST", "/logout", login.logout, LEAVING),
    Route("GET", "/confirm", login.confirm_page, CONFIRMING),
    Route("POST", "/confirm", login.confirm, CONFIRMING),
    # Everybody who has logged in.
    Route("POST", "/stay", login.stay, LEAVING),
    Route("GET", "/dashboard", home.dashboard, SIGNED_IN),
    Route("GET", "/live", live.live_page, SIGNED_IN),
    Route("GET", "/events", live.live_events, people_with(*EVERY_ROLE, renews=False)),
    Route("GET", "/settings", settings.settings_page, SIGNED_IN),
    Route("POST", "/settings/profile", settings.save_profile, SIGNED_IN),
    Route("POST", "/settings/sessions/{session}/end", settings.end_session, SIGNED_IN),
    Route("POST", "/settings/sessions/end-others", settings.end_others, SIGNED_IN),
    Route("GET", "/settings/app", factors.app_page, ENROLLING),
    Route("POST", "/settings/app", factors.app, ENROLLING),
    Route("POST", "/settings/app/remove", factors.give_up_app, _RECENT),
    Route("POST", "/settings/codes", factors.codes, _RECENT),
    Route("GET", "/settings/password", factors.password_page, SIGNED_IN),
    Route("POST", "/settings/password", factors.password, SIGNED_IN),
    # Who manages people.
    Route("GET", "/users", users.users_page, _MANAGING),
    Route("GET", "/users/{person}", users.person_page, _MANAGING),
    Route("POST", "/users/{person}", users.govern, _GRAVE),
    Route("POST", "/users/{person}/app/reset", users.reset_app, _GRAVE),
    Route("POST", "/users/{person}/password-link", users.password_link, _GRAVE),
    Route("POST", "/users/{person}/sessions/end", users.end_sessions, _GRAVE),
    Route("POST", "/invitations", users.invite, _GRAVE),
    Route("POST", "/invitations/{invitation}/withdraw", users.withdraw, _GRAVE),
    Route("GET", "/keys", keys.keys_page, _MANAGING),
    Route("POST", "/keys", keys.make_key, _GRAVE),
    Route("POST", "/keys/{key}/revoke", keys.revoke_key, _GRAVE),
    # Other systems of the institution.
    Route(
        "GET", "/api/v1/recommendations/{customer}", handlers.recommendations, people_with(Role.OFFICER, scope=Scope.RECOMMENDATIONS_READ)
    ),
    Route("POST", "/api/v1/scores/credit", scores.credit, people_with(Role.OFFICER, scope=Scope.SCORES_READ)),
    Route("POST", "/api/v1/feedback", handlers.feedback, people_with(Role.OFFICER, scope=Scope.FEEDBACK_WRITE)),
    Route("GET", "/api/v1/rounds", handlers.rounds, _ROUNDS),
    Route("GET", "/api/v1/institutions", handlers.institutions, _ROUNDS),
    Route("GET", "/api/v1/partnerships", handlers.partnerships, _ROUNDS),
    Route("GET", "/metrics", handlers.metrics, people_with(scope=Scope.METRICS_READ)),
)
