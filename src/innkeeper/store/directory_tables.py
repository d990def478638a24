"""Tables of the directory of machines and hosts, and of the authority by which servers know one another."""

from __future__ import annotations

import sqlalchemy as sa

from innkeeper.store.tables import Instant, Words, metadata

#: Text in the order of its code points, as Python compares it; so SQLite does by itself.
_Ordered = Words().with_variant(sa.Text(collation="C"), "postgresql")

machine_directory = sa.Table(
    "machine_directory",
    metadata,
    # The host's id and the machine's UUID.
    sa.Column("key", Words, primary_key=True),
    sa.Column("host_id", Words, nullable=False),
    sa.Column("host", _Ordered, nullable=False),
    sa.Column("name", _Ordered, nullable=False),
    # The name without the case of its letters.
    sa.Column("folded", Words, nullable=False),
    sa.Column("uuid", Words, nullable=False),
    sa.Column("state", Words, nullable=False),
    # A JSON list.
    sa.Column("labels", Words, nullable=False),
    # The machine as the HTTP interface tells it, as JSON.
    sa.Column("summary", Words, nullable=False),
)
sa.Index("machine_directory_by_place", machine_directory.c.name, machine_directory.c.host)
sa.Index("machine_directory_by_folded_name", machine_directory.c.folded)
sa.Index("machine_directory_by_uuid", machine_directory.c.uuid)
sa.Index("machine_directory_by_host", machine_directory.c.host_id)

host_directory = sa.Table(
    "host_directory",
    metadata,
    sa.Column("host_id", Words, primary_key=True),
    sa.Column("name", Words, nullable=False),
    sa.Column("uri", Words, nullable=False),
    sa.Column("server", Words, nullable=False),
    # As JSON.
    sa.Column("facts", Words, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.Column("seen_at", Instant),
)

authority = sa.Table(
    "authority",
    metadata,
    # There is one.
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    # Both as PEM. Whoever may read this table is a peer.
    sa.Column("certificate", Words, nullable=False),
    sa.Column("key", Words, nullable=False),
)
