"""Update runs on a host that is away for a while: it is waited for, and nothing is decided without it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.machines.machine import MachineState
from innkeeper.tasks.clock import FakeClock
from innkeeper.updates.booking import Verdict
from innkeeper.updates.endings import KEEP, ROLL_BACK
from innkeeper.updates.outcome import Outcome
from innkeeper.updates.phase import NEIGHBOUR_SECONDS, Phase, Run
from innkeeper.updates.phases import FORWARD
from innkeeper.wire.events import EventKind, Json
from tests.updates import inn as inns
from tests.updates.inn import IDENTIFIER, Inn

#: Ports whose calls fail with the host; the files of simulated disks are this computer's.
_PORTS = ("inventory", "definitions", "configurations", "lifecycle", "saved_states", "undo_disks", "disks")
_AWAY_SECONDS = 600.0


class Wire:
    """The wire to a host, which is cut for a while when a run comes to a phase: every call fails then."""

    def __init__(self, clock: FakeClock, seconds: float = _AWAY_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._back_at = 0.0
        #: The phase at whose beginning it is cut, once.
        self.title = ""
        #: Whether the first call that is cut has been made all the same.
        self.acts = False

    @property
    def is_cut(self) -> bool:
        """Whether it is cut now."""
        return self._clock.monotonic() < self._back_at

    def come_to(self, title: str) -> None:
        """Cut it where this is the phase."""
        if title == self.title:
            self.title, self._back_at = "", self._clock.monotonic() + self._seconds

    def before(self, host: SimulatedHost) -> SimulatedHost:
        """The host, behind the wire."""
        ports: dict[str, Any] = {name: _Far(getattr(host, name), self) for name in _PORTS}
        return dataclasses.replace(host, **ports)


class _Far:
    def __init__(self, port: object, wire: Wire) -> None:
        self._port = port
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*arguments: Any, **options: Any) -> Any:
            if self._wire.is_cut and not self._wire.acts:
                raise _lost()
            result = await method(*arguments, **options)
            if self._wire.is_cut:
                self._wire.acts = False
                raise _lost()
            return result

        return call


def _lost() -> HypervisorError:
    return HypervisorError("The wire is cut.", code=ErrorCode.ERROR_ONLY_IF_CONNECTED)


@dataclasses.dataclass
class Far:
    """An inn whose host is behind a wire."""

    inn: Inn
    wire: Wire

    async def verdict(self, title: str, *, acts: bool = False, window_seconds: float = 14400) -> Verdict:
        """Run an update, with the wire cut in the middle of a phase."""
        self.wire.title, self.wire.acts = title, acts
        task = await self.inn.start(window_seconds=window_seconds)
        await self.inn.ended(task.id)
        assert not self.wire.title, "the phase never came"
        report = await self.inn.reports.get(task.id)
        assert report is not None
        return report.verdict


@pytest.fixture
async def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Far:
    """An inn whose host is behind a wire that is whole."""
    inn = Inn(tmp_path)
    wire = Wire(inn.clock)
    record = Run._record

    def host(*arguments: Any, **options: Any) -> SimulatedHost:
        return wire.before(simulated_host(*arguments, **options))

    async def cutting(run: Run, phase: Phase, action: Callable[[], Awaitable[Json]]) -> Outcome:
        wire.come_to(phase.title)
        return await record(run, phase, action)

    monkeypatch.setattr(inns, "simulated_host", host)
    monkeypatch.setattr(Run, "_record", cutting)
    await inn.open()
    return Far(inn, wire)


_GOOD = [*dict.fromkeys(phase.title for phase in (*FORWARD, *KEEP))]
_NOT_BEGUN = [("Creating the undo disks", False), ("Updating", False), ("Merging the undo disks", False)]
_BAD = [phase.title for phase in ROLL_BACK]


@pytest.mark.parametrize(("title", "acts"), [*((title, True) for title in _GOOD), *_NOT_BEGUN])
async def test_a_good_update_is_kept_though_its_host_was_away(far: Far, title: str, acts: bool) -> None:
    """In whatever phase the wire is cut, before a call was made or right after it."""
    await far.inn.add(MachineState.RUNNING)
    assert await far.verdict(title, acts=acts) is Verdict.KEPT
    assert IDENTIFIER in far.inn.guest_disk().journal
    assert (await far.inn.machine()).state is MachineState.RUNNING
    assert far.inn.leftovers() == []


@pytest.mark.parametrize(("title", "acts"), [*((title, True) for title in _BAD), (_BAD[0], False)])
async def test_a_bad_update_is_rolled_back_as_soon_as_its_host_is_back(
    far: Far, title: str, acts: bool
) -> None:
    """Nobody is called for help: there is nothing that a person could do."""
    await far.inn.add(MachineState.RUNNING, behaviour=Behaviour.BAD)
    assert await far.verdict(title, acts=acts) is Verdict.ROLLED_BACK
    assert IDENTIFIER not in far.inn.guest_disk().journal
    assert (await far.inn.machine()).state is MachineState.RUNNING
    assert far.inn.leftovers() == []


async def test_a_host_that_is_away_past_the_windows_end_is_waited_for_to_roll_back(far: Far) -> None:
    """The run ends when the host is back, as the window's end asks."""
    await far.inn.add(MachineState.RUNNING)
    assert await far.verdict("Following the update", window_seconds=300) is Verdict.ROLLED_BACK
    assert IDENTIFIER not in far.inn.guest_disk().journal


async def test_an_update_that_never_reached_its_guest_is_not_started(far: Far) -> None:
    """The window closed while the host was away, and the guest says that it was given nothing."""
    await far.inn.add(MachineState.RUNNING)
    assert await far.verdict("Updating", window_seconds=300) is Verdict.NOT_STARTED
    assert IDENTIFIER not in far.inn.guest_disk().journal


async def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float = _AWAY_SECONDS) -> Far:
    """An inn with a machine, and another host of its computer behind the wire."""
    inn = Inn(tmp_path)
    wire = Wire(inn.clock, seconds)
    record = Run._record
    await inn.open()
    neighbour = simulated_host(
        tmp_path / "neighbour",
        clock=inn.clock,
        publish=inn.publish,
        threads=False,
        name="neighbour",
        computer=inn.host.files.computer,
    )
    await neighbour.connection.open()
    neighbour = wire.before(neighbour)

    async def cutting(run: Run, phase: Phase, action: Callable[[], Awaitable[Json]]) -> Outcome:
        wire.come_to(phase.title)
        run.hosts = [inn.host, neighbour]
        return await record(run, phase, action)

    monkeypatch.setattr(Run, "_record", cutting)
    await inn.add(MachineState.RUNNING)
    return Far(inn, wire)


@pytest.mark.parametrize("title", ["Checking the machine", "Checking the disks"])
async def test_another_host_of_the_computer_that_is_away_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    """Whether its machines stand on the disks is not known without it: that is no failure of the update."""
    far = await beside(tmp_path, monkeypatch)
    assert await far.verdict(title) is Verdict.KEPT
    assert far.inn.leftovers() == []


async def test_an_update_is_put_off_where_another_host_of_the_computer_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is touched yet: its place is given back long before the window ends, and it is tried again."""
    far = await beside(tmp_path, monkeypatch, seconds=1e6)
    inn, began = far.inn, far.inn.clock.now()
    assert await far.verdict("Checking the machine") is Verdict.NOT_STARTED
    assert (inn.clock.now() - began).total_seconds() < 2 * NEIGHBOUR_SECONDS
    booking = await inn.booking()
    assert booking.is_waiting
    told = next(event for event in inn.events if event.kind is EventKind.UPDATE_PUT_OFF)
    assert "Whether a machine of neighbour stands on" in str(told.data["reason"])


async def test_a_window_that_ends_meanwhile_names_the_other_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update is in, and what a merge would change is not known: it is rolled back."""
    far = await beside(tmp_path, monkeypatch, seconds=1e6)
    assert await far.verdict("Checking the disks") is Verdict.ROLLED_BACK
    reason = (await far.inn.booking()).reason
    assert "Whether a machine of neighbour stands on" in reason
    assert "Its window closes" in reason
    assert IDENTIFIER not in far.inn.guest_disk().journal
    assert far.inn.leftovers() == []
