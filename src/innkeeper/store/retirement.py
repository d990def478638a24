"""Look whether a server was retired, in the transaction of what it writes."""

from __future__ import annotations

import sqlalchemy as sa

from innkeeper.servers.server import ServerState
from innkeeper.store.tables import servers


def is_retired(connection: sa.Connection, server_id: str) -> bool:
    """Whether the server was retired; until the transaction's end it is not."""
    state = sa.select(servers.c.state).where(servers.c.id == server_id).with_for_update(read=True)
    return connection.scalar(state) == ServerState.RETIRED.value
