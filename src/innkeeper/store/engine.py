"""Run bodies durably on DBOS."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from innkeeper.store.run import Parked, Run
from innkeeper.store.servers import Servers
from innkeeper.store.sqlite import Synchronous, prepare_file, sqlite_engine
from innkeeper.tasks.outcome import Record, attempt, traceback_of
from innkeeper.tasks.ports import Body
from innkeeper.tasks.unjournalled_steps import UnjournalledSteps
from innkeeper.wire.events import Json

#: Never changed: DBOS takes up only the runs of its own version, and ours must outlive every upgrade.
_APPLICATION_VERSION: Final = "1"
_WORKFLOW: Final = "innkeeper.run"
#: A service that flaps all night must not give up a run: there is a machine behind it.
_MAX_RECOVERY_ATTEMPTS: Final = 1_000_000
_LIVE_STATES: Final = ["PENDING", "ENQUEUED", "DELAYED"]
_ENDED_STATES: Final = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_PURGE_BATCH: Final = 500
#: SQLite lets one writer in at a time: more connections only wait for one another.
_SQLITE_CONNECTIONS: Final = 4
#: How long bodies may take to let go when the service closes.
_CLOSE_TIMEOUT: Final = 1.0

_log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Peers:
    """How servers that share a database watch over one another."""

    #: Between two signs of life.
    beat: dt.timedelta = dt.timedelta(seconds=10)
    #: Without a sign of life for so long, a server is dead: far longer than a beat, since one that only
    #: paused would meet its successor on the same machine.
    longest_silence: dt.timedelta = dt.timedelta(seconds=90)


class DbosEngine:
    """An ``Engine`` on DBOS: one to a process, since DBOS is.

    A body runs on the event loop that called ``launch``. Each live run also holds one thread of DBOS, which
    keeps its journal and sleeps between its steps.
    """

    def __init__(
        self,
        database: Path | sa.URL,
        *,
        executor_id: str,
        servers: Servers | None = None,
        peers: Peers = Peers(),
    ) -> None:
        """``servers`` is given where several share the database: they take up each other's runs then."""
        self._database = database
        self._executor_id = executor_id
        self._servers = servers
        self._peers = peers
        self._watching: asyncio.Task[None] | None = None
        self._bodies: dict[str, Body] = {}
        self._runs: dict[str, Run] = {}
        self._unjournalled: set[asyncio.Task[None]] = set()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._workflow: Callable[[str, str, str], str] | None = None
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="innkeeper-engine")

    def register(self, kind: str, body: Body) -> None:
        """Register the body that runs for ``kind``. Before ``launch``."""
        self._bodies[kind] = body

    async def launch(self) -> None:
        """Open the journal and take up every run that a crash left unfinished."""
        self._loop = asyncio.get_running_loop()
        await self._in_thread(self._launch)
        if self._servers is not None:
            self._watching = asyncio.create_task(self._watch(self._servers), name="watch over peers")

    async def start(self, key: str, kind: str, argument: Mapping[str, Json]) -> None:
        """Start a run once: a second start with the same key does nothing."""
        await self._in_thread(lambda: self._start(key, kind, json.dumps(argument)))

    def carry(self, key: str, kind: str, argument: Mapping[str, Json]) -> None:
        """Run a body without a journal, on the loop alone."""
        body = partial(self._bodies[kind], key, argument, UnjournalledSteps())
        carried = asyncio.get_running_loop().create_task(_unjournalled(key, body), name=f"run {key}")
        self._unjournalled.add(carried)
        carried.add_done_callback(self._unjournalled.discard)

    @property
    def name(self) -> str:
        """The executor id."""
        return self._executor_id

    async def dead(self) -> Sequence[str]:
        """The executor ids of peers that were not seen for too long."""
        if self._servers is None:
            return ()
        unseen = await self._servers.unseen_for(self._peers.longest_silence)
        return [executor_id for executor_id in unseen if executor_id != self._executor_id]

    async def unfinished(self) -> Sequence[str]:
        """The keys of the runs that have not ended, on this server or another."""
        return await self._in_thread(lambda: _keys(status=_LIVE_STATES))

    async def purge(self, before: dt.datetime) -> int:
        """Forget the journals of runs that ended before; returns how many."""
        return await self._in_thread(lambda: _purge(before))

    async def close(self) -> None:
        """Stop taking steps; unfinished runs go on at the next launch."""
        self._closing = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        runs = list(self._runs.values())
        for run in runs:
            run.park()
        bodies = [run.task for run in runs if run.task is not None]
        for carried in self._unjournalled:
            carried.cancel()
        bodies.extend(self._unjournalled)
        if bodies:
            await asyncio.wait(bodies, timeout=_CLOSE_TIMEOUT)
        if self._workflow is not None:
            await self._in_thread(lambda: DBOS.destroy(destroy_registry=True))
        self._threads.shutdown(wait=False)

    async def _watch(self, servers: Servers) -> None:
        """Show that this server lives, and take up the runs of those that no longer do."""
        while True:
            try:
                await self._beat(servers)
            except Exception as exc:  # the next beat does it; a database that is away must not end the watch
                _log.warning("engine.beat_missed", error=str(exc))
            await asyncio.sleep(self._peers.beat.total_seconds())

    async def _beat(self, servers: Servers) -> None:
        await servers.beat(self._executor_id)
        dead = await self.dead()
        if dead:
            await self._in_thread(lambda: _take_over(list(dead)))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _launch(self) -> None:
        _quieten()
        if isinstance(self._database, Path):
            prepare_file(self._database)
        DBOS(config=_config(self._database, self._executor_id))
        workflow = DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=_MAX_RECOVERY_ATTEMPTS)

        def carry(key: str, kind: str, argument: str) -> str:
            return json.dumps(self._carry(key, kind, argument))

        self._workflow = workflow(carry)
        DBOS.launch()

    def _start(self, key: str, kind: str, argument: str) -> None:
        assert self._workflow is not None, "launch comes before start"
        with SetWorkflowID(key):
            DBOS.start_workflow(self._workflow, key, kind, argument)

    def _carry(self, key: str, kind: str, argument: str) -> Record:
        """Carry one run to its end, in a thread of DBOS."""
        body = self._bodies.get(kind)
        if body is None or self._loop is None or self._closing:
            _log.warning("engine.run_left", key=key, kind=kind)
            raise Parked
        run = self._runs[key] = Run(key, body, json.loads(argument), self._loop)
        if self._closing:
            # ``close`` may have looked at the runs just before this one was there.
            raise Parked
        try:
            return run.serve()
        finally:
            self._runs.pop(key, None)


async def _unjournalled(key: str, body: Callable[[], Awaitable[Json]]) -> None:
    _, error = await attempt(body)
    if error is not None:
        _log.error("engine.run_broke", key=key, traceback=traceback_of(error))


def _config(database: Path | sa.URL, executor_id: str) -> DBOSConfig:
    config = DBOSConfig(
        name="innkeeper",
        executor_id=executor_id,
        application_version=_APPLICATION_VERSION,
        serializer=DBOSPortableJSONSerializer(),
        log_level="WARNING",
        enable_otlp=False,
        # We use none of DBOS's messages, events, cron schedules: nothing to listen for.
        use_listen_notify=False,
        notification_listener_polling_interval_sec=0.5,
        scheduler_polling_interval_sec=3600.0,
    )
    if isinstance(database, Path):
        config["system_database_engine"] = sqlite_engine(
            database, connections=_SQLITE_CONNECTIONS, synchronous=Synchronous.FULL
        )
    else:
        config["system_database_url"] = database.render_as_string(hide_password=False)
        config["dbos_system_schema"] = "innkeeper_runs"
    return config


def _quieten() -> None:
    """Leave logging to the service: DBOS adds a console handler where it finds none."""
    logging.getLogger("dbos").addHandler(logging.NullHandler())


def _keys(*, status: list[str], completed_before: str | None = None, limit: int | None = None) -> list[str]:
    found = DBOS.list_workflows(
        name=_WORKFLOW,
        status=status,
        completed_before=completed_before,
        limit=limit,
        load_input=False,
        load_output=False,
    )
    return [workflow.workflow_id for workflow in found]


def _take_over(dead: list[str]) -> None:
    """Put the runs of dead servers where any live one takes them up, from their last recorded step."""
    found = DBOS.list_workflows(
        name=_WORKFLOW, status="PENDING", executor_id=dead, load_input=False, load_output=False
    )
    if found:
        _log.warning("engine.runs_taken_over", servers=dead, runs=len(found))
        DBOS.resume_workflows([workflow.workflow_id for workflow in found])


def _purge(before: dt.datetime) -> int:
    """In batches, so that no live run waits long for its journal."""
    gone = 0
    while batch := _keys(status=_ENDED_STATES, completed_before=before.isoformat(), limit=_PURGE_BATCH):
        DBOS.delete_workflows(batch)
        gone += len(batch)
    return gone
