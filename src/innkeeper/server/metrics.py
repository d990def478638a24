"""Prometheus metrics of the service."""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.errors import InnkeeperError
from innkeeper.machines.asking import ask
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import TaskFilter
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.states import MachineState, TaskResult, Verdict

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
#: Seconds; streams and waits are not measured.
_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: More than any service has running at once.
_ALL: Final = 100_000


class Metrics:
    """The service's metrics: counters kept as things happen, gauges read when asked for."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "innkeeper_http_requests",
            "Requests answered.",
            ("operation", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "innkeeper_http_request_seconds",
            "Time to the head of the answer.",
            ("operation",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._counters: dict[tuple[str, int], Counter] = {}
        self._clocks: dict[str, Histogram] = {}
        self._events = Counter("innkeeper_events", "Events told.", ("kind",), registry=registry)
        self._ended = Counter(
            "innkeeper_tasks_ended", "Tasks that have ended.", ("kind", "result"), registry=registry
        )
        self._verdicts = Counter(
            "innkeeper_update_runs_ended", "Update runs that have ended.", ("verdict",), registry=registry
        )
        self._machines = Gauge("innkeeper_machines", "Machines.", ("host", "state"), registry=registry)
        self._hosts = Gauge("innkeeper_host_up", "Whether the host answers.", ("host",), registry=registry)
        self._live = Gauge("innkeeper_tasks_live", "Tasks under way.", ("kind",), registry=registry)

    def answered(self, operation: str, status: int, seconds: float | None) -> None:
        """Count one request; long polls are counted without their time."""
        counter = self._counters.get((operation, status))
        if counter is None:  # finding a counter by its labels costs more than counting
            counter = self._counters[operation, status] = self.requests.labels(operation, status)
        counter.inc()
        if seconds is not None:
            clock = self._clocks.get(operation)
            if clock is None:
                clock = self._clocks[operation] = self.seconds.labels(operation)
            clock.observe(seconds)

    def on_event(self, event: Event) -> None:
        """Count one event."""
        self._events.labels(event.kind).inc()
        if event.kind is EventKind.TASK_ENDED:
            result = TaskResult(int(str(event.data["result"]))).name
            self._ended.labels(str(event.data["kind"]), result).inc()
        elif event.kind is EventKind.UPDATE_ENDED:
            self._verdicts.labels(str(event.data["verdict"])).inc()
        elif event.kind is EventKind.UPDATE_PUT_OFF:
            self._verdicts.labels(Verdict.NOT_STARTED).inc()

    async def page(self, machines: Machines, tasks: Tasks, away: Sequence[Host] = ()) -> bytes:
        """Return all metrics in Prometheus' text format; ``away`` are hosts that nobody looks after."""
        await asyncio.gather(*(self._look_at(host) for host in (*machines.hosts.values(), *away)))
        self._live.clear()
        for kind, count in Tally(
            task.kind for task in await tasks.list(TaskFilter(live=True, limit=_ALL))
        ).items():
            self._live.labels(kind).set(count)
        return generate_latest(self._registry)

    async def _look_at(self, host: Host) -> None:
        states: Tally[tuple[str, ...]] = Tally({(host.name, state.name): 0 for state in MachineState})
        try:
            states.update(
                (host.name, machine.state.name) for machine in await ask(host, lambda h: h.inventory.list())
            )
            self._hosts.labels(host.name).set(1)
        except InnkeeperError:
            self._hosts.labels(host.name).set(0)
        for labels, count in states.items():
            self._machines.labels(*labels).set(count)


class Measured:
    """Middleware: counts requests and their duration by operation."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status, seconds = 500, 0.0

        async def counting(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - began
            await send(message)

        try:
            await self._app(scope, receive, counting)
        finally:
            self._metrics.answered(_operation(scope), status, None if _is_waiting(scope) else seconds)


def _operation(scope: Scope) -> str:
    """Return the request's operation by its OpenAPI name.

    A path that no route knows is the caller's own text: it must not become a series.
    """
    operation = getattr(scope.get("route"), "operation_id", None)
    return str(operation or getattr(scope.get("endpoint"), "__name__", "unknown"))


def _is_waiting(scope: Scope) -> bool:
    """Whether the request is a long poll."""
    return scope["path"].endswith("/events") or b"wait_seconds" in scope.get("query_string", b"")
