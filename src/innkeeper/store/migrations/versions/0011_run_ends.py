"""Add to runs the end of the repetition that started them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    op.add_column("schedule_runs", sa.Column("ends_by", sa.DateTime(timezone=True), nullable=True))
