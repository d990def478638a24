"""Widen the rows of servers, and lay out the leases of hosts.

What is added has defaults: servers of the last release go on writing their rows beside this one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    moment = sa.DateTime(timezone=True)
    for column in (
        sa.Column("incarnation", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("home", sa.Text(), nullable=False, server_default=""),
        sa.Column("address", sa.Text(), nullable=False, server_default=""),
        sa.Column("version", sa.Text(), nullable=False, server_default=""),
        sa.Column("state", sa.Text(), nullable=False, server_default="serving"),
        sa.Column("started_at", moment, nullable=True),
        sa.Column("until", moment, nullable=True),
    ):
        op.add_column("servers", column)
    op.create_table(
        "host_leases",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False, server_default=""),
        sa.Column("server", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("until", moment, nullable=True),
        sa.PrimaryKeyConstraint("host"),
    )
    op.create_index("host_leases_by_server", "host_leases", ["server"])
    op.create_table(
        "host_reaches",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("stand_in", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("host", "server"),
    )
