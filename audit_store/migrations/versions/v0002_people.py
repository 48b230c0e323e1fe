"""People: whether a password was set by somebody else, and the data-use attestation with its last day."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("person", sa.Column("temporary", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("person", sa.Column("attestation", sa.String(length=200), nullable=True))
    op.add_column("person", sa.Column("attestation_expires", sa.String(length=10), nullable=True))
