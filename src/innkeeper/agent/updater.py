"""Start updates as processes of their own and follow them: the built-in plug-ins."""

import hashlib
import subprocess
import sys
from typing import Dict, List, Optional, cast

from innkeeper.agent import disturbed
from innkeeper.agent.backends import BACKENDS
from innkeeper.agent.backends.quiet import start_again
from innkeeper.agent.command import ask, environment
from innkeeper.agent.context import read_context
from innkeeper.agent.journal import MAX_PACKAGES, Journal
from innkeeper.agent.places import Places
from innkeeper.agent.plugin import NotifySink, PluginError, TaskPlugin
from innkeeper.agent.preparation import RUNNING, Preparation, look, was_ready
from innkeeper.agent.run import Json, Request, Run
from innkeeper.agent.shortage import shortages
from innkeeper.agent.status import Status


class Updater(TaskPlugin):
    """The plug-in over one package manager.

    Each step runs in a unit of its own where there is systemd, else in a session of its own, so that
    an update of the agent, or of its Python, does not kill the update.
    """

    def __init__(self, backend: str, places: Places, journal: Journal) -> None:
        self._backend = backend
        self._places = places
        self._journal = journal
        self._sink: Optional[NotifySink] = None
        self._runs: Dict[str, Run] = {}
        #: Workers without systemd, to be waited for.
        self._children: List["subprocess.Popen[bytes]"] = []

    @property
    def plugin_name(self) -> str:
        """``Innkeeper apt updates``."""
        return f"Innkeeper {self._backend} updates"

    def initialize(self, sink: NotifySink) -> None:
        """Take the sink."""
        self._sink = sink

    def terminate(self, hresult: int) -> None:
        """Release the sink; running updates continue."""
        self._sink = None
        self._runs.clear()

    def start_task(self, label: str, identifier: str, context: bytes) -> None:
        """Start the update; raises ``PluginError`` for a context that asks the impossible."""
        _expect_sense(context)
        prepared = Run.of(self._places.runs, identifier, "prepare")
        request = Request("update", self._backend, label, identifier, context, since=prepared.asked_at)
        self._start(request._replace(is_prepared=was_ready(prepared)))

    @property
    def can_prepare(self) -> bool:
        """Whether its package manager's back end can."""
        return BACKENDS[self._backend].can_prepare

    def prepare(self, label: str, identifier: str, context: bytes, attempt: str, offset: int) -> Preparation:
        """Begin it in a process of its own, or look how far that is."""
        self._reap()
        run = Run.of(self._places.runs, identifier, "prepare")
        if run.attempt == attempt:
            return look(run, offset)
        _expect_sense(context)
        if run.has_begun and run.is_held():
            run.ask_to_stop()
            return Preparation(RUNNING, "An earlier preparation is being stopped")
        run.prepare(Request("prepare", self._backend, label, identifier, context, attempt))
        self._spawn(run)
        return Preparation(RUNNING)

    def stop_preparing(self, identifier: str) -> None:
        """Ask the worker to stop; what it has downloaded stays."""
        run = Run.of(self._places.runs, identifier, "prepare")
        if run.was_prepared:
            run.ask_to_stop()

    def rebooted(self, identifier: str) -> None:
        """Start the check that follows a reboot."""
        self._journal.tasks[identifier].offset = 0
        self._start(Request("check", self._backend, "", identifier, b""))

    def resume(self, identifier: str) -> None:
        """Follow the step it was at; begin it where the agent died before it could."""
        step = "check" if self._journal.tasks[identifier].status is Status.REBOOTED else "update"
        run = Run.of(self._places.runs, identifier, step)
        if not run.was_prepared:
            if step == "check":
                self.rebooted(identifier)
                return
            if self._sink is not None:
                self._sink.on_task_unchanged(identifier)
            raise PluginError("The agent was killed before the update could begin.")
        self._runs[identifier] = run
        if not run.has_begun and not run.is_held():
            self._spawn(run)

    def disturbed(self, identifier: str, start: bool) -> List[str]:
        """By what the update's worker has seen."""
        run = Run.of(self._places.runs, identifier, "update")
        return disturbed.start_again(run) if start else disturbed.known(run)

    def may_have_changed(self, identifier: str) -> bool:
        """Not where its worker had not come to that yet."""
        has_looked = self._journal.tasks[identifier].status in (Status.SEARCHING, Status.DOWNLOADING)
        return not has_looked or Run.of(self._places.runs, identifier, "update").may_have_acted

    def cancel(self, identifier: str) -> None:
        """Ask the worker to stop; past its download it goes on to its end."""
        if identifier in self._runs:
            self._runs[identifier].ask_to_stop()

    def poll(self, identifier: str) -> None:
        """Take in what the worker has written."""
        self._reap()
        run = self._runs.get(identifier)
        if run is None:
            return
        # Asked before the events are read: a worker that ends between has its end among them.
        is_dead = run.has_begun and not run.is_held()
        task = self._journal.tasks[identifier]
        events, task.offset = run.events(task.offset)
        for event in events:
            self._take(identifier, event)
        if identifier in self._runs and not events and (is_dead or run.is_overdue):
            start_again(run)
            short = shortages(self._places, "", run.asked_at)
            self._fail(identifier, f"The update program has died{short}.")

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]

    def _start(self, request: Request) -> None:
        run = Run.of(self._places.runs, request.identifier, request.step)
        run.prepare(request)
        self._runs[request.identifier] = run
        self._spawn(run)

    def _spawn(self, run: Run) -> None:
        argv = [*own_command(), "--root", self._places.root, "work", run.path]
        if self._places.has_systemd:
            unit = "innkeeper-update-" + hashlib.sha256(run.path.encode()).hexdigest()[:16]
            answer = ask(["systemd-run", "--quiet", "--collect", f"--unit={unit}", "--", *argv])
            if answer.code == 0:
                return
        self._children.append(
            subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(),
                start_new_session=True,
            )
        )

    def _take(self, identifier: str, event: Json) -> None:
        sink = self._sink
        if sink is None:
            return
        text = str(event.get("text", ""))
        if "output" in event:
            sink.on_task_output(identifier, str(event["output"]))
        elif "packages" in event:
            packages = cast(List[List[str]], event["packages"])[:MAX_PACKAGES]
            sink.on_task_packages(identifier, [(p[0], p[1], p[2]) for p in packages])
        elif "status" in event:
            sink.on_task_progress(identifier, cast(Optional[int], event.get("percent")), text)
            sink.on_task_state_change(identifier, Status(cast(int, event["status"])))
        elif "end" in event:
            if event.get("unchanged") is True:
                sink.on_task_unchanged(identifier)
            self._end(identifier, str(event["end"]), text)

    def _end(self, identifier: str, end: str, text: str) -> None:
        assert self._sink is not None
        if end == "success":
            del self._runs[identifier]
            self._sink.on_task_progress(identifier, 100, text)
            self._sink.on_task_state_change(identifier, Status.SUCCESS)
        elif end == "reboot":
            del self._runs[identifier]
            self._sink.reboot_for(identifier, text)
        else:
            self._fail(identifier, text)

    def _fail(self, identifier: str, text: str) -> None:
        del self._runs[identifier]
        if self._sink is not None:
            self._sink.on_task_progress(identifier, None, text)
            self._sink.on_task_state_change(identifier, Status.FAILED)


def _expect_sense(context: bytes) -> None:
    try:
        read_context(context)
    except ValueError as exc:
        raise PluginError(str(exc)) from None


def own_command() -> List[str]:
    """Return the words that run this program again: from its one file, or from its package."""
    if sys.argv[0].endswith(".pyz"):
        return [sys.executable, "-I", "-S", sys.argv[0]]
    return [sys.executable, "-m", "innkeeper.agent"]
