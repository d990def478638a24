"""Opening of the store: tables, and the journal of durable runs."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
import structlog

from innkeeper.errors import InvalidArgument, ServiceError
from innkeeper.servers.server import Server
from innkeeper.store.adoption import SqlAdoption
from innkeeper.store.answer_store import SqlAnswerStore
from innkeeper.store.audit_store import SqlAuditStore
from innkeeper.store.authority_store import SqlAuthorityStore
from innkeeper.store.booking_store import SqlBookingStore
from innkeeper.store.channel_store import SqlChannelStore
from innkeeper.store.database import Database
from innkeeper.store.directory import SqlDirectory
from innkeeper.store.engine import DbosEngine
from innkeeper.store.identity_store import (
    SqlAccountStore,
    SqlGrantStore,
    SqlSessionStore,
    SqlTokenStore,
)
from innkeeper.store.leases import LEASE_TTL, Leases
from innkeeper.store.option_store import SqlOptionStore
from innkeeper.store.outbox import SqlOutbox
from innkeeper.store.parameter_store import SqlParameterStore
from innkeeper.store.report_store import SqlReportStore
from innkeeper.store.schedule_store import SqlScheduleStore
from innkeeper.store.servers import Servers
from innkeeper.store.task_store import SqlTaskStore
from innkeeper.store.window_store import SqlWindowStore
from innkeeper.tasks import patience
from innkeeper.tasks.supervision import Loops
from innkeeper.wire.version import VERSION

_log = structlog.get_logger(__name__)

#: A file has one server, whatever its computer is called today.
_ONLY_SERVER: Final = "this computer"
#: How long a server that ends waits to say so.
_LEAVING_SECONDS: Final = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """The whole store, opened by ``open_store``."""

    database: Database
    tasks: SqlTaskStore
    bookings: SqlBookingStore
    adoption: SqlAdoption
    windows: SqlWindowStore
    parameters: SqlParameterStore
    reports: SqlReportStore
    schedule: SqlScheduleStore
    channels: SqlChannelStore
    audit: SqlAuditStore
    accounts: SqlAccountStore
    grants: SqlGrantStore
    tokens: SqlTokenStore
    sessions: SqlSessionStore
    answers: SqlAnswerStore
    options: SqlOptionStore
    directory: SqlDirectory
    authority: SqlAuthorityStore
    servers: Servers
    leases: Leases
    #: This server, at this start.
    server: Server
    outbox: SqlOutbox
    #: Not launched yet: whoever registers the bodies launches it, and closes it before the store.
    engine: DbosEngine

    @property
    def is_shared(self) -> bool:
        """Whether other servers may use the store too."""
        return not self.database.is_sqlite

    async def close(self, trouble: str = "") -> None:
        """Give the server's name up and close the database; the engine is closed by then.

        ``trouble`` says why this start has failed.
        """
        try:
            with patience.bounded(_LEAVING_SECONDS):
                await self.servers.leave(self.server, trouble)
        except ServiceError as error:  # the name is free when its time has run out
            _log.warning("store.name_kept", server=self.server.name, error=str(error))
        finally:
            await self.database.close()


#: Entered while a store is opened, with what names the trouble of its database meanwhile.
During = Callable[[Callable[[], str]], AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def _nothing_during(trouble: Callable[[], str]) -> AsyncIterator[None]:
    yield


async def open_store(
    url: str,
    *,
    server: str,
    home: str = "",
    lease: dt.timedelta = LEASE_TTL,
    events: str | None = None,
    during: During = _nothing_during,
    loops: Loops | None = None,
) -> Store:
    """Open the database at ``url`` as ``server``; its tables are made or brought up to date.

    ``home`` names the state directory, where this process alone has it open; ``lease`` is how long the name
    and hosts stay with a server that shows no sign of life. ``during`` surrounds the opening, which
    lasts as long as the database is away. ``events`` is the address at which events of others are heard,
    where that is another than ``url``; ``loops`` supervises what goes on for ever.

    ``url`` is ``sqlite:////path/to/innkeeper.sqlite``, beside which the runs get a file of their own, or
    ``postgresql://user:password@host/name``, which several servers may share under different names.
    A database that is away is waited for. Raises ``ServiceError`` where it refuses us or fails, or another
    process serves under this name.
    """
    to_listen_at = None if events is None else _heard_at(events)
    database = await Database.connect(_parsed(url), server)
    try:
        async with during(lambda: database.trouble):
            await database.look()
            await database.claim()
            await database.migrate()
            servers = Servers(database, ttl=lease)
            own = await _enrol(database, servers, server, home)
    except BaseException:
        await database.close()
        raise
    return Store(
        database=database,
        tasks=SqlTaskStore(database),
        bookings=SqlBookingStore(database),
        adoption=SqlAdoption(database),
        windows=SqlWindowStore(database),
        parameters=SqlParameterStore(database),
        reports=SqlReportStore(database),
        schedule=SqlScheduleStore(database),
        channels=SqlChannelStore(database),
        audit=SqlAuditStore(database),
        accounts=SqlAccountStore(database),
        grants=SqlGrantStore(database),
        tokens=SqlTokenStore(database),
        sessions=SqlSessionStore(database),
        answers=SqlAnswerStore(database),
        options=SqlOptionStore(database),
        directory=SqlDirectory(database, own.id),
        authority=SqlAuthorityStore(database),
        servers=servers,
        leases=Leases(database, ttl=lease),
        server=own,
        outbox=SqlOutbox(database, to_listen_at),
        engine=DbosEngine(_journal(database.url), server=own.id, incarnation=own.executor_id, loops=loops),
    )


async def _enrol(database: Database, servers: Servers, name: str, home: str) -> Server:
    if not database.is_sqlite:
        return await servers.enrol(name, home=home, version=VERSION)
    # Nobody else has the file: what its row says of a former start is of no account.
    return dataclasses.replace(
        await servers.enrol(_ONLY_SERVER, home=_ONLY_SERVER, version=VERSION), name=name
    )


def _parsed(text: str, setting: str = "database") -> sa.URL:
    """The database's URL. Its text is in no message: it may hold a password."""
    with contextlib.suppress(sa.exc.ArgumentError, ValueError):
        url = sa.make_url(text)
        if url.get_backend_name() in ("sqlite", "postgresql"):
            return url
    raise InvalidArgument(
        f"The setting “{setting}” is the URL of no database that Innkeeper can use.",
        advice="Write sqlite:////path/to/innkeeper.sqlite or postgresql://user@host/name.",
    )


def _heard_at(text: str) -> sa.URL:
    """Return the URL at which events of others are heard, which PostgreSQL alone tells."""
    url = _parsed(text, "database_events")
    if url.get_backend_name() != "postgresql":
        raise InvalidArgument(
            "The setting “database_events” is the URL of no PostgreSQL database.",
            advice="Write postgresql://user@host/name, or leave it out.",
        )
    return url


def _journal(url: sa.URL) -> Path | sa.URL:
    if url.get_backend_name() != "sqlite":
        return url
    path = Path(str(url.database))
    return path.with_name(f"{path.stem}-runs{path.suffix}")
