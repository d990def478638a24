"""Add to servers why their last start failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    op.add_column("servers", sa.Column("trouble", sa.Text(), nullable=False, server_default=""))
