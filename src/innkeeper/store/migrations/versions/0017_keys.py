"""Key tasks, bookings and reports by machines' keys: their rows get them when their machines are seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    op.add_column("tasks", sa.Column("about", sa.Text(), server_default="", nullable=False))
    for table in ("bookings", "reports"):
        op.add_column(table, sa.Column("machine_key", sa.Text(), server_default="", nullable=False))
    has_key = sa.text("machine_key != ''")
    op.create_index(
        "one_booking_a_machine_and_identifier",
        "bookings",
        ["machine_key", "identifier"],
        unique=True,
        sqlite_where=has_key,
        postgresql_where=has_key,
    )
    op.create_index("reports_by_machine_key", "reports", ["machine_key", "task_id"])
