"""Officers' work: cases, what they are about, what happened to them, and what the local model is to be told.

Run by Alembic.
Never edited once released."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

_ID: Final = sa.String(32)
_NAME: Final = sa.String(64)


def _case(**more: Any) -> sa.Column[str]:
    return sa.Column("case_id", _ID, sa.ForeignKey("cases.id", ondelete="CASCADE"), nullable=False, **more)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "cases",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("head", sa.String(12), nullable=False),
        sa.Column("customer", _NAME, nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
        sa.Column("due_at_ms", sa.BigInteger, nullable=False),
        sa.Column("risk", sa.Float(53), nullable=False),
        sa.Column("amount", sa.Float(53), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("assignee", _ID, sa.ForeignKey("people.id")),
        sa.Column("snoozed_until_ms", sa.BigInteger),
        sa.Column("outcome", sa.String(20)),
        sa.Column("reason", sa.String(40)),
        sa.Column("note", sa.String(1000), nullable=False),
        sa.Column("decided_by", _ID, sa.ForeignKey("people.id")),
        sa.Column("decided_at_ms", sa.BigInteger),
        sa.Column("approved_by", _ID, sa.ForeignKey("people.id")),
        sa.Column("closed_at_ms", sa.BigInteger),
    )
    op.create_index("ix_cases_customer", "cases", ["customer"])
    op.create_index("ix_cases_state", "cases", ["state"])
    unclosed = sa.text("state != 'closed'")
    op.create_index("ix_cases_one_at_a_time", "cases", ["head", "customer"], unique=True, sqlite_where=unclosed, postgresql_where=unclosed)
    op.create_table(
        "case_events",
        sa.Column("head", sa.String(12), primary_key=True),
        sa.Column("event_id", _NAME, primary_key=True),
        _case(),
        sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.Float(53), nullable=False),
        sa.Column("terminal", _NAME, nullable=False),
        sa.Column("log_odds", sa.Float(53), nullable=False),
        sa.Column("active", sa.JSON, nullable=False),
        sa.Column("points", sa.JSON, nullable=False),
        sa.Column("model_version", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("round", sa.BigInteger, nullable=False),
        sa.Column("layout_digest", sa.String(64), nullable=False),
    )
    op.create_index("ix_case_events_case_id", "case_events", ["case_id"])
    op.create_table(
        "case_history",
        _case(primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("actor", _ID, sa.ForeignKey("people.id")),
        sa.Column("move", sa.String(12), nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
    )
    op.create_table(
        "case_feedback",
        sa.Column("event_id", _NAME, primary_key=True),
        _case(),
        sa.Column("head", sa.String(12), nullable=False),
        sa.Column("subject", _NAME, nullable=False),
        sa.Column("customer", _NAME, nullable=False),
        sa.Column("product", _NAME),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("occurred_at_ms", sa.BigInteger, nullable=False),
        sa.Column("sent_at_ms", sa.BigInteger),
    )
    op.create_index("ix_case_feedback_case_id", "case_feedback", ["case_id"])
    op.create_table(
        "case_views",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("person_id", _ID, sa.ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("query", sa.String(500), nullable=False),
        sa.Column("shared", sa.Boolean, nullable=False),
    )
    op.create_index("ix_case_views_person_id", "case_views", ["person_id"])
    op.create_table(
        "case_places",
        sa.Column("topic", sa.String(200), primary_key=True),
        sa.Column("partition", sa.BigInteger, primary_key=True),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
    )
