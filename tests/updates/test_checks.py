"""A check of a machine says what its night will say, of all machines, and touches nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from innkeeper.errors import ErrorCode, HypervisorError, MachineNotFound
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.machine import Disk, Machine, MachineState
from innkeeper.machines.ports.disks import DiskStorage, ImageUser
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.machines.settings import MachineSettings
from innkeeper.updates.checks import Checks
from innkeeper.updates.nights import Night, NightEntry
from innkeeper.updates.policy import Policy, UndoPointPolicy
from innkeeper.wire.checks import DiskUndo
from innkeeper.wire.events import EventKind
from innkeeper.wire.states import GuestWay, RollBack
from tests.threads import in_thread
from tests.updates.inn import PATIENT, Inn

_STATES = (MachineState.RUNNING, MachineState.PAUSED, MachineState.SAVED, MachineState.TURNED_OFF)


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn without machines."""
    inn = Inn(tmp_path)
    await inn.open()
    return inn


def checks_of(inn: Inn, *more: Host) -> Checks:
    """The checks of an inn, over more hosts than its own."""
    machines = Machines(
        hypervisors=[inn.host, *more], tasks=inn.tasks, clock=inn.clock, run_has_merged=_no_run_has
    )
    return Checks(machines=machines, agents=inn.agents, policy=inn.policy, clock=inn.clock)


async def _no_run_has(_run: int) -> bool:
    return False


async def change(inn: Inn, name: str = "web-1", target: str = "vdb", **changes: object) -> None:
    """Change one disk of a machine."""

    def work(machine: object, _: float) -> None:
        disks: list[Disk] = machine.disks  # type: ignore[attr-defined] # a simulated machine
        disks[:] = [
            dataclasses.replace(disk, **changes) if disk.target == target else disk  # type: ignore[arg-type]
            for disk in disks
        ]

    await inn.host.simulation.simulate(name, work)


@pytest.mark.parametrize("state", _STATES)
async def test_a_machine_that_can_be_maintained_is_not_touched(inn: Inn, state: MachineState) -> None:
    """It is found as it was, in every state; and each disk's undo is said."""
    await inn.add(state)
    definition, content = await inn.host.definitions.read("web-1"), inn.content()
    check = await checks_of(inn).one("web-1")
    has_saved_state = state in (MachineState.SAVED, MachineState.PAUSED)
    roll_back = RollBack.SAVED_STATE if has_saved_state else RollBack.DISKS
    assert (check.can_be_maintained, check.roll_back, check.obstacles) == (True, roll_back, ())
    assert [(disk.target, disk.undo) for disk in check.disks] == [
        ("vda", DiskUndo.OVERLAY),
        ("vdb", DiskUndo.OVERLAY),
    ]
    assert check.disks[0].directory == str(Path(inn.disk()).parent)
    assert await inn.host.definitions.read("web-1") == definition
    assert (inn.content(), inn.leftovers(), await inn.tasks.list()) == (content, [], [])
    assert (await inn.machine()).state is state


async def break_port(inn: Inn) -> None:
    """Take the ports of both agents."""
    await set_ports(inn, agent=False, guest_agent=False)


async def set_ports(inn: Inn, *, agent: bool, guest_agent: bool) -> None:
    """Give the machine these ports, and no other."""

    def work(machine: SimulatedMachine, _: float) -> None:
        machine.has_agent_port, machine.has_guest_agent_port = agent, guest_agent

    await inn.host.simulation.simulate("web-1", work)


async def test_a_machine_with_qemu_guest_agent_alone_can_be_maintained(inn: Inn) -> None:
    """It is said that this is the way, what it lacks, and how the better agent comes."""
    await inn.add(MachineState.RUNNING)
    await set_ports(inn, agent=False, guest_agent=True)
    check = await checks_of(inn).one("web-1")
    assert (check.can_be_maintained, check.way) == (True, GuestWay.QEMU_GUEST_AGENT)
    [note] = [note for note in check.notes if "qemu-guest-agent" in note]
    assert "Its ports cannot be reached." in note
    assert note.endswith("innkeeper machine prepare web-1")


async def break_room(inn: Inn) -> None:
    """Fill the file system."""
    inn.host.simulation.room_bytes = 0


async def break_disk(inn: Inn) -> None:
    """Share a disk."""
    await change(inn, shared=True)


async def break_clone(inn: Inn) -> None:
    """Make a clone."""
    in_thread(fake_disks.create_overlay, str(Path(inn.disk()).with_name("clone.img")), inn.disk())


@pytest.mark.parametrize("damage", [break_port, break_room, break_disk, break_clone])
async def test_what_a_check_says_is_what_the_night_says(inn: Inn, damage: object) -> None:
    """The run of such a machine ends before it begins, for the check's first reason."""
    await inn.add(MachineState.TURNED_OFF)
    await damage(inn)  # type: ignore[operator]  # one of those above
    check = await checks_of(inn).one("WEB-1")
    assert (check.can_be_maintained, check.roll_back) == (False, RollBack.NONE)
    task = await inn.ended((await inn.start()).id)
    assert (await inn.report(task.id)).reasons == (check.obstacles[0].error.sentence,)
    assert inn.leftovers() == []


async def test_everything_in_the_way_is_said_at_once(inn: Inn) -> None:
    """Nobody has to mend one thing to learn of the next; each has its way out."""
    await inn.add(MachineState.TURNED_OFF)
    await break_port(inn)
    await break_disk(inn)
    found = await checks_of(inn).one("web-1")
    assert [(each.target, each.error.way_out) for each in found.obstacles] == [
        ("", "innkeeper machine prepare web-1"),
        ("vdb", "innkeeper machine set web-1 --undo-exclude vdb"),
    ]
    assert [disk.undo for disk in found.disks] == [DiskUndo.OVERLAY, DiskUndo.REFUSED]
    await MachineSettings(inn.machines).change("web-1", {"undo_exclude": "vdb"})
    found = await checks_of(inn).one("web-1")
    assert [disk.undo for disk in found.disks] == [DiskUndo.OVERLAY, DiskUndo.EXCLUDED]
    assert "a roll back does not undo what is written to it" in found.notes[0]


async def test_a_running_guest_without_its_agent_is_said(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The night waits for it no longer than half a minute, and one that is off is woken first."""
    await inn.add(MachineState.RUNNING)
    await set_ports(inn, agent=True, guest_agent=True)
    checks = checks_of(inn)
    assert (await checks.one("web-1")).can_be_maintained
    monkeypatch.setattr(inn.agents, "is_connected", lambda _name: False)
    (obstacle,) = (await checks.one("web-1")).obstacles
    assert "does not answer" in obstacle.error.sentence
    assert obstacle.error.way_out == "innkeeper machine prepare web-1 --force"


# All machines


class Instead:
    """A port of a host, with other answers to some of its questions."""

    def __init__(self, real: object, **answers: object) -> None:
        self._real = real
        vars(self).update(answers)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


async def never(*_asked: object) -> Sequence[Machine]:
    """A host whose answer never comes."""
    return await asyncio.Event().wait()  # type: ignore[return-value]


async def away() -> Sequence[Machine]:
    """A host that is away."""
    raise HypervisorError("The wire is cut.")


async def nowhere(_path: str) -> None:
    """A host with other files."""


async def test_one_bad_host_or_machine_does_not_stop_the_others(inn: Inn) -> None:
    """Silent hosts are named; a bug in one look is that machine's; what hangs is given up."""
    for name in ("web-1", "bad", "slow"):
        await inn.add(MachineState.TURNED_OFF, name=name)
    real = inn.host.disks.storage

    async def storage(name: str, target: str) -> DiskStorage:
        if name == "bad":
            raise ZeroDivisionError("a bug")
        if name == "slow":
            await never()
        return await real(name, target)

    disks: Any = Instead(inn.host.disks, storage=storage)
    sick = dataclasses.replace(inn.host, disks=disks)
    files: Any = Instead(inn.host.files, identity=nowhere, computer="another")
    inventories: list[Any] = [Instead(inn.host.inventory, list=answer) for answer in (never, away)]
    silent = [
        dataclasses.replace(inn.host, name=name, inventory=inventory, files=files)
        for name, inventory in zip(("hanging", "away"), inventories, strict=True)
    ]
    machines = Machines(
        hypervisors=[sick, *silent], tasks=inn.tasks, clock=inn.clock, run_has_merged=_no_run_has
    )
    checks = Checks(machines=machines, agents=inn.agents, policy=Policy(), clock=inn.clock, pace=inn.clock)
    looking = asyncio.create_task(checks.all())
    while not looking.done():
        # Whoever can answer does so before any time passes.
        for _ in range(200):
            await asyncio.sleep(0)
        await inn.pass_time()
    found = looking.result()
    assert {each.host: each.error.code for each in found.silent} == {
        "hanging": ErrorCode.VM_E_TIMED_OUT,
        "away": ErrorCode.E_FAIL,
    }
    by_name = {check.machine: check for check in found.machines}
    assert list(by_name) == ["bad", "slow", "web-1"]
    assert "a bug" in by_name["bad"].obstacles[0].error.sentence
    assert by_name["slow"].obstacles[0].error.code is ErrorCode.VM_E_TIMED_OUT
    assert by_name["web-1"].can_be_maintained


async def test_what_was_last_found_is_kept_until_a_machine_is_gone(inn: Inn) -> None:
    """A list of machines asks nobody anew."""
    await inn.add(MachineState.TURNED_OFF)
    checks = checks_of(inn)
    assert checks.last(inn.key()) is None
    found = await checks.all()
    assert checks.last(inn.key()) is found.machines[0]
    again = await checks.one("web-1")
    assert checks.last(inn.key()) is again
    await inn.host.definitions.undefine("web-1")
    assert (await checks.all()).machines == ()
    assert checks.last(inn.key()) is None
    with pytest.raises(MachineNotFound):
        await checks.one("web-1")


async def test_a_change_is_looked_at_soon_after(inn: Inn) -> None:
    """By the loop that the service keeps running, without anybody asking."""
    await inn.add(MachineState.TURNED_OFF)
    machines = inn.machines
    checks = Checks(machines=machines, agents=inn.agents, policy=inn.policy, clock=inn.clock, pace=inn.clock)
    loop = asyncio.create_task(checks.run())

    async def until_it_says(wanted: bool) -> None:
        for _ in range(100):
            check = checks.last(inn.key())
            if check is not None and check.can_be_maintained is wanted:
                return
            await asyncio.sleep(0.01)
            await inn.pass_time()
        raise AssertionError(checks.last(inn.key()))

    await until_it_says(True)
    before = len(inn.events)
    await break_port(inn)
    await MachineSettings(machines).change("web-1", {"notes": "changed"})
    for event in inn.events[before:]:
        checks.on_event(event)
    await until_it_says(False)
    loop.cancel()
    await asyncio.wait({loop})


async def test_a_host_that_answers_again_is_looked_at_again(inn: Inn) -> None:
    """No event says so where the connection held: neither of its own machines, nor of those beside it."""
    for name in ("web-1", "web-2"):
        await inn.add(MachineState.TURNED_OFF, name=name)
    is_hung = True

    async def users(path: str) -> object:
        if is_hung:
            raise HypervisorError("It hangs.", code=ErrorCode.ERROR_ONLY_IF_CONNECTED)
        return ()

    async def list_nothing() -> Sequence[Machine]:
        if is_hung:
            raise HypervisorError("It hangs.", code=ErrorCode.ERROR_ONLY_IF_CONNECTED)
        return ()

    async def users_of(paths: Sequence[str]) -> object:
        return {path: await users(path) for path in paths}

    disks: Any = Instead(inn.host.disks, users=users, users_of=users_of)
    inventory: Any = Instead(inn.host.inventory, list=list_nothing)
    beside = dataclasses.replace(inn.host, name="beside", disks=disks, inventory=inventory)
    machines = Machines(
        hypervisors=[inn.host, beside], tasks=inn.tasks, clock=inn.clock, run_has_merged=_no_run_has
    )
    checks = Checks(machines=machines, agents=inn.agents, policy=inn.policy, clock=inn.clock, pace=inn.clock)
    loop = asyncio.create_task(checks.run())

    async def until_they_say(wanted: bool, seconds: float) -> None:
        end = inn.clock.monotonic() + seconds
        while inn.clock.monotonic() < end:
            found = [checks.last(inn.key(name)) for name in ("web-1", "web-2")]
            if all(check is not None and check.can_be_maintained is wanted for check in found):
                return
            await asyncio.sleep(0.01)
            await inn.pass_time()
        raise AssertionError(found)

    await until_they_say(False, 600)
    is_hung = False
    await until_they_say(True, 300)
    loop.cancel()
    await asyncio.wait({loop})


async def test_a_check_says_which_kind_of_roll_back_a_machine_gets(tmp_path: Path) -> None:
    """The running moment where memory will be kept, with its pause; else why not."""
    inn = Inn(tmp_path, dataclasses.replace(PATIENT, undo_point=UndoPointPolicy.MEMORY))
    await inn.open()
    await inn.add(MachineState.RUNNING)
    check = await checks_of(inn).one("web-1")
    assert (check.roll_back, check.can_be_maintained) == (RollBack.MEMORY, True)
    assert "stand still for about 3.0 seconds" in check.notes[-1]
    inn.host.simulation.write_speed = 1e6
    check = await checks_of(inn).one("web-1")
    assert (check.roll_back, check.can_be_maintained) == (RollBack.DISKS, True)
    assert "would stand still for up to" in check.notes[-1]


async def test_a_check_of_all_looks_once_for_who_stands_on_what(inn: Inn) -> None:
    """However many machines there are: each look reads every definition of the host."""
    for name in ("web-1", "web-2", "web-3"):
        await inn.add(MachineState.TURNED_OFF, name=name)
    looks: list[int] = []
    real = inn.host.disks.users_of

    async def users_of(paths: Sequence[str]) -> Mapping[str, Sequence[ImageUser]]:
        looks.append(len(paths))
        return await real(paths)

    counted: Any = Instead(inn.host.disks, users_of=users_of, users=never)
    host = dataclasses.replace(inn.host, disks=counted)
    machines = Machines(hypervisors=[host], tasks=inn.tasks, clock=inn.clock, run_has_merged=_no_run_has)
    checks = Checks(machines=machines, agents=inn.agents, policy=Policy(), clock=inn.clock)
    assert all(check.can_be_maintained for check in (await checks.all()).machines)
    assert looks == [6]


async def test_a_host_that_may_share_images_and_hangs_is_named(inn: Inn) -> None:
    """It keeps the machines of others from being maintained, and from no answer."""
    await inn.add(MachineState.TURNED_OFF)
    disks: Any = Instead(inn.host.disks, users_of=never, users=never)
    hanging = dataclasses.replace(inn.host, name="hanging", disks=disks)
    machines = Machines(
        hypervisors=[inn.host, hanging], tasks=inn.tasks, clock=inn.clock, run_has_merged=_no_run_has
    )
    checks = Checks(machines=machines, agents=inn.agents, policy=Policy(), clock=inn.clock, pace=inn.clock)
    looking = asyncio.create_task(checks.all())
    while not looking.done():
        for _ in range(200):
            await asyncio.sleep(0)
        await inn.pass_time()
    (found,) = [check for check in looking.result().machines if check.host == inn.host.name]
    assert "Whether a machine of hanging stands on" in found.obstacles[0].error.sentence
    assert "did not answer within 30 seconds" in found.obstacles[0].error.sentence


async def test_a_machine_is_looked_at_again_when_its_update_has_ended(inn: Inn) -> None:
    """In the middle of the run it stands on an undo disk; that is no answer for the next night."""
    await inn.add(MachineState.TURNED_OFF)
    checks = Checks(
        machines=inn.machines, agents=inn.agents, policy=inn.policy, clock=inn.clock, pace=inn.clock
    )
    loop = asyncio.create_task(checks.run())
    task = await inn.start()
    await inn.until_phase(task.id, "Updating")
    (obstacle,) = (await checks.one("web-1")).obstacles
    assert obstacle.error.way_out == f"innkeeper task watch {task.id}"
    await inn.ended(task.id)
    (ended,) = [event for event in inn.events if event.kind is EventKind.TASK_ENDED]
    checks.on_event(ended)
    give_up = inn.clock.monotonic() + 10
    while not (check := checks.last(inn.key())) or not check.can_be_maintained:
        assert inn.clock.monotonic() < give_up, check
        await asyncio.sleep(0.01)
        await inn.clock.advance(0.5)
    loop.cancel()
    await asyncio.wait({loop})


async def test_a_night_promises_nothing_that_the_last_check_denied(inn: Inn) -> None:
    """What runs stays in the plan, and what another task only holds now; the rest says why not."""
    await inn.add(MachineState.TURNED_OFF)
    checks = checks_of(inn)
    at = inn.clock.now()
    entry = NightEntry(
        machine="web-1", identifier="u", label="", host=inn.host.name, start=at, end=at, window="w",
        fits=True, reason="", next_chance=None, task_id=None, key=inn.key(),
    )  # fmt: skip
    night = Night(at=at, until=at, entries=(entry, dataclasses.replace(entry, task_id=5)))
    assert checks.judge(night) == night
    await change(inn, shared=True)
    await checks.one("web-1")
    runs, refused = checks.judge(night).entries
    assert (runs.task_id, runs.fits, refused.fits, refused.start) == (5, True, False, None)
    assert refused.reason.startswith("The disk vdb of web-1 is shared")
    assert refused.reason.endswith("innkeeper machine set web-1 --undo-exclude vdb")


async def test_a_check_says_why_nothing_begins_on_its_host(inn: Inn) -> None:
    """As long as that is so, whenever the machine was looked at; it is no machine that is busy."""
    sentence = ["The server attic is drained."]
    checks = Checks(
        machines=inn.machines, agents=inn.agents, policy=inn.policy, clock=inn.clock,
        hindrance=lambda _host: sentence[0],
    )  # fmt: skip
    await inn.add(MachineState.TURNED_OFF)
    for check in (await checks.one("web-1"), *(await checks.all()).machines):
        (obstacle,) = check.obstacles
        assert (str(obstacle.error), obstacle.error.code) == (sentence[0], ErrorCode.ERROR_NOT_READY)
    sentence[0] = ""
    assert (await checks.one("web-1")).can_be_maintained


async def test_what_a_run_would_wait_for_or_cannot_bring_back_is_remarked(inn: Inn) -> None:
    """A backup of a running machine, and a machine without disks: neither is in the way."""
    machine = await inn.add(MachineState.RUNNING)
    checks = checks_of(inn)
    before = (await checks.one("web-1")).notes
    machine.backup_until = inn.clock.now().timestamp() + 600
    check = await checks.one("web-1")
    assert check.can_be_maintained
    assert set(check.notes) - set(before) == {
        "A backup or another job of libvirt runs on web-1: a run waits for its end."
    }
    machine.backup_until = 0.0
    await inn.host.simulation.simulate("web-1", lambda m, _: m.disks.clear())
    await inn.host.simulation.simulate("web-1", lambda m, _: m.live_disks.clear())
    assert "web-1 has no disk that an undo point covers." in (await checks.one("web-1")).notes
