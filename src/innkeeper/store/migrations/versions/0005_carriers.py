"""Add the server that carries a task without a journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    op.add_column("tasks", sa.Column("carrier", sa.Text(), nullable=True))
