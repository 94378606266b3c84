"""The tables, as SQLAlchemy Core knows them; times are milliseconds since 1970 UTC.

Read by `web.identity`, `web.cases` and by the test that compares them with what the migrations make.
Never holds a password, a token or a code that could be used: only hashes, and the one-time-code secrets under a key that lies elsewhere."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, ForeignKey, Index, LargeBinary, MetaData, String, Table, text

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_ID: Final = String(32)
_HASH: Final = String(64)


def _person() -> Column[str]:
    return Column("person_id", _ID, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True)


# Whose database this is: a portal refuses another's.
owner = Table("owner", METADATA, Column("name", String(64), primary_key=True))

people = Table(
    "people",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("name", String(120), nullable=False),
    Column("role", String(20), nullable=False),
    Column("status", String(12), nullable=False),
    Column("password_hash", String(200), nullable=False),
    Column("totp_secret", LargeBinary),
    Column("totp_step", BigInteger, nullable=False),  # Of the newest code that was accepted; none at or before it is again.
    Column("job", String(120), nullable=False),
    Column("phone", String(40), nullable=False),
    Column("zone", String(64), nullable=False),
    Column("notify", JSON, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("profiled_at_ms", BigInteger),
)

recovery_codes = Table(
    "recovery_codes",
    METADATA,
    Column("code_hash", _HASH, primary_key=True),
    _person(),
    Column("used_at_ms", BigInteger),
)

sessions = Table(
    "sessions",
    METADATA,
    Column("token_hash", _HASH, primary_key=True),
    Column("id", _ID, nullable=False, unique=True),
    _person(),
    Column("level", String(12), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
    Column("confirmed_at_ms", BigInteger, nullable=False),
    Column("wrong_codes", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
    Column("agent", String(200), nullable=False),
)

invitations = Table(
    "invitations",
    METADATA,
    Column("token_hash", _HASH, primary_key=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("email", String(254)),
    Column("person_id", _ID, ForeignKey("people.id", ondelete="CASCADE")),  # Set: a new password for somebody who is here already.
    Column("made_by", String(254), nullable=False),
    Column("made_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("used_at_ms", BigInteger),
)

api_keys = Table(
    "api_keys",
    METADATA,
    Column("key_hash", _HASH, primary_key=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("name", String(120), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("made_by", String(254), nullable=False),
    Column("made_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("revoked_at_ms", BigInteger),
)

# Tries by account, address or code holder; `subject` is a hash, so that nobody's mistyped address is kept.
tries = Table(
    "tries",
    METADATA,
    Column("subject", _HASH, primary_key=True),
    Column("at_ms", JSON, nullable=False),
    Column("newest_ms", BigInteger, nullable=False, index=True),
    Column("locked", Boolean, nullable=False),
)

# --- officers' work ---------------------------------------------------------------------------------------------------
_NAME: Final = String(64)  # federation.limits.NAME_LENGTH_MAX: customers, events, products.


def _case() -> Column[str]:
    return Column("case_id", _ID, ForeignKey("cases.id", ondelete="CASCADE"), nullable=False, index=True)


cases = Table(
    "cases",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("head", String(12), nullable=False),
    Column("customer", _NAME, nullable=False, index=True),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("due_at_ms", BigInteger, nullable=False),
    Column("risk", Float(53), nullable=False),
    Column("amount", Float(53), nullable=False),
    Column("state", String(12), nullable=False, index=True),
    Column("version", BigInteger, nullable=False),
    Column("assignee", _ID, ForeignKey("people.id")),
    Column("snoozed_until_ms", BigInteger),
    Column("outcome", String(20)),
    Column("reason", String(40)),
    Column("note", String(1000), nullable=False),
    Column("decided_by", _ID, ForeignKey("people.id")),
    Column("decided_at_ms", BigInteger),
    Column("approved_by", _ID, ForeignKey("people.id")),
    Column("closed_at_ms", BigInteger),
)
# One case that is not closed per customer and head, whatever the code does.
Index(
    "ix_cases_one_at_a_time",
    cases.c.head,
    cases.c.customer,
    unique=True,
    sqlite_where=text("state != 'closed'"),
    postgresql_where=text("state != 'closed'"),
)

# The flagged events that a case is about.
case_events = Table(
    "case_events",
    METADATA,
    Column("head", String(12), primary_key=True),
    Column("event_id", _NAME, primary_key=True),
    _case(),
    Column("occurred_at_ms", BigInteger, nullable=False),
    Column("amount", Float(53), nullable=False),
    Column("terminal", _NAME, nullable=False),
    Column("log_odds", Float(53), nullable=False),
    Column("active", JSON, nullable=False),
    Column("points", JSON, nullable=False),
    Column("model_version", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("round", BigInteger, nullable=False),
    Column("layout_digest", String(64), nullable=False),
)

# What happened to a case, a row per version of it.
case_history = Table(
    "case_history",
    METADATA,
    Column("case_id", _ID, ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", _ID, ForeignKey("people.id")),  # None: the portal itself.
    Column("move", String(12), nullable=False),
    Column("detail", JSON, nullable=False),
)

# What the local model is to be told: written with the decision, sent until the log has it.
case_feedback = Table(
    "case_feedback",
    METADATA,
    Column("event_id", _NAME, primary_key=True),
    _case(),
    Column("head", String(12), nullable=False),
    Column("subject", _NAME, nullable=False),
    Column("customer", _NAME, nullable=False),
    Column("product", _NAME),
    Column("verdict", String(20), nullable=False),
    Column("occurred_at_ms", BigInteger, nullable=False),
    Column("sent_at_ms", BigInteger),
)

case_views = Table(
    "case_views",
    METADATA,
    Column("id", _ID, primary_key=True),
    _person(),
    Column("name", String(60), nullable=False),
    Column("query", String(500), nullable=False),
    Column("shared", Boolean, nullable=False),
)

# How far the flagged events have become cases.
case_places = Table(
    "case_places",
    METADATA,
    Column("topic", String(200), primary_key=True),
    Column("partition", BigInteger, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)
