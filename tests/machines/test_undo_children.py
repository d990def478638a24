"""An image that others stand on gets no undo point, and is not merged into."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, MachineUnfit
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.machines.machine import MachineState
from innkeeper.machines.undo.children import refuse_children
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPoint
from tests.threads import in_thread
from tests.updates.inn import Inn


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn with one machine that is off."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.TURNED_OFF)
    return inn


def clone_path(inn: Inn) -> str:
    """Where a clone of the machine's disks lies: beside them."""
    return str(Path(inn.disk(target="vda")).with_name("clone.img"))


async def test_a_base_of_an_image_beside_it_is_refused_by_name(inn: Inn) -> None:
    """A clone that no definition names yet would be changed all the same."""
    clone = clone_path(inn)
    in_thread(fake_disks.create_overlay, clone, inn.disk(target="vda"))
    before = inn.content()
    with pytest.raises(MachineUnfit, match=r"is the base of the image .*clone\.img") as caught:
        await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules())
    assert caught.value.code is ErrorCode.ERROR_SHARING_VIOLATION
    assert caught.value.advice
    assert inn.content() == before
    assert inn.leftovers() == []


async def test_a_clone_made_meanwhile_stops_the_merge_and_not_the_way_back(inn: Inn) -> None:
    """Rolling back writes nothing to the base."""
    plan = await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules())
    undo = UndoPoint(inn.host, plan, clock=inn.clock)
    await undo.take(freeze_seconds=10)
    await refuse_children(inn.host, "web-1", plan.bases)
    in_thread(fake_disks.create_overlay, clone_path(inn), inn.disk(target="vdb"))
    with pytest.raises(MachineUnfit, match=r"clone\.img"):
        await refuse_children(inn.host, "web-1", plan.bases)
    await undo.drop()
    await undo.delete_files()
    assert inn.leftovers() == []
