"""Run bodies durably on DBOS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import sqlalchemy as sa
import structlog
from dbos import (
    DBOS,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    SetWorkflowAttributes,
    SetWorkflowID,
    WorkflowStatus,
)

from innkeeper.store.journal_looks import look_only_for
from innkeeper.store.journal_loop import journal_loop, run_on
from innkeeper.store.postgresql import postgres_engine
from innkeeper.store.probing import SqliteProbe
from innkeeper.store.run import Parked, Run
from innkeeper.store.sqlite import Synchronous, prepare_file, sqlite_engine
from innkeeper.tasks.outcome import Record, attempt, traceback_of
from innkeeper.tasks.ports import Body, MayCarry, any_host
from innkeeper.tasks.supervision import Loops
from innkeeper.tasks.unjournalled_steps import UnjournalledSteps
from innkeeper.wire.events import Json

#: Never changed: DBOS takes up only the runs of its own version, and ours must outlive every upgrade.
_APPLICATION_VERSION: Final = "1"
_WORKFLOW: Final = "innkeeper.run"
#: The attribute of a run that names the host it works on.
_HOST: Final = "host"
#: A service that flaps all night must not give up a run: there is a machine behind it.
_MAX_RECOVERY_ATTEMPTS: Final = 1_000_000
_LIVE_STATES: Final = ["PENDING", "ENQUEUED", "DELAYED"]
_ENDED_STATES: Final = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_PURGE_BATCH: Final = 500
#: Seconds between two looks at this server's queue: only what is taken up waits for them.
_POLL_SECONDS: Final = 1.0
#: SQLite lets one writer in at a time: more connections only wait for one another.
_SQLITE_CONNECTIONS: Final = 4
_POSTGRES_CONNECTIONS: Final = 6
#: Threads that write journals, however many runs are live. Each waits by itself for a database that is away.
_JOURNAL_THREADS: Final = 16
#: Between two looks for runs that are this server's by the journal, and that it does not carry.
_WATCH: Final = dt.timedelta(seconds=30)
#: How long bodies may take to let go when the service closes.
_CLOSE_TIMEOUT: Final = 1.0

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class DbosEngine:
    """An ``Engine`` on DBOS: one to a process, since DBOS is.

    A body runs on the event loop that called ``launch``; its journal is kept on another. A live run holds no
    thread. Each start of a server has a name of its own with DBOS (``incarnation``): so nothing is taken up
    but by our own order, and then on this server's own queue, which no other server looks at.
    """

    def __init__(
        self,
        database: Path | sa.URL,
        *,
        server: str,
        incarnation: str | None = None,
        watch: dt.timedelta = _WATCH,
        loops: Loops | None = None,
    ) -> None:
        """``server`` is the server's id, the same in every life; ``incarnation`` begins with it.

        ``loops`` supervises the watch over runs.
        """
        self._database = database
        self._server = server
        self._incarnation = incarnation or new_incarnation(server)
        self._queue = f"srv-{server}"
        self._watch_interval = watch
        self._loops = loops or Loops()
        self._may_carry: MayCarry = any_host
        self._watching: asyncio.Task[None] | None = None
        #: Of the journal's file; nothing on PostgreSQL, where it lies in the database itself.
        self._probe: SqliteProbe | None = None
        self._bodies: dict[str, Body] = {}
        self._runs: dict[str, Run] = {}
        #: The hosts of runs that were started or taken up here, and have not begun yet.
        self._coming: dict[str, str | None] = {}
        #: Runs that were started here, and have not begun yet.
        self._starting: set[str] = set()
        #: Runs that began in this very life of the server: nothing of them was recorded before.
        self._fresh: set[str] = set()
        #: Runs that this server holds and does not carry: for a newer version, or for another server.
        self._left: set[str] = set()
        self._unjournalled: dict[asyncio.Task[None], str | None] = {}
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._journal: asyncio.AbstractEventLoop | None = None
        self._workflow: Callable[[str, str, str], Coroutine[object, object, str]] | None = None
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="innkeeper-engine")

    # -- its life ---------------------------------------------------------------------------------------

    def register(self, kind: str, body: Body) -> None:
        """Register the body that runs for ``kind``. Before ``launch``."""
        self._bodies[kind] = body

    async def launch(self, may_carry: MayCarry = any_host) -> None:
        """Open the journal and take up every run that a former life of this server left unfinished."""
        self._loop = asyncio.get_running_loop()
        self._may_carry = may_carry
        self._journal = await self._in_thread(self._launch)
        await self._take_up(lambda run: _carried_by(run, self._server) and self._may_take(_host_of(run)))
        self._watching = self._loops.start("watch over runs", self._watch)

    async def close(self) -> None:
        """Stop taking steps; unfinished runs go on at the next launch."""
        self._closing = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        runs = list(self._runs.values())
        await self._park(runs, list(self._unjournalled))
        if self._journal is not None:
            await self._until_ended(self._journal, runs)
            await self._in_thread(lambda: DBOS.destroy(destroy_registry=True))
        if self._probe is not None:
            await self._in_thread(self._probe.close)
        self._threads.shutdown(wait=False)

    async def _until_ended(self, journal: asyncio.AbstractEventLoop, runs: Sequence[Run]) -> None:
        """Give the journal the time to let go of runs; a database that is away does not hold the service."""

        async def wait() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    for run in runs:
                        await run.ended.wait()

        await run_on(journal, wait)

    # -- commands ---------------------------------------------------------------------------------------

    async def start(
        self, key: str, kind: str, argument: Mapping[str, Json], *, host: str | None = None
    ) -> None:
        """Start a run once: a second start with the same key does nothing."""
        text = json.dumps(argument)
        assert self._journal is not None, "launch comes before start"
        await run_on(self._journal, lambda: self._start(key, kind, text, host))

    def carry(self, key: str, kind: str, argument: Mapping[str, Json], *, host: str | None = None) -> None:
        """Run a body without a journal, on the loop alone."""
        body = partial(self._bodies[kind], key, argument, UnjournalledSteps())
        carried = asyncio.get_running_loop().create_task(_unjournalled(key, body), name=f"run {key}")
        self._unjournalled[carried] = host
        carried.add_done_callback(self._unjournalled.pop)

    async def take_over(self, hosts: Collection[str]) -> None:
        """Take up the unfinished runs of these hosts, whichever server has carried them."""
        await self._take_up(lambda run: _host_of(run) in hosts)

    async def let_go(self, hosts: Collection[str]) -> None:
        """Stop the runs of these hosts here, and leave them unfinished for who carries them next."""
        runs = [run for run in self._runs.values() if run.host in hosts]
        self._left.update(run.key for run in runs)
        await self._park(runs, [each for each, host in self._unjournalled.items() if host in hosts])

    async def purge(self, before: dt.datetime) -> int:
        """Forget the journals of runs that ended before; returns how many."""
        return await self._in_thread(lambda: _purge(before))

    # -- questions --------------------------------------------------------------------------------------

    @property
    def server(self) -> str:
        """The server's id."""
        return self._server

    @property
    def incarnation(self) -> str:
        """The name of this life of the server."""
        return self._incarnation

    @property
    def away_since(self) -> dt.datetime | None:
        """Since when the journal's file is away, as far as was looked; ``None`` while it answers."""
        return None if self._probe is None else self._probe.away_since

    async def probe(self) -> None:
        """Look whether the journal's file can be written to. Raises ``StoreAway``."""
        if self._probe is not None:
            await self._probe.probe()

    async def unfinished(self) -> Sequence[str]:
        """The keys of the runs that have not ended, on this server or another."""
        return [run.workflow_id for run in await self._in_thread(lambda: _runs(status=_LIVE_STATES))]

    # -- taking up --------------------------------------------------------------------------------------

    async def _take_up(self, wanted: Callable[[WorkflowStatus], bool]) -> None:
        """Put the wanted runs on this server's queue, but those that are there or live here."""
        found = await self._in_thread(lambda: _runs(status=_LIVE_STATES))
        await self._resume([run for run in found if wanted(run) and not self._is_here(run)])

    async def _resume(self, runs: Sequence[WorkflowStatus]) -> None:
        """Go on with runs from their last recorded step; who has carried them can record nothing more."""
        if not runs:
            return
        keys = [run.workflow_id for run in runs]
        _log.info("engine.runs_taken_up", runs=len(keys), queue=self._queue)
        self._coming.update((run.workflow_id, _host_of(run)) for run in runs)
        self._left.difference_update(keys)
        self._starting.difference_update(keys)
        await self._in_thread(lambda: DBOS.resume_workflows(keys, queue_name=self._queue))

    def _is_here(self, run: WorkflowStatus) -> bool:
        if run.status == "ENQUEUED" and run.queue_name == self._queue:
            return True
        carried = self._runs.get(run.workflow_id)
        return carried is not None and not carried.parked

    def _may_take(self, host: str | None) -> bool:
        return host is None or self._may_carry(host)

    async def _watch(self) -> None:
        """Look again and again for runs that are lost here (dbos-transact-py 716, 804)."""
        suspects: set[str] = set()
        while True:
            await asyncio.sleep(self._watch_interval.total_seconds())
            suspects = await self._look_for_lost(suspects)

    async def _look_for_lost(self, suspects: set[str]) -> set[str]:
        """Take up the runs found lost for the second time; returns those found for the first."""
        found = await self._in_thread(lambda: _runs(status=["PENDING"], executor_id=self._incarnation))
        lost = {run.workflow_id: run for run in found if not self._is_here(run)}
        lost = {key: run for key, run in lost.items() if key not in self._left}
        again = lost.keys() & suspects
        await self._resume([lost[key] for key in again])
        return lost.keys() - again

    # -- machinery --------------------------------------------------------------------------------------

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _park(self, runs: Sequence[Run], unjournalled: Sequence[asyncio.Task[None]]) -> None:
        for run in runs:
            run.park()
        for each in unjournalled:
            each.cancel()
        bodies = [run.task for run in runs if run.task is not None] + list(unjournalled)
        if bodies:
            await asyncio.wait(bodies, timeout=_CLOSE_TIMEOUT)

    def _launch(self) -> asyncio.AbstractEventLoop:
        """Start DBOS, and return the loop that the journal is kept on.

        This server's queue has no limits: a run that waits there is a machine that waits.
        """
        logging.getLogger("dbos").addHandler(logging.NullHandler())  # it adds one for the console otherwise
        if isinstance(self._database, Path):
            prepare_file(self._database)
            self._probe = SqliteProbe(self._database)
        DBOS(config=_config(self._database, self._incarnation))
        workflow = DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=_MAX_RECOVERY_ATTEMPTS)

        async def carry(key: str, kind: str, argument: str) -> str:
            return json.dumps(await self._carry(key, kind, argument))

        self._workflow = workflow(carry)
        DBOS.listen_queues([self._queue])
        DBOS.launch()
        look_only_for(lambda key: key not in self._fresh)
        DBOS.register_queue(self._queue, polling_interval_sec=_POLL_SECONDS, on_conflict="always_update")
        return journal_loop()

    async def _start(self, key: str, kind: str, argument: str, host: str | None) -> None:
        """Write the run down as this incarnation's, and begin it at once. On the journal's loop."""
        assert self._workflow is not None
        self._coming[key] = host
        self._starting.add(key)
        with SetWorkflowID(key), SetWorkflowAttributes(None if host is None else {_HOST: host}):
            await DBOS.start_workflow_async(self._workflow, key, kind, argument)

    async def _carry(self, key: str, kind: str, argument: str) -> Record:
        """Carry one run to its end. On the journal's loop."""
        former = self._runs.get(key)
        if former is not None:
            await former.ended.wait()
        if key in self._starting:
            self._starting.discard(key)
            self._fresh.add(key)
        try:
            return await self._carry_alone(key, kind, argument)
        finally:
            self._fresh.discard(key)

    async def _carry_alone(self, key: str, kind: str, argument: str) -> Record:
        host = await self._host_of_coming(key)
        body = self._bodies.get(kind)
        if body is None or self._loop is None or self._closing or not self._may_take(host):
            _log.warning("engine.run_left", key=key, kind=kind, host=host)
            self._left.add(key)
            raise Parked
        run = Run(key=key, host=host, body=body, argument=json.loads(argument), service=self._loop)
        self._runs[key] = run
        try:
            if self._closing:
                # ``close`` may have looked at the runs just before this one was there.
                raise Parked
            return await run.serve()
        finally:
            if run.left:
                self._left.add(key)
            if not self._closing:
                await run.body_gone.wait()
            self._runs.pop(key, None)
            run.ended.set()

    async def _host_of_coming(self, key: str) -> str | None:
        """The host of a run that begins here, also where it was put on our queue in a former life."""
        if key in self._coming:
            return self._coming.pop(key)
        # In a thread, which knows of no run: asked from within one, DBOS takes the question for a step of it.
        status = await self._in_thread(lambda: DBOS.get_workflow_status(key))
        return None if status is None else _host_of(status)


def new_incarnation(server: str) -> str:
    """A name for a new life of the server: DBOS must never meet two processes of one name (its issue 804)."""
    return f"{server}.{uuid.uuid4().hex}"


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
        max_executor_threads=_JOURNAL_THREADS,
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
        config["system_database_engine"] = _on_postgres(database, executor_id)
        config["dbos_system_schema"] = "innkeeper_runs"
    return config


def _on_postgres(database: sa.URL, executor_id: str) -> sa.Engine:
    """An engine whose failures to connect DBOS waits out: it knows not all of them by their text."""
    engine = postgres_engine(database, most=_POSTGRES_CONNECTIONS, name=f"innkeeper runs {executor_id}")

    @sa.event.listens_for(engine, "handle_error")
    def tell_as_lost(context: sa.ExceptionContext) -> None:
        if context.connection is None:
            context.is_disconnect = True

    return engine


def _runs(
    *,
    status: list[str],
    executor_id: str | None = None,
    completed_before: str | None = None,
    limit: int | None = None,
) -> list[WorkflowStatus]:
    return DBOS.list_workflows(
        name=_WORKFLOW,
        status=status,
        executor_id=executor_id,
        completed_before=completed_before,
        limit=limit,
        load_input=False,
        load_output=False,
    )


def _host_of(run: WorkflowStatus) -> str | None:
    host = (run.attributes or {}).get(_HOST)
    return None if host is None else str(host)


def _carried_by(run: WorkflowStatus, server: str) -> bool:
    """Whether a life of this server has carried the run; the last release gave all its lives one name."""
    return run.executor_id is not None and run.executor_id.partition(".")[0] == server


def _purge(before: dt.datetime) -> int:
    """In batches, so that no live run waits long for its journal."""
    gone = 0
    while batch := _runs(status=_ENDED_STATES, completed_before=before.isoformat(), limit=_PURGE_BATCH):
        DBOS.delete_workflows([run.workflow_id for run in batch])
        gone += len(batch)
    return gone
