"""Where a store belongs: its workspace, and whether it takes decisions or has moved elsewhere."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("head", sa.Column("workspace_id", sa.String(length=64), nullable=True))
    op.add_column("head", sa.Column("state", sa.String(length=16), nullable=False, server_default="open"))
    op.add_column("head", sa.Column("moved_to", sa.Text(), nullable=True))
