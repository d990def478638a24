"""Add to tasks the host that each works on and the server that carries it; find cancels without a search."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TO_CANCEL = sa.text("cancel_requested AND result IS NULL")


def upgrade() -> None:
    """Bring the tables forward."""
    op.add_column("tasks", sa.Column("host", sa.Text(), nullable=True))
    op.add_column("tasks", sa.Column("server", sa.Text(), nullable=True))
    op.create_index("tasks_to_cancel", "tasks", ["id"], sqlite_where=_TO_CANCEL, postgresql_where=_TO_CANCEL)
