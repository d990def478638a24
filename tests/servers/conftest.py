"""A database for servers: leases on PostgreSQL have tests of their own, in the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.store.database import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An open database."""
    database = await Database.connect(sa.make_url(f"sqlite:///{tmp_path}/innkeeper.sqlite"))
    await database.migrate()
    yield database
    await database.close()
