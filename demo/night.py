"""Run one night on three real machines, through the doors that everybody uses."""

from __future__ import annotations

import datetime as dt
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from rich.console import Console

import innkeeper
from demo.cast import Cast
from demo.machines import GUESTS, Guest, disk_of
from demo.place import Place
from demo.proof import (
    Finding,
    checksum,
    checksum_findings,
    disk_findings,
    reboot_findings,
    state_findings,
    verdict_findings,
)
from demo.report import print_report
from demo.service import Service, environment, innkeeper_command
from demo.view import NightView
from innkeeper.errors import ServiceError
from innkeeper.wire.messages import ReportMessage, UpdateMessage, WindowRequest
from innkeeper.wire.states import MachineState, UpdateStatus

_BOOT_SECONDS = 240.0
_NIGHT_SECONDS = 900.0
_REFRESH_SECONDS = 0.4
#: How long the service stays dead in the demo's crash.
_DEAD_SECONDS = 2.0


class NightError(Exception):
    """The night could not be run; says why and where to look."""


class Night:
    """One night: put the machines into their states, book, follow, report, prove."""

    def __init__(
        self, console: Console, place: Place, service: Service, *, crash: bool, cast: Cast | None
    ) -> None:
        self._console = console
        self._place = place
        self._service = service
        self._crash = crash
        self._cast = cast
        self._inn = service.start()
        self._identifier = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checksum")
        self._checksum: Future[str] | None = None

    def boot(self) -> None:
        """Boot all machines, wait for their task agents, and save those that shall be found asleep."""
        for task in [self._inn.machines[guest.name].startup() for guest in GUESTS]:
            self._finish(task, _BOOT_SECONDS)
        self._wait_for_agents()
        asleep = [guest.name for guest in GUESTS if guest.state is MachineState.SAVED]
        for task in [self._inn.machines[name].save() for name in asleep]:
            self._finish(task, _BOOT_SECONDS)

    def book(self) -> None:
        """Open a window that is open now, and book every machine's update in it."""
        opened = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
        self._inn.windows.add(
            WindowRequest(
                name="demo",
                dates=(opened.date(),),
                opens_at=opened.time().replace(microsecond=0),
                duration_seconds=3 * 3600,
            )
        )
        for guest in GUESTS:
            self._inn.machines[guest.name].updates.book(
                label=f"Upgrade of {guest.name}", identifier=self._identifier
            )

    def tonight(self) -> str:
        """What ``innkeeper tonight`` promises."""
        told = subprocess.run(
            innkeeper_command("tonight"), env=environment(self._place), capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        return (told.stdout + told.stderr).rstrip()

    def follow(self) -> None:
        """Show the night until every update has its verdict; kill the service in it where that was asked."""
        deadline = time.monotonic() + _NIGHT_SECONDS
        stories = {guest.name: guest.story for guest in GUESTS}
        with NightView(self._console, stories, self._cast) as view:
            while time.monotonic() < deadline:
                updates = self._updates()
                view.show(updates)
                if all(_is_over(update) for update in updates):
                    return
                self._read_rolled_back_disk(updates)
                if self._crash and any(update.status is UpdateStatus.APPLYING for update in updates):
                    self._crash = False
                    view.say("[bold red]kill -9[/] of the service, in the middle of it …")
                    self._restart()
                    view.say("… and it is back: it takes up where it was.")
                time.sleep(_REFRESH_SECONDS)
        raise NightError(f"The night took longer than {_NIGHT_SECONDS:.0f} s; see {self._place.service_log}.")

    def report(self) -> dict[str, ReportMessage | None]:
        """Print and return what the service reports."""
        reports = {
            guest.name: self._inn.machines[guest.name].updates[self._identifier].report for guest in GUESTS
        }
        print_report(self._console, reports)
        return reports

    def prove(self, reports: dict[str, ReportMessage | None]) -> Sequence[Finding]:
        """Look for ourselves: at the machines' states, then, with all switched off, at their disks."""
        states = {message.name: message.state for message in self._inn.machines.list()}
        findings = [*verdict_findings(GUESTS, reports), *state_findings(GUESTS, states)]
        ours = self._checksum.result() if self._checksum is not None else ""
        findings += checksum_findings(reports["db-1"], ours)
        findings += reboot_findings(_guest("old-1"), reports["old-1"], self._place)
        self.switch_off()
        return [*findings, *disk_findings(GUESTS, self._place)]

    def switch_off(self) -> None:
        """Pull the plug of every machine that runs."""
        running = [each.name for each in self._inn.machines.list() if each.state is MachineState.RUNNING]
        for task in [self._inn.machines[name].turn_off() for name in running]:
            self._finish(task, 60)

    def _finish(self, task: innkeeper.Task, seconds: float) -> None:
        if not task.wait(seconds):
            raise NightError(f"“{task.description}” did not end in {seconds:.0f} s; {self._where()}")
        if task.error:
            raise NightError(f"“{task.description}” failed: {task.error_description} {self._where()}")

    def _wait_for_agents(self) -> None:
        deadline = time.monotonic() + _BOOT_SECONDS
        silent = {guest.name for guest in GUESTS}
        while silent and time.monotonic() < deadline:
            time.sleep(_REFRESH_SECONDS)
            silent = {each.name for each in self._inn.machines.list() if not each.agent_connected}
        if silent:
            names = ", ".join(sorted(silent))
            raise NightError(
                f"The task agent of {names} did not answer in {_BOOT_SECONDS:.0f} s; {self._where()}"
            )

    def _where(self) -> str:
        place = self._place
        return f"See {place.service_log}, and the consoles {place.machines}/*.console.log."

    def _updates(self) -> Sequence[UpdateMessage]:
        return _patiently(
            lambda: [each for each in self._inn.updates.list() if each.identifier == self._identifier]
        )

    def _read_rolled_back_disk(self, updates: Sequence[UpdateMessage]) -> None:
        """Take our own checksum of db-1's disk while its update writes to the undo disk over it."""
        applying = any(
            update.machine == "db-1" and update.status is UpdateStatus.APPLYING for update in updates
        )
        if applying and self._checksum is None:
            self._checksum = self._reader.submit(checksum, disk_of(_guest("db-1"), self._place.machines))

    def _restart(self) -> None:
        self._service.kill()
        time.sleep(_DEAD_SECONDS)
        self._inn.close()
        self._inn = self._service.start()


def _guest(name: str) -> Guest:
    return next(guest for guest in GUESTS if guest.name == name)


def _is_over(update: UpdateMessage) -> bool:
    return update.verdict is not None and (update.task is None or update.task.is_complete)


def _patiently(read: Callable[[], Sequence[UpdateMessage]]) -> Sequence[UpdateMessage]:
    """Read, and bear a service that does not answer for a moment."""
    for _ in range(20):
        try:
            return read()
        except ServiceError:
            time.sleep(0.5)
    return read()
