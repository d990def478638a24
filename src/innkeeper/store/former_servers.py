"""Servers of releases from before servers owned hosts: they lock their names for a session of PostgreSQL."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from innkeeper.errors import ErrorCode, ServiceError

#: The revision of the tables from which on servers own hosts.
_LEASES: Final = "0013"


def is_held(connection: sa.Connection, name: str) -> bool:
    """Whether a process of such a release serves under this name."""
    key = sa.func.hashtextextended(f"innkeeper server {name}", 0)
    return not connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(key)))


def refuse_former_servers(connection: sa.Connection) -> None:
    """Raise ``ServiceError`` where such servers work on tables that would be brought up to date under them.

    They look after no host by a lease, and write whole rows: a booking that has begun would wait again.
    """
    if not sa.inspect(connection).has_table("alembic_version"):
        return
    revision = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if revision is None or str(revision) >= _LEASES:
        return
    names = connection.scalars(sa.text("SELECT name FROM servers ORDER BY name")).all()
    if alive := [str(name) for name in names if is_held(connection, str(name))]:
        raise ServiceError(
            f"Servers of a release that cannot be beside this one work on this database: {', '.join(alive)}.",
            code=ErrorCode.ERROR_REVISION_MISMATCH,
            advice="Stop Innkeeper on each of them, then start this release on all.",
        )
