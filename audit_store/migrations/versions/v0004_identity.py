"""Accounts of an identity provider, sessions that end with their token, and whether an attestation is asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("person", sa.Column("issuer", sa.String(length=200), nullable=True))
    op.add_column("person", sa.Column("subject_digest", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_person_subject_digest"), "person", ["subject_digest"], unique=True)
    op.add_column("session", sa.Column("expires_at", sa.DateTime(), nullable=True))
    op.add_column("session", sa.Column("token_digest", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_session_token_digest"), "session", ["token_digest"], unique=True)
    op.create_table(
        "access_rule",
        sa.Column("id", seq, autoincrement=False, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("require_attestation", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_rule")),
    )
