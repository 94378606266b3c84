"""People, their sessions, invitations and API keys.

Run by Alembic.
Never edited once released."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None

_ID: Final = sa.String(32)
_HASH: Final = sa.String(64)


def _person() -> sa.Column[str]:
    return sa.Column("person_id", _ID, sa.ForeignKey("people.id", ondelete="CASCADE"), nullable=False)


def upgrade() -> None:
    """Make the first tables."""
    op.create_table("owner", sa.Column("name", sa.String(64), primary_key=True))
    op.create_table(
        "people",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("totp_secret", sa.LargeBinary),
        sa.Column("totp_step", sa.BigInteger, nullable=False),
        sa.Column("job", sa.String(120), nullable=False),
        sa.Column("phone", sa.String(40), nullable=False),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("notify", sa.JSON, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("profiled_at_ms", sa.BigInteger),
        sa.UniqueConstraint("email", name="uq_people_email"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("code_hash", _HASH, primary_key=True),
        _person(),
        sa.Column("used_at_ms", sa.BigInteger),
    )
    op.create_index("ix_recovery_codes_person_id", "recovery_codes", ["person_id"])
    op.create_table(
        "sessions",
        sa.Column("token_hash", _HASH, primary_key=True),
        sa.Column("id", _ID, nullable=False),
        _person(),
        sa.Column("level", sa.String(12), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
        sa.Column("confirmed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("wrong_codes", sa.BigInteger, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(200), nullable=False),
        sa.UniqueConstraint("id", name="uq_sessions_id"),
    )
    op.create_index("ix_sessions_person_id", "sessions", ["person_id"])
    op.create_table(
        "invitations",
        sa.Column("token_hash", _HASH, primary_key=True),
        sa.Column("id", _ID, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("email", sa.String(254)),
        sa.Column("person_id", _ID, sa.ForeignKey("people.id", ondelete="CASCADE")),
        sa.Column("made_by", sa.String(254), nullable=False),
        sa.Column("made_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("used_at_ms", sa.BigInteger),
        sa.UniqueConstraint("id", name="uq_invitations_id"),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_hash", _HASH, primary_key=True),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("made_by", sa.String(254), nullable=False),
        sa.Column("made_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.Column("revoked_at_ms", sa.BigInteger),
        sa.UniqueConstraint("id", name="uq_api_keys_id"),
    )
    op.create_table(
        "tries",
        sa.Column("subject", _HASH, primary_key=True),
        sa.Column("at_ms", sa.JSON, nullable=False),
        sa.Column("newest_ms", sa.BigInteger, nullable=False),
        sa.Column("locked", sa.Boolean, nullable=False),
    )
    op.create_index("ix_tries_newest_ms", "tries", ["newest_ms"])
