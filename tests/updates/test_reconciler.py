"""When the service starts, nothing of an undo point is left that nobody answers for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.machines.machine import MachineState
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPoint
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
