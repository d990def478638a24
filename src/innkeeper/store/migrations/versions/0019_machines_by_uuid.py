"""Find machines of all hosts by their UUIDs."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    op.create_index("machine_directory_by_uuid", "machine_directory", ["uuid"])
