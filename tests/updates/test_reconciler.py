"""When the service starts, nothing of an undo point is left that nobody answers for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from innkeeper.errors import HypervisorError
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.host import simulated_host
from innkeeper.machines.machine import MachineState
from innkeeper.machines.service import Machines
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPoint
from innkeeper.updates.booking import Verdict
from innkeeper.updates.reconciler import Reconciler
from innkeeper.wire.events import EventKind
from tests.threads import in_thread
from tests.updates.inn import Inn


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn with one machine that is off, whose update was kept as task 1."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.TURNED_OFF)
    await inn.ended((await inn.start()).id)
    return inn


async def reconcile(inn: Inn) -> list[str]:
    """Run the reconciler; returns the kinds of what it told."""
    inn.events.clear()
    await Reconciler(
        tasks=inn.tasks,
        machines=inn.machines,
        reports=inn.reports,
        clock=inn.clock,
        publish=inn.events.append,
    ).run()
    return [event.kind for event in inn.events]


def leave(inn: Inn, run: int, machine: str = "web-1") -> Path:
    """Leave an overlay of a run behind."""
    path = Path(inn.disk()).parent / f"{machine}.vda.innkeeper-{run}.qcow2"
    in_thread(fake_disks.create_overlay, str(path), inn.disk())
    return path


async def test_a_leftover_of_a_settled_run_is_deleted(inn: Inn) -> None:
    """Its update was kept, and nothing stands on the file."""
    path = leave(inn, run=1)
    assert await reconcile(inn) == [EventKind.UNDO_LEFTOVER_DELETED]
    assert not path.exists()


async def test_a_leftover_of_an_unknown_run_is_told_and_kept(inn: Inn) -> None:
    """It may be all there is of somebody's data."""
    path = leave(inn, run=999)
    assert await reconcile(inn) == [EventKind.UNDO_NEEDS_HELP]
    assert path.exists()


async def test_what_a_run_was_refused_for_is_told_and_kept(inn: Inn) -> None:
    """A file of its number was there before it began: it has made none."""
    path = leave(inn, run=2)
    await inn.ended((await inn.start(identifier="2026-12")).id)
    report = await inn.reports.get(2)
    assert report is not None
    assert report.verdict is Verdict.NOT_STARTED
    assert await reconcile(inn) == [EventKind.UNDO_NEEDS_HELP]
    assert path.exists()


async def test_a_leftover_of_another_machine_is_told_and_kept(inn: Inn) -> None:
    """A service that shares the folder numbers its runs alike, and its machine may run on the file."""
    path = leave(inn, run=1, machine="web-10")
    assert await reconcile(inn) == [EventKind.UNDO_NEEDS_HELP]
    assert path.exists()


async def test_what_a_machine_stands_on_is_never_deleted(inn: Inn) -> None:
    """Not even when its run has ended well: the definition names it, or what goes with it."""
    plan = await plan_undo_point(inn.host, await inn.machine(), 1, UndoRules())
    await UndoPoint(inn.host, plan, clock=inn.clock).take(freeze_seconds=10)
    # Two undo disks, the copies of UEFI variables and TPM, and the note of them.
    assert await reconcile(inn) == [EventKind.UNDO_NEEDS_HELP] * 5
    assert all(Path(path).exists() for path in (*plan.overlays.values(), *plan.state.paths))


async def test_what_another_image_stands_on_is_never_deleted(inn: Inn) -> None:
    """A snapshot that somebody put over the overlay needs it."""
    path = leave(inn, run=1)
    top = str(inn.directory / "disks" / "snapshot.qcow2")
    in_thread(fake_disks.create_overlay, top, str(path))
    await inn.host.simulation.simulate(
        "web-1", lambda m, _: setattr(m, "disks", [type(m.disks[0])(**{**_fields(m.disks[0]), "path": top})])
    )
    assert await reconcile(inn) == [EventKind.UNDO_NEEDS_HELP]
    assert path.exists()


async def test_the_overlays_of_a_live_run_are_its_own_affair(inn: Inn) -> None:
    """The run resolves them itself."""
    task = await inn.start(identifier="2026-12")
    await inn.until_phase(task.id, "Updating")
    assert await reconcile(inn) == []
    assert len(inn.leftovers()) == 5


def _fields(disk: object) -> dict[str, Any]:
    return {name: getattr(disk, name) for name in disk.__slots__}  # type: ignore[attr-defined] # a dataclass


async def test_the_undo_disk_of_a_command_is_told_and_kept(inn: Inn) -> None:
    """Its machine was undefined for a while, or its definition written anew: it may hold all of its data."""
    task = await inn.machines.startup("web-1", owner="t")
    await inn.ended(task.id)
    path = leave(inn, run=task.id)
    assert await reconcile(inn) == [EventKind.UNDO_NEEDS_HELP]
    assert path.exists()


async def test_nothing_is_deleted_unless_every_host_answers(inn: Inn) -> None:
    """A machine of the host that is away may run on the file."""
    path = leave(inn, run=1)
    away = simulated_host(inn.directory / "away", name="away", clock=inn.clock, publish=print, threads=False)

    async def silent() -> Any:
        raise HypervisorError("It does not answer.")

    away.inventory.list = silent  # type: ignore[method-assign] # a host that is away
    inn.machines = Machines(
        hypervisors=[inn.host, away], tasks=inn.tasks, clock=inn.clock, run_has_merged=_no_run_has
    )
    assert await reconcile(inn) == [EventKind.UNDO_NEEDS_HELP]
    assert path.exists()


async def test_what_a_machine_of_another_host_stands_on_is_never_deleted(inn: Inn) -> None:
    """Hosts share folders, and each is asked whose file it is."""
    path = leave(inn, run=1)
    other = simulated_host(
        inn.directory / "other", name="other", clock=inn.clock, publish=print, threads=False
    )
    await other.connection.open()
    definition = (await inn.host.definitions.read("web-1")).replace("<name>web-1", "<name>far")
    await other.definitions.define(definition.replace(inn.disk(), str(path)))
    inn.machines = Machines(
        hypervisors=[inn.host, other], tasks=inn.tasks, clock=inn.clock, run_has_merged=_no_run_has
    )
    assert EventKind.UNDO_LEFTOVER_DELETED not in await reconcile(inn)
    assert path.exists()


async def _no_run_has(_: int) -> bool:
    return False
