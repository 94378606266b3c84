"""What the API takes and answers, as pydantic models.

Read by the handlers of `web.api` and by the writer of its document.
Never holds a field that a caller of that route may not see."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from web.identity.invitations import Invitation
from web.identity.keys import ApiKey
from web.identity.person import Person
from web.identity.sessions import Session

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Millis = Annotated[int, Field(ge=0, description="Milliseconds since 1970 UTC.")]
RoleName = Literal["administrator", "officer", "ml_engineer", "operator"]
ScopeName = Literal[
    "recommendations:read",
    "feedback:write",
    "scores:read",
    "cases:read",
    "rounds:read",
    "users:read",
    "users:write",
    "keys:write",
    "metrics:read",
]  # A test compares these with the roles and scopes there are.


class _Taken(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ProblemShape(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


class UserShape(BaseModel):
    """Somebody who may use the portal, or waits to."""

    id: Id
    email: str
    name: str
    role: RoleName
    status: Literal["pending", "active", "disabled"]
    authenticator_app: bool
    job: str
    phone: str
    zone: str
    created_at_ms: Millis

    @classmethod
    def of(cls, person: Person) -> UserShape:
        """As the API shows them."""
        return cls(
            id=person.id, email=person.email, name=person.name, role=person.role.value, status=person.status.value,
            authenticator_app=person.has_code, job=person.job, phone=person.phone, zone=person.zone, created_at_ms=person.created_at_ms,
        )  # fmt: skip


class UsersShape(BaseModel):
    """Everybody."""

    users: list[UserShape]


class UserChange(_Taken):
    """What may be changed of somebody else; their sessions end."""

    role: RoleName | None = None
    status: Literal["active", "disabled"] | None = None


class SessionShape(BaseModel):
    """One place where somebody is logged in."""

    id: Id
    level: Literal["half", "enrol", "full"]
    created_at_ms: Millis
    seen_at_ms: Millis
    address: str
    agent: str

    @classmethod
    def of(cls, session: Session) -> SessionShape:
        """As the API shows it."""
        return cls(
            id=session.id, level=session.level.value, created_at_ms=session.created_at_ms, seen_at_ms=session.seen_at_ms,
            address=session.address, agent=session.agent,
        )  # fmt: skip


class SessionsShape(BaseModel):
    """Where somebody is logged in."""

    sessions: list[SessionShape]


class NewInvitation(_Taken):
    """Whom to invite."""

    role: RoleName
    email: Annotated[str, Field(max_length=254)] | None = None


class InvitationShape(BaseModel):
    """An open invitation, without its link."""

    id: Id
    role: RoleName
    email: str | None
    made_by: str
    made_at_ms: Millis
    expires_at_ms: Millis

    @classmethod
    def of(cls, invitation: Invitation) -> InvitationShape:
        """As the API shows it."""
        return cls(
            id=invitation.id, role=invitation.role.value, email=invitation.email, made_by=invitation.made_by, made_at_ms=invitation.made_at_ms,
            expires_at_ms=invitation.expires_at_ms,
        )  # fmt: skip


class InvitationsShape(BaseModel):
    """Open invitations."""

    invitations: list[InvitationShape]


class LinkShape(BaseModel):
    """A one-time link, shown once."""

    link: str


class NewKey(_Taken):
    """A key for one of the institution's systems. A key can make keys with its own scopes only."""

    name: Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9 ._:-]+$")]
    scopes: Annotated[list[ScopeName], Field(min_length=1, max_length=32)]
    days: Annotated[int, Field(ge=1, le=730)] = 90


class KeyShape(BaseModel):
    """A key, without the key."""

    id: Id
    name: str
    scopes: list[ScopeName]
    made_by: str
    made_at_ms: Millis
    expires_at_ms: Millis | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyShape:
        """As the API shows it."""
        return cls(
            id=key.id, name=key.name, scopes=sorted(scope.value for scope in key.scopes), made_by=key.made_by, made_at_ms=key.made_at_ms,
            expires_at_ms=key.expires_at_ms,
        )  # fmt: skip


class KeysShape(BaseModel):
    """Every living key."""

    keys: list[KeyShape]


class KeyMade(BaseModel):
    """A new key, shown once."""

    id: Id
    key: str


class CallerShape(BaseModel):
    """Who the caller is."""

    kind: Literal["person", "key"]
    name: str
    role: RoleName | None
    scopes: list[ScopeName]


class Reason(BaseModel):
    """Why something is recommended."""

    because: str
    points: float


class Offer(BaseModel):
    """One recommended product."""

    id: str
    title: str
    family: str
    score: float
    reasons: list[Reason]


class RecommendationsShape(BaseModel):
    """The likeliest products for a customer."""

    recommendation_id: str
    institution: str
    customer: str
    known: bool
    model_version: int
    round: int
    epoch: int
    generated_at_ms: Millis
    degraded: bool
    items: list[Offer]
    withheld: str | None


class ScoreShape(BaseModel):
    """Who decides about an application, and if it is the model, what it says."""

    event_id: str
    customer: str
    head: str
    generated_at_ms: Millis
    decided_by: Literal["model", "person"]
    why: str | None
    probability: float | None
    reasons: list[Reason]
    model_version: int | None = None
    degraded: bool | None = None


class FeedbackTaken(BaseModel):
    """Feedback is safe in the institution's log."""

    accepted: bool
    duplicate: bool
    event_id: str


class RoundsShape(BaseModel):
    """The newest rounds, newest first."""

    rounds: list[dict[str, Any]]


class InstitutionsShape(BaseModel):
    """Lag and quality by institution and head."""

    institutions: list[dict[str, Any]]


class PartnershipsShape(BaseModel):
    """What either party last said of each partnership."""

    partnerships: list[dict[str, Any]]


RiskName = Literal["fraud", "credit"]
OutcomeName = Literal["confirmed", "false_positive", "inconclusive"]


class CaseShape(BaseModel):
    """A customer's flagged events of one kind, until somebody has decided on them."""

    id: Id
    head: RiskName
    customer: str
    state: Literal["open", "assigned", "snoozed", "decided", "closed"]
    version: Annotated[int, Field(ge=0, description="Goes up with every change; a decision names the one that it is about.")]
    risk: Annotated[float, Field(ge=0, le=1, description="The highest probability among its events.")]
    amount: Annotated[float, Field(ge=0, description="Of its events together, in the account's currency.")]
    priority: Annotated[float, Field(ge=0, description="risk x amount x urgency")]
    opened_at_ms: Millis
    due_at_ms: Millis
    assignee: Id | None
    outcome: OutcomeName | None
    reason: str | None
    closed_at_ms: Millis | None


class CasesShape(BaseModel):
    """A page of the queue."""

    cases: list[CaseShape]
    matching: Annotated[int, Field(ge=0)]
    page: Annotated[int, Field(ge=1)]


class PointShape(BaseModel):
    """A feature's part of a score, in log-odds."""

    feature: str
    value: str
    points: float


class FlaggedShape(BaseModel):
    """A flagged event: `base` and all points add up to `log_odds`."""

    event_id: str
    occurred_at_ms: Millis
    amount: Annotated[float, Field(ge=0)]
    probability: Annotated[float, Field(ge=0, le=1)]
    log_odds: float
    base: float
    points: list[PointShape]
    model_version: int
    epoch: int
    round: int


class CaseDetailShape(BaseModel):
    """A case and its events."""

    case: CaseShape
    events: list[FlaggedShape]


class NextCase(_Taken):
    """Which kind of case to take; any, if none is named."""

    head: RiskName | None = None


class NewDecision(_Taken):
    """What an officer decides about a case that is theirs."""

    version: int
    outcome: OutcomeName
    reason: Annotated[str, Field(min_length=1, max_length=40)]
    note: Annotated[str, Field(min_length=1, max_length=1000)]
