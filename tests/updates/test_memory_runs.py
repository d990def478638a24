"""Runs that keep the memory of a running machine: a roll back goes back to the moment, and boots nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.change import Scope, SettingsChanged
from innkeeper.machines.machine import MachineState
from innkeeper.machines.settings import MachineSettings
from innkeeper.machines.undo.memory import MemoryRules, WithoutMemory
from innkeeper.tasks.task import Task
from innkeeper.updates.booking import Report, Verdict
from innkeeper.updates.endings import KEEP, ROLL_BACK_TO_MEMORY
from innkeeper.updates.phases import FORWARD
from innkeeper.updates.policy import UndoPointPolicy
from innkeeper.updates.preparing import PREPARE_AFTER_WAKE
from innkeeper.wire.states import RollBack
from innkeeper.wire.virtual_pc import UndoPointKind
from tests.updates.dying_engine import DyingEngine, Moment
from tests.updates.inn import PATIENT, Inn

MEMORY = dataclasses.replace(PATIENT, undo_point=UndoPointPolicy.MEMORY)
#: Where an update that breaks a unit stops.
_STOPS_AT = "health"
#: Those of a good run that have to do with memory; for the others see ``test_run_crashes.py``.
GOOD_STEPS = ("admit", "undo point", "record", "decide", *(p.name for p in KEEP if p.name != "jobs"))
#: With a machine that was found running there is nothing to do in this one, and so it is no step.
_IDLE = ("baseline after wake", PREPARE_AFTER_WAKE)
BAD_STEPS = (
    *(p.name for p in FORWARD[: [p.name for p in FORWARD].index(_STOPS_AT) + 1] if p.name not in _IDLE),
    *(phase.name for phase in ROLL_BACK_TO_MEMORY),
    "report",
)


async def _running(inn: Inn) -> SimulatedMachine:
    """A machine that runs, with something in its memory that no disk has."""
    machine = await inn.add(MachineState.RUNNING)
    await inn.host.simulation.simulate("web-1", lambda m, _: _type(m, "unsaved work"))
    return machine


def _type(machine: SimulatedMachine, text: str) -> None:
    assert machine.memory is not None
    machine.memory.typed = text


async def _run(inn: Inn, behaviour: Behaviour) -> tuple[Task, Report]:
    task = await inn.ended((await inn.start(context=behaviour.encode())).id)
    return task, await inn.report(task.id)


async def _has_gone_back(inn: Inn, boot: str, boots: int) -> bool:
    """Whether it runs in the boot that it ran in before, with what was typed in it."""
    machine = inn.host.simulation.machines["web-1"]
    assert machine.memory is not None
    same = machine.memory.boot_id == boot and machine.memory.typed == "unsaved work"
    return same and inn.guest_disk().boots == boots and machine.state is MachineState.RUNNING


@pytest.mark.parametrize("live", [False, True])
async def test_a_bad_update_is_rolled_back_to_the_running_moment(tmp_path: Path, live: bool) -> None:
    """Same boot, same memory, the clock set, no file left; and the report says so."""
    inn = Inn(tmp_path, dataclasses.replace(MEMORY, memory=MemoryRules(live=live)))
    await inn.open()
    machine = await _running(inn)
    boot, boots, definition = machine.boot_id, inn.guest_disk().boots, await _definition(inn)

    _, report = await _run(inn, Behaviour.BAD_AFTER_REBOOT)

    assert report.verdict is Verdict.ROLLED_BACK
    assert await _has_gone_back(inn, boot, boots)
    assert inn.guest_disk().packages["base"] == "1.0-1"
    assert machine.memory is not None
    assert machine.memory.clock_set_at > 0
    assert inn.leftovers() == []
    assert await _definition(inn) == definition
    assert report.undo_point.endswith("It went on from the running moment.")


async def test_a_good_update_is_kept_and_its_memory_deleted(tmp_path: Path) -> None:
    """Before the first merged byte, for it does not go with what is merged."""
    inn = Inn(tmp_path, MEMORY)
    await inn.open()
    await _running(inn)
    started = await inn.start()
    await inn.until_phase(started.id, "Updating")
    [memory] = [path for path in inn.leftovers() if ".memory." in path]
    assert Path(memory).stat().st_mode & 0o777 == 0o600
    await inn.until_phase(started.id, "Merging the undo disks")
    assert not [path for path in inn.leftovers() if ".memory." in path]
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert (report.verdict, inn.leftovers()) == (Verdict.KEPT, [])
    assert "MiB of memory, kept in" in report.undo_point


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("step", BAD_STEPS)
async def test_it_goes_back_whenever_the_service_dies(tmp_path: Path, step: str, moment: Moment) -> None:
    """Killed at every journalled step: it ends in the running moment, in the boot that it ran in."""
    inn = Inn(tmp_path, MEMORY)
    engine = DyingEngine(inn.journal, inn.clock, step, moment)
    await inn.open(engine)
    machine = await _running(inn)
    boot, boots, definition = machine.boot_id, inn.guest_disk().boots, await _definition(inn)
    started = await inn.start(context=Behaviour.BAD.encode())
    await inn.until_dead(engine)
    await inn.open()
    await inn.ended(started.id)

    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert await _has_gone_back(inn, boot, boots), report.undo_point
    assert inn.guest_disk().packages["base"] == "1.0-1"
    assert inn.leftovers() == []
    assert await _definition(inn) == definition


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("step", GOOD_STEPS)
async def test_it_is_kept_whenever_the_service_dies(tmp_path: Path, step: str, moment: Moment) -> None:
    """And no memory is left behind."""
    inn = Inn(tmp_path, MEMORY)
    engine = DyingEngine(inn.journal, inn.clock, step, moment)
    await inn.open(engine)
    await _running(inn)
    definition = await _definition(inn)
    started = await inn.start()
    await inn.until_dead(engine)
    await inn.open()
    await inn.ended(started.id)

    assert (await inn.report(started.id)).verdict is Verdict.KEPT
    assert inn.guest_disk().packages["base"] == "1.0-2"
    assert inn.leftovers() == []
    assert await _definition(inn) == definition


async def _definition(inn: Inn) -> str:
    return await inn.host.definitions.read("web-1")


# Where memory does not fit any more


def _flip_a_byte(inn: Inn) -> None:
    path = Path(_memory(inn))
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])


def _cut_it(inn: Inn) -> None:
    path = Path(_memory(inn))
    path.write_bytes(path.read_bytes()[:-10])


def _memory(inn: Inn) -> str:
    return next(path for path in inn.leftovers() if ".memory." in path)


def _other_emulator(inn: Inn) -> None:
    inn.host.simulation.emulator = "simulated 2.0"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_flip_a_byte, "its digest is another one"),
        (_cut_it, "bytes, and"),
        (lambda inn: Path(_memory(inn)).unlink(), "is gone"),
        (_other_emulator, "The hypervisor is another since"),
    ],
)
async def test_memory_that_does_not_fit_is_not_gone_back_to(
    tmp_path: Path, spoil: Callable[[Inn], None], why: str
) -> None:
    """The machine boots from its former disks, and log and report say why."""
    inn = Inn(tmp_path, MEMORY)
    await inn.open()
    machine = await _running(inn)
    boot = machine.boot_id
    started = await inn.start(context=Behaviour.BAD.encode())
    await inn.until_phase(started.id, "Updating")
    spoil(inn)
    await inn.ended(started.id)

    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert machine.state is MachineState.RUNNING
    assert machine.boot_id != boot
    assert inn.leftovers() == []
    assert "It had to boot:" in report.undo_point
    assert why in report.undo_point


async def test_once_it_goes_on_its_memory_is_not_gone_back_to_again(tmp_path: Path) -> None:
    """A machine that dies right after has written to its disks: it boots from them."""
    inn = Inn(tmp_path, MEMORY)
    engine = DyingEngine(inn.journal, inn.clock, "go on", Moment.BEFORE_THE_RECORD)
    await inn.open(engine)
    machine = await _running(inn)
    boot = machine.boot_id
    started = await inn.start(context=Behaviour.BAD.encode())
    await inn.until_dead(engine)
    assert machine.boot_id == boot
    await inn.open()
    await inn.host.lifecycle.turn_off("web-1")
    await inn.ended(started.id)

    again = inn.host.simulation.machines["web-1"]
    assert (again.state, again.boot_id == boot) == (MachineState.RUNNING, False)
    assert (await inn.report(started.id)).verdict is Verdict.ROLLED_BACK
    assert inn.leftovers() == []


# Where it cannot be kept


def _pass_a_device_through(inn: Inn) -> None:
    inn.host.simulation.machines["web-1"].passthrough = ["PCI device 0000:01:00.0"]


def _fill_the_disk(inn: Inn) -> None:
    inn.host.simulation.room_bytes = 300 << 20


def _slow_the_disk_down(inn: Inn) -> None:
    inn.host.simulation.write_speed = 1e6


async def _leave_a_disk_out(inn: Inn) -> None:
    await inn.host.configurations.change("web-1", SettingsChanged(values={"undo_exclude": "vdb"}), Scope.BOTH)


OBSTACLES = (
    (_pass_a_device_through, "it has the host's PCI device 0000:01:00.0"),
    (_fill_the_disk, "its memory takes up to 536,870,912 bytes"),
    (_slow_the_disk_down, "it would stand still for up to 537.2 seconds"),
)


@pytest.mark.parametrize(("spoil", "why"), OBSTACLES)
async def test_where_memory_cannot_be_kept_its_disks_are(
    tmp_path: Path, spoil: Callable[[Inn], None], why: str
) -> None:
    """The run goes on with an undo point of the disks alone, and says so before and after."""
    inn = Inn(tmp_path, MEMORY)
    await inn.open()
    machine = await _running(inn)
    boot = machine.boot_id
    spoil(inn)
    task, report = await _run(inn, Behaviour.BAD)

    assert report.verdict is Verdict.ROLLED_BACK
    assert machine.boot_id != boot
    assert report.undo_point.startswith("Its disks alone.")
    assert why in report.undo_point
    lines = [line.text for line in await inn.tasks.log(task.id)]
    assert any(line.startswith("A roll back will boot the machine:") and why in line for line in lines)


@pytest.mark.parametrize(("spoil", "why"), OBSTACLES)
async def test_or_the_machine_is_left_alone_where_the_policy_says_so(
    tmp_path: Path, spoil: Callable[[Inn], None], why: str
) -> None:
    """In a sentence, before anything is touched."""
    rules = MemoryRules(otherwise=WithoutMemory.REFUSE)
    inn = Inn(tmp_path, dataclasses.replace(MEMORY, memory=rules))
    await inn.open()
    machine = await _running(inn)
    boot, content = machine.boot_id, inn.content()
    spoil(inn)
    _, report = await _run(inn, Behaviour.BAD)

    assert report.verdict is Verdict.NOT_STARTED
    assert why in " ".join(report.reasons)
    assert (machine.boot_id, inn.content(), inn.leftovers()) == (boot, content, [])


async def test_memory_never_meets_a_disk_that_is_left_out(tmp_path: Path) -> None:
    """What an update writes to that disk stays, and memory would not know of it."""
    inn = Inn(tmp_path, MEMORY)
    await inn.open()
    await _running(inn)
    await _leave_a_disk_out(inn)
    _, report = await _run(inn, Behaviour.BAD)
    assert report.verdict is Verdict.ROLLED_BACK
    assert "no undo disk covers vdb" in report.undo_point


async def test_a_pause_is_given_up_in_time(tmp_path: Path) -> None:
    """Where the disk is slower than it was thought to be: the disks are protected alone."""
    inn = Inn(tmp_path, dataclasses.replace(MEMORY, memory=MemoryRules(longest_pause_seconds=0.5)))
    await inn.open()
    await _running(inn)
    inn.host.simulation.machines["web-1"].memory_mib = 32
    _, report = await _run(inn, Behaviour.BAD)
    assert report.verdict is Verdict.ROLLED_BACK
    assert "was given up after 0.5 seconds" in report.undo_point
    assert inn.leftovers() == []


@pytest.mark.parametrize("state", [MachineState.PAUSED, MachineState.SAVED, MachineState.TURNED_OFF])
async def test_a_machine_that_does_not_run_has_no_memory_to_keep(tmp_path: Path, state: MachineState) -> None:
    """Its undo point is taken as ever."""
    inn = Inn(tmp_path, MEMORY)
    await inn.open()
    await inn.add(state)
    started = await inn.start(context=Behaviour.BAD.encode())
    await inn.until_phase(started.id, "Updating")
    assert not [path for path in inn.leftovers() if ".memory." in path]
    await inn.ended(started.id)
    assert (await inn.machine()).state is state


# Who gets which


async def test_a_machine_has_its_own_way_or_its_labels(tmp_path: Path) -> None:
    """Its setting goes before its labels, and they before the policy for all."""
    policy = dataclasses.replace(PATIENT, undo_points={"db": UndoPointPolicy.MEMORY})
    inn = Inn(tmp_path, policy)
    await inn.open()
    await _running(inn)
    settings = MachineSettings(inn.machines)
    assert policy.roll_back_of(await inn.machine()) is RollBack.DISKS
    await settings.add_labels("web-1", ["web", "db"])
    assert policy.roll_back_of(await inn.machine()) is RollBack.MEMORY
    await settings.change("web-1", {"undo_point": UndoPointKind.LIVE})
    assert policy.roll_back_of(await inn.machine()) is RollBack.DISKS
    await settings.change("web-1", {"undo_point": UndoPointKind.MEMORY})
    assert policy.roll_back_of(await inn.machine()) is RollBack.MEMORY
    _, report = await _run(inn, Behaviour.BAD)
    assert report.undo_point.endswith("It went on from the running moment.")


async def test_a_run_goes_on_as_it_was_admitted(tmp_path: Path) -> None:
    """A setting that changes in the middle of a run is for the next one."""
    inn = Inn(tmp_path, MEMORY)
    await inn.open()
    machine = await _running(inn)
    boot, boots = machine.boot_id, inn.guest_disk().boots
    started = await inn.start(context=Behaviour.BAD.encode())
    await inn.until_phase(started.id, "Updating")
    inn.policy = PATIENT
    inn.engine.kill()
    await inn.open()
    await inn.ended(started.id)
    assert await _has_gone_back(inn, boot, boots)
