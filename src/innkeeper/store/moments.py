"""Moments by the database's own clock, which all servers share."""

from __future__ import annotations

import datetime as dt
from typing import Final

import sqlalchemy as sa

from innkeeper.store.tables import Instant

_NO_TIME: Final = dt.timedelta()


def moment(connection: sa.Connection, *, later: dt.timedelta = _NO_TIME) -> sa.ColumnElement[dt.datetime]:
    """Return the present moment, or one so much later.

    ``now()`` of PostgreSQL is the beginning of the transaction: a lease that has run out since then would
    still hold. A SQLite file is on the computer of its one server, and that one's clock is as good.
    """
    if connection.dialect.name != "postgresql":
        return sa.literal(dt.datetime.now(dt.UTC) + later, Instant)
    now = sa.func.clock_timestamp(type_=Instant)
    return sa.type_coerce(now + sa.literal(later, sa.Interval), Instant) if later else now
