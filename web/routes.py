"""The URL table: every path of the portal and the console, and who may use it.

Read by `web.app`, which denies what is not here, and by the document of the API.
Never holds logic: handlers do."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
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
from web.api import cases, document, people, shapes
from web.api.operations import Operation, Parameter
from web.cases.filters import SORTS, STATES
from web.identity.roles import Role, Scope
from web.pages import case, factors, home, keys, live, login, models, queue, registration, settings, users


@dataclass(frozen=True)
class Route:
    """One row: what answers there, and whom."""

    method: str
    path: str
    handler: Handler
    access: Access
    api: Operation | None = None
    """What the API's document says of it."""


_RECENT: Final = people_with(*EVERY_ROLE, recent=True)
_ENGINEERS: Final = people_with(Role.ML_ENGINEER)
_OFFICERS: Final = people_with(Role.OFFICER)
_MANAGING: Final = people_with(*MANAGERS)
_GRAVE: Final = people_with(*MANAGERS, recent=True)
_ROUNDS: Final = people_with(*EVERY_ROLE, scope=Scope.ROUNDS_READ)

_ANY_CALLER: Final = Access(roles=frozenset(EVERY_ROLE), any_scope=True)
_SEES_USERS: Final = people_with(*MANAGERS, scope=Scope.USERS_READ)
_CHANGES_USERS: Final = people_with(*MANAGERS, scope=Scope.USERS_WRITE, recent=True)
_KEYS: Final = people_with(*MANAGERS, scope=Scope.KEYS_WRITE, recent=True)
_NAME: Final = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"}
_CUSTOMER: Final = Parameter("customer", "path", _NAME, needed=True)
_COUNT: Final = Parameter("n", "query", {"type": "integer", "minimum": 1, "maximum": handlers.OFFERS_MAX}, says="How many.")
_SEES_CASES: Final = people_with(Role.OFFICER, scope=Scope.CASES_READ)
_QUEUE: Final = (
    Parameter("state", "query", {"type": "string", "enum": list(STATES)}),
    Parameter("head", "query", {"type": "string", "enum": ["fraud", "credit"]}),
    Parameter("customer", "query", {"type": "string", "maxLength": 64}, says="What the customer's name begins with; 3 characters or more."),
    Parameter("sort", "query", {"type": "string", "enum": list(SORTS)}),
    Parameter("page", "query", {"type": "integer", "minimum": 1, "maximum": 10_000}),
)
_IDEMPOTENCY_KEY: Final = Parameter("Idempotency-Key", "header", _NAME, needed=True, says="The same key is the same feedback.")

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
    # Officers.
    Route("GET", "/cases", queue.queue_page, _OFFICERS),
    Route("POST", "/cases/next", queue.take_next, _OFFICERS),
    Route("POST", "/cases/bulk", queue.bulk, _OFFICERS),
    Route("POST", "/cases/views", queue.save_view, _OFFICERS),
    Route("POST", "/cases/views/{view}/remove", queue.drop_view, _OFFICERS),
    Route("GET", "/cases/{case}", case.case_page, _OFFICERS),
    Route("POST", "/cases/{case}", case.act, _OFFICERS),
    Route("POST", "/cases/{case}/offers", case.answer, _OFFICERS),
    # ML engineers.
    Route("GET", "/models", models.models_page, _ENGINEERS),
    Route("GET", "/models/{head}", models.model_page, _ENGINEERS),
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
    # Other systems of the institution, and people's scripts.
    Route("GET", "/api", document.openapi_page, SIGNED_IN),
    Route("GET", "/api/openapi.json", document.openapi, PUBLIC),
    Route("GET", "/api/v1/me", people.me, _ANY_CALLER, Operation("Who you are.", shapes.CallerShape)),
    Route(
        "GET",
        "/api/v1/recommendations/{customer}",
        handlers.recommendations,
        people_with(Role.OFFICER, scope=Scope.RECOMMENDATIONS_READ),
        Operation(
            "The likeliest products for a customer, with reasons; from memory.",
            shapes.RecommendationsShape,
            parameters=(_CUSTOMER, _COUNT),
            problems=(HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE),
        ),
    ),
    Route(
        "POST",
        "/api/v1/scores/credit",
        scores.credit,
        people_with(Role.OFFICER, scope=Scope.SCORES_READ),
        Operation(
            "How likely an application ends in default, and why; for who objects to automated decisions, a person instead of a score.",
            shapes.ScoreShape,
            body=scores.ApplicationBody,
            problems=(HTTPStatus.NOT_FOUND,),
        ),
    ),
    Route(
        "POST",
        "/api/v1/feedback",
        handlers.feedback,
        people_with(Role.OFFICER, scope=Scope.FEEDBACK_WRITE),
        Operation(
            "What somebody said of a decision or a recommendation; answered once it is safe in the institution's log.",
            shapes.FeedbackTaken,
            HTTPStatus.ACCEPTED,
            handlers.FeedbackBody,
            (_IDEMPOTENCY_KEY,),
            (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND),
        ),
    ),
    Route("GET", "/api/v1/rounds", handlers.rounds, _ROUNDS, Operation("The newest rounds.", shapes.RoundsShape)),
    Route("GET", "/api/v1/institutions", handlers.institutions, _ROUNDS, Operation("Lag and quality.", shapes.InstitutionsShape)),
    Route("GET", "/api/v1/partnerships", handlers.partnerships, _ROUNDS, Operation("Vertical partnerships.", shapes.PartnershipsShape)),
    Route("GET", "/api/v1/cases", cases.cases, _SEES_CASES, Operation("The officers' queue.", shapes.CasesShape, parameters=_QUEUE)),
    Route("GET", "/api/v1/cases/{case}", cases.case, _SEES_CASES, Operation("One case, and why it was flagged.", shapes.CaseDetailShape)),
    Route(
        "POST",
        "/api/v1/cases/next",
        cases.take_next,
        _OFFICERS,
        Operation("Take the next case.", shapes.CaseShape, body=shapes.NextCase, problems=(HTTPStatus.NOT_FOUND,)),
    ),
    Route(
        "POST",
        "/api/v1/cases/{case}/decision",
        cases.decide,
        _OFFICERS,
        Operation("Decide about a case.", shapes.CaseShape, body=shapes.NewDecision, problems=(HTTPStatus.CONFLICT,)),
    ),
    Route("GET", "/api/v1/users", people.users, _SEES_USERS, Operation("Everybody here.", shapes.UsersShape)),
    Route("GET", "/api/v1/users/{person}", people.user, _SEES_USERS, Operation("One of them.", shapes.UserShape)),
    Route(
        "PATCH",
        "/api/v1/users/{person}",
        people.change_user,
        _CHANGES_USERS,
        Operation("Give a role, confirm, disable or enable.", shapes.UserShape, body=shapes.UserChange, problems=(HTTPStatus.CONFLICT,)),
    ),
    Route(
        "GET", "/api/v1/users/{person}/sessions", people.sessions, _SEES_USERS, Operation("Where they are logged in.", shapes.SessionsShape)
    ),
    Route(
        "DELETE",
        "/api/v1/users/{person}/sessions",
        people.end_sessions,
        _CHANGES_USERS,
        Operation("Log them out.", None, HTTPStatus.NO_CONTENT),
    ),
    Route(
        "DELETE",
        "/api/v1/users/{person}/sessions/{session}",
        people.end_session,
        _CHANGES_USERS,
        Operation("Log them out in one place.", None, HTTPStatus.NO_CONTENT),
    ),
    Route("GET", "/api/v1/invitations", people.invitations, _SEES_USERS, Operation("Open invitations.", shapes.InvitationsShape)),
    Route(
        "POST",
        "/api/v1/invitations",
        people.invite,
        _CHANGES_USERS,
        Operation("A one-time link for somebody new.", shapes.LinkShape, HTTPStatus.CREATED, shapes.NewInvitation),
    ),
    Route(
        "DELETE",
        "/api/v1/invitations/{invitation}",
        people.withdraw,
        _CHANGES_USERS,
        Operation("Take an invitation back.", None, HTTPStatus.NO_CONTENT),
    ),
    Route("GET", "/api/v1/keys", people.keys, _KEYS, Operation("Every living API key.", shapes.KeysShape)),
    Route("POST", "/api/v1/keys", people.make_key, _KEYS, Operation("A new API key.", shapes.KeyMade, HTTPStatus.CREATED, shapes.NewKey)),
    Route("DELETE", "/api/v1/keys/{key}", people.revoke_key, _KEYS, Operation("End a key.", None, HTTPStatus.NO_CONTENT)),
    Route("GET", "/metrics", handlers.metrics, people_with(scope=Scope.METRICS_READ)),
)
