"""Add the watches of scheduled tasks, and the trigger of each run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    op.create_table(
        "schedule_boots",
        sa.Column("computer", sa.Text(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("computer"),
    )
    tasks: list[sa.Column[int] | sa.Column[str]] = [
        sa.Column("watches", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("series", sa.Text(), nullable=False, server_default="[]"),
    ]
    for column in tasks:
        op.add_column("scheduled_tasks", column)
    op.create_index(
        "scheduled_tasks_watching",
        "scheduled_tasks",
        ["watches"],
        unique=False,
        sqlite_where=sa.text("watches != 0"),
        postgresql_where=sa.text("watches != 0"),
    )
    runs = [
        sa.Column("given", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("run_as", sa.Text(), nullable=False, server_default=""),
    ]
    for column in runs:
        op.add_column("schedule_runs", column)
