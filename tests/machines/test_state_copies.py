"""UEFI variables and TPM state are part of an undo point: of its very moment, whole, and proved so."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.errors import MachineError, WrongState
from innkeeper.hypervisor.simulated.host import SimulatedHost
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPlan, UndoPoint
from innkeeper.machines.undo.undoable import existing_plan
from tests.updates.inn import Inn

M = "web-1"


@pytest.fixture(params=[MachineState.RUNNING, MachineState.TURNED_OFF])
async def inn(tmp_path: Path, request: pytest.FixtureRequest) -> Inn:
    """An inn with one machine, running or off; one that is off was never started."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(request.param)
    return inn


async def undo_of(inn: Inn, host: Host | None = None) -> UndoPoint:
    """The undo point of a run, planned and not taken."""
    plan = await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules())
    return UndoPoint(host or inn.host, plan, clock=inn.clock)


async def start_anew(inn: Inn) -> None:
    """Let the guest boot once more, which writes to its disk, its variables and its TPM."""
    await inn.host.lifecycle.turn_off(M)
    await inn.host.simulation.simulate(M, lambda machine, now: machine.boot(now))


async def roll_back(inn: Inn, undo: UndoPoint) -> None:
    """As an update run does it."""
    await inn.host.lifecycle.turn_off(M)
    await undo.drop()
    await undo.delete_files()


async def test_a_roll_back_brings_both_back_with_the_disks(inn: Inn) -> None:
    """Also what was not there: a TPM that the update's start made is made anew by the next one."""
    undo = await undo_of(inn)
    await undo.take(freeze_seconds=10)
    await start_anew(inn)
    await roll_back(inn, undo)
    inn.assert_state_of_the_disk()
    assert inn.leftovers() == []


async def test_what_is_kept_stays_as_the_update_left_it(inn: Inn) -> None:
    """And the copies go."""
    undo = await undo_of(inn)
    await undo.take(freeze_seconds=10)
    await start_anew(inn)
    merging = asyncio.create_task(undo.merge())
    while not merging.done():
        await inn.pass_time()
    await merging
    await undo.delete_files()
    inn.assert_state_of_the_disk()
    assert inn.leftovers() == []


async def test_a_running_machine_is_held_still_for_the_copies(tmp_path: Path) -> None:
    """What the guest writes until then is in them, and it runs on afterwards."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    lifecycle = _WritesAtThePause(inn)
    undo = await undo_of(inn, dataclasses.replace(inn.host, lifecycle=lifecycle))  # type: ignore[arg-type] # a part of it
    await undo.take(freeze_seconds=10)
    assert (await inn.machine()).state is MachineState.RUNNING
    await start_anew(inn)
    await roll_back(inn, undo)
    assert inn.nvram().read_text() == inn.tpm().read_text() == "written at the last moment"


async def test_nothing_is_put_back_under_a_machine_that_is_on(inn: Inn) -> None:
    """QEMU and swtpm have the files open."""
    undo = await undo_of(inn)
    await undo.take(freeze_seconds=10)
    await start_anew(inn)
    before = inn.nvram().read_text()
    with pytest.raises(WrongState):
        await undo.drop()
    assert inn.nvram().read_text() == before


@pytest.mark.parametrize("gone", ["copy", "note"])
async def test_a_copy_that_is_not_what_was_kept_goes_nowhere(inn: Inn, gone: str) -> None:
    """The sentence names it, and the undo disks stay."""
    undo = await undo_of(inn)
    await undo.take(freeze_seconds=10)
    await start_anew(inn)
    await inn.host.lifecycle.turn_off(M)
    copy = Path(undo.plan.state.files[0].copy)
    if gone == "copy":
        copy.write_text(copy.read_text()[:-1] + "?")
    else:
        Path(undo.plan.state.note).unlink()
    before = inn.nvram().read_text(), inn.tpm().read_text()
    with pytest.raises(MachineError, match="kept of web-1") as caught:
        await undo.drop()
    assert str(copy if gone == "copy" else undo.plan.state.note) in caught.value.sentence
    assert (inn.nvram().read_text(), inn.tpm().read_text()) == before
    assert await undo.is_named()


async def test_undo_disks_by_hand_bring_them_back_too(inn: Inn) -> None:
    """Whoever finds the undo disks finds what was kept with them, under whatever name the machine has now."""
    undo = await undo_of(inn)
    await undo.take(freeze_seconds=10)
    await start_anew(inn)
    found = await existing_plan(inn.host, await inn.machine())
    assert found is not None
    assert found.state == undo.plan.state
    await roll_back(inn, UndoPoint(inn.host, found, clock=inn.clock))
    inn.assert_state_of_the_disk()
    assert inn.leftovers() == []


async def test_machines_of_one_folder_get_back_their_own(inn: Inn) -> None:
    """Their undo points may have one number, of two services or of a store that was begun anew."""
    await inn.add(MachineState.TURNED_OFF, name="web-2")
    for name in (M, "web-2"):
        machine = await inn.machine(name)
        plan = await plan_undo_point(inn.host, machine, 7, UndoRules())
        await UndoPoint(inn.host, plan, clock=inn.clock).take(freeze_seconds=10)
    inn.nvram(M).write_text("written since")
    found = await existing_plan(inn.host, await inn.machine("web-2"))
    assert found is not None
    assert {file.path for file in found.state.files} == {str(inn.nvram("web-2")), str(inn.tpm("web-2"))}
    await UndoPoint(inn.host, found, clock=inn.clock).drop()
    assert inn.nvram(M).read_text() == "written since"


async def test_plans_of_the_first_release_bring_variables_back(inn: Inn) -> None:
    """They knew nothing else, and wrote no note."""
    nvram = inn.nvram()
    before = nvram.read_text()
    plan = UndoPlan.from_json(
        {
            "version": 1,
            "machine": M,
            "disks": [["vda", inn.disk(), f"{inn.disk()}.innkeeper-7.qcow2"]],
            "nvram_path": str(nvram),
            "nvram_copy": f"{nvram}.innkeeper-7",
        }
    )
    undo = UndoPoint(inn.host, UndoPlan.from_json(plan.to_json()), clock=inn.clock)
    await undo.take(freeze_seconds=10)
    await start_anew(inn)
    found = await existing_plan(inn.host, await inn.machine())
    assert found is not None
    assert found.state == plan.state
    await roll_back(inn, undo)
    assert nvram.read_text() == before
    assert inn.leftovers() == []


async def test_a_roll_back_needs_no_room(tmp_path: Path) -> None:
    """An update that filled the file system can be undone: the copy takes the place by a second name."""
    inn = Inn(tmp_path)
    await inn.open()
    path, copy = tmp_path / "vars.fd", tmp_path / "vars.fd.innkeeper-7"
    path.write_text("before")
    path.chmod(0o640)
    await inn.host.state_files.keep(str(path), str(copy))
    path.write_text("after")
    await inn.host.state_files.put_back(str(copy), str(path))
    assert path.samefile(copy)
    # And again, with the very file that was put back.
    await inn.host.state_files.put_back(str(copy), str(path))
    await inn.host.disks.delete(str(copy))
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("before", 0o640)
    assert [each.name for each in tmp_path.glob("vars*")] == ["vars.fd"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("again", [False, True])
async def test_a_kill_at_any_call_of_the_taking_is_survived(inn: Inn, again: bool, after: bool) -> None:
    """Taken again, or given up: the machine runs on, and disk, variables and TPM are of one moment."""
    was_running = (await inn.machine()).state is MachineState.RUNNING
    for moment in itertools.count():
        undo = await undo_of(inn)
        mortal = Mortal(moment, after=after)
        try:
            await UndoPoint(mortal.host(inn.host), undo.plan, clock=inn.clock).take(freeze_seconds=10)
        except Killed:
            pass
        else:
            break
        if again:
            await undo.take(freeze_seconds=10, was_running=was_running)
        if (await inn.machine()).state is MachineState.PAUSED:
            # What the ending of a run does, which goes no further.
            assert not again
            await inn.host.lifecycle.resume(M)
        if await undo.is_named():
            await start_anew(inn)
            await inn.host.lifecycle.turn_off(M)
            await undo.drop()
        await undo.delete_files()
        inn.assert_state_of_the_disk()
        assert inn.leftovers() == []
        if was_running:
            await inn.host.lifecycle.turn_off(M)
            await inn.host.simulation.simulate(M, lambda machine, now: machine.boot(now - 3600))
    assert moment > 10


async def test_a_kill_at_any_call_of_the_roll_back_is_survived(inn: Inn) -> None:
    """Done again, it ends; what tells that it has not ended is the undo disk."""
    for moment in itertools.count():
        undo = await undo_of(inn)
        await undo.take(freeze_seconds=10)
        await start_anew(inn)
        await inn.host.lifecycle.turn_off(M)
        mortal = UndoPoint(Mortal(moment).host(inn.host), undo.plan, clock=inn.clock)
        try:
            await mortal.drop()
            await mortal.delete_files()
        except Killed:
            if await undo.is_named():
                await undo.drop()
            await undo.delete_files()
        else:
            break
        inn.assert_state_of_the_disk()
        assert inn.leftovers() == []
    assert moment > 10


class Killed(BaseException):
    """The service is dead."""


class Mortal:
    """Kills the service at one of its calls to a host; whatever it still tries is not done."""

    def __init__(self, moment: int, *, after: bool = False) -> None:
        self._moment = moment
        self._after = after
        self._calls = 0

    def host(self, host: SimulatedHost) -> Host:
        """The host, as this service reaches it."""
        ports = {field.name: getattr(host, field.name) for field in dataclasses.fields(Host)}
        mortal = {name: each if isinstance(each, str) else _Port(self, each) for name, each in ports.items()}
        return Host(**mortal)  # type: ignore[arg-type] # each port is itself

    async def call(
        self, method: Callable[..., Awaitable[object]], *values: object, **named: object
    ) -> object:
        """Make a call, or die before or after it."""
        self._calls += 1
        if self._calls > self._moment + 1 or (self._calls > self._moment and not self._after):
            raise Killed
        answer = await method(*values, **named)
        if self._calls > self._moment:
            raise Killed
        return answer


class _Port:
    """A port whose calls go through a mortal service."""

    def __init__(self, mortal: Mortal, port: object) -> None:
        self._mortal = mortal
        self._port = port

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        return functools.partial(self._mortal.call, getattr(self._port, name))


class _WritesAtThePause:
    """A host's lifecycle, whose guest writes to its variables and its TPM right before it is paused."""

    def __init__(self, inn: Inn) -> None:
        self._inn = inn

    async def pause(self, name: str) -> None:
        """Stop the processors, after the last writes."""
        for path in (self._inn.nvram(), self._inn.tpm()):
            await asyncio.to_thread(path.write_text, "written at the last moment")
        await self._inn.host.lifecycle.pause(name)

    async def resume(self, name: str) -> None:
        """Start the processors again."""
        assert (await self._inn.machine()).state is MachineState.PAUSED
        await self._inn.host.lifecycle.resume(name)
