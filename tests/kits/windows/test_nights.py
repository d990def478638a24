"""Whole nights of a Windows guest, through the host's side of kits and the update run, on the simulated host.

The guest is a recorded one (``commands``): made after Microsoft's documentation, never taken from a Windows
machine. What these nights prove is what the host makes of such answers.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from innkeeper.channels.kits.agents import KitAgents
from innkeeper.channels.kits.session import KitSession
from innkeeper.channels.ports import GuestAgent
from innkeeper.errors import AgentError
from innkeeper.machines.machine import MachineState
from innkeeper.tasks.clock import FakeClock, SystemClock
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import Report, Verdict
from innkeeper.wire.states import GuestWay
from tests.kits.test_agents import NoAgents
from tests.kits.windows.commands import MACHINE, WindowsCommands, session_with
from tests.kits.windows.machine import Windows
from tests.kits.windows.updates import Update
from tests.updates.inn import PATIENT, Inn

#: Windows puts an update in place for so long, while it goes down and comes up: longer than a policy waits.
CONFIGURING_S = 900.0
_LOOK_S = 10.0
assert PATIENT.agent_seconds < CONFIGURING_S


class WindowsAgents:
    """The guests of an inn of which each is that Windows (``GuestAgents``)."""

    def __init__(self, windows: Windows, clock: FakeClock) -> None:
        self._windows = windows
        self._clock = clock
        self._commands = WindowsCommands(windows)
        self._began = windows.now
        self._down_since: float | None = None

    async def connected(
        self, machine: str, *, timeout: float, other_boot_than: str = "", told: float | None = None
    ) -> GuestAgent:
        """A session with the kit, once the guest answers in another boot."""
        give_up = self._clock.monotonic() + timeout
        while True:
            self._live()
            session = None if self._windows.is_down else await session_with(self._commands, self._clock)
            if session is not None and session.hello.boot_id != other_boot_than:
                return session
            left = give_up - self._clock.monotonic()
            if left <= 0:
                raise AgentError("Windows does not answer.", machine=machine)
            await self._clock.sleep(min(left, _LOOK_S))

    def is_connected(self, machine: str) -> bool:
        """Whether it answers now."""
        return not self._windows.is_down

    def way(self, machine: str) -> GuestWay | None:
        """By its kit."""
        return GuestWay.QEMU_GUEST_AGENT if self.is_connected(machine) else None

    def silence(self, machine: str) -> AgentError | None:
        """Nothing is known."""
        return None

    def limits(self, machine: str) -> tuple[str, ...]:
        """Not of interest here."""
        return ()

    def heartbeat(self, machine: str) -> int | None:
        """None: there is no task agent."""
        return None

    def _live(self) -> None:
        """Let the guest's clock go on with the night's, and let it come up when its time has come."""
        now = self._clock.monotonic()
        self._windows.now = max(self._windows.now, self._began + dt.timedelta(seconds=now))
        if not self._windows.is_down:
            self._down_since = None
        elif self._down_since is None:
            self._down_since = now
        elif now - self._down_since >= CONFIGURING_S and not self._windows.never_comes_back:
            self._windows.reboot(seconds=0)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Night:
    """How a night went."""

    result: TaskResult | None
    report: Report
    state: MachineState
    leftovers: list[str]


async def night(directory: Path, windows: Windows) -> Night:
    """Update a running machine with that guest."""
    inn = Inn(directory)
    inn.other_agents = WindowsAgents(windows, inn.clock)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.ended((await inn.start()).id)
    return Night(
        result=task.result,
        report=await inn.report(task.id),
        state=(await inn.machine()).state,
        leftovers=inn.leftovers(),
    )


def _cumulative(**more: object) -> Update:
    return Update("KB5031364", "Cumulative Update", **{"wants_reboot": True, **more})  # type: ignore[arg-type]  # ours


async def test_a_good_night(tmp_path: Path, windows: Windows) -> None:
    """Downloaded, protected, installed, rebooted for a quarter of an hour, healthy, kept."""
    windows.updates = [_cumulative(), Update("KB5030000", "Servicing stack", exclusive=True)]
    found = await night(tmp_path, windows)
    assert found.report.reasons == ()
    assert (found.result, found.report.verdict) == (TaskResult.SUCCESS, Verdict.KEPT)
    assert [package.name for package in found.report.packages] == ["KB5030000", "KB5031364"]
    assert windows.boots == 1
    assert not [finding for finding in found.report.findings if finding.is_fault]
    assert dict(found.report.phase_seconds)["reboot"] >= CONFIGURING_S
    assert (found.state, found.leftovers) == (MachineState.RUNNING, [])


async def test_a_service_that_the_update_breaks_is_rolled_back(tmp_path: Path, windows: Windows) -> None:
    """With what the service control manager said of it."""
    windows.updates = [_cumulative()]
    windows.service("Shop").breaks = True
    found = await night(tmp_path, windows)
    assert found.report.verdict is Verdict.ROLLED_BACK
    assert "The unit Shop.service has failed." in found.report.reasons
    (shop,) = [finding for finding in found.report.findings if finding.subject == "unit:Shop.service"]
    assert shop.evidence[0] == "Stopped, starts: Auto, exit code 1067 (Windows has words for 1067)"
    assert shop.was.startswith("active (running), for ")
    assert (found.state, found.leftovers) == (MachineState.RUNNING, [])


async def test_what_the_reboot_takes_back_is_rolled_back(tmp_path: Path, windows: Windows) -> None:
    """The installation was called good, and the machine is healthy: the history of updates knows better."""
    windows.updates = [_cumulative(taken_back=0x800F0922)]
    found = await night(tmp_path, windows)
    assert found.report.verdict is Verdict.ROLLED_BACK
    assert "Windows has taken back Cumulative Update" in found.report.reasons[0]


async def test_a_night_without_updates_needs_no_undo_point(tmp_path: Path, windows: Windows) -> None:
    """What was left out is told."""
    windows.updates = [Update("", "Display driver", driver=True)]
    found = await night(tmp_path, windows)
    assert found.report.verdict is Verdict.NOTHING_TO_DO
    assert found.report.reasons == ("Nothing had to be updated; left out: Display driver (a driver).",)
    assert "undo point" not in dict(found.report.phase_seconds)
    assert windows.boots == 0


def _no_network(windows: Windows) -> None:
    windows.search_code = 0x8024402C


def _reboot_first(windows: Windows) -> None:
    windows.must_reboot_first = True


def _refused(windows: Windows) -> None:
    windows.updates[0].install_code = 0x80240017


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_network, "the name of the update server, or of the proxy, cannot be resolved (0x8024402C)"),
        (_reboot_first, "Windows has to be rebooted before anything can be installed"),
        (_refused, "the update does not apply to this machine (0x80240017)"),
    ],
)
async def test_what_changes_nothing_disturbs_nobody(
    tmp_path: Path, windows: Windows, spoil: Callable[[Windows], None], words: str
) -> None:
    """Not looked, not ready, refused: neither a reboot nor a pulled plug, and the booking waits."""
    windows.updates = [_cumulative()]
    spoil(windows)
    found = await night(tmp_path, windows)
    assert found.report.verdict is Verdict.NOT_STARTED
    assert words in found.report.reasons[0]
    assert windows.boots == 0
    assert (found.state, found.leftovers) == (MachineState.RUNNING, [])


async def test_a_guest_that_does_not_come_back_is_waited_for_no_longer_than_it_says(
    tmp_path: Path, windows: Windows
) -> None:
    """Half an hour, then the machine gets its old disks back."""
    windows.updates = [_cumulative()]
    windows.never_comes_back = True
    found = await night(tmp_path, windows)
    assert found.report.verdict is Verdict.ROLLED_BACK
    assert 1800 <= dict(found.report.phase_seconds)["reboot"] < 2000


async def test_a_windows_guest_is_told_by_its_kind_and_as_untried(windows: Windows) -> None:
    """By what qemu-guest-agent says that it is; no task agent is offered, for there is none."""
    commands = WindowsCommands(windows)

    async def find(key: str) -> WindowsCommands:
        return commands

    async def running() -> Collection[str]:
        return [MACHINE]

    agents = KitAgents(
        NoAgents(), find=find, running=running, clock=SystemClock(), publish=lambda event: None
    )
    session = await agents.connected(MACHINE, timeout=60)
    assert session.hello.os_name == "Microsoft Windows Server 2022 Standard"
    limits = agents.limits(MACHINE)
    assert any("untried on Windows" in limit for limit in limits)
    assert not any("machine prepare" in limit for limit in limits)
    with pytest.raises(AgentError, match="qemu-guest-agent alone") as refused:
        await session.log_off()
    assert refused.value.advice == "There is no task agent for Windows: look into the guest."


async def test_the_kit_is_put_where_it_is_missing(windows: Windows) -> None:
    """Under a folder that only administrators may write to, whole or not at all."""
    commands = WindowsCommands(windows)
    session = await session_with(commands, FakeClock())
    assert isinstance(session, KitSession)
    (path,) = commands.files
    assert path.startswith("C:/Program Files/Innkeeper/kit/windows-")
    assert path.endswith(".ps1")
    assert (await session.facts()).os_id == "mswindows"
