"""An image that others stand on gets no undo point, and is not merged into."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from innkeeper.errors import ErrorCode, HypervisorError, MachineUnfit
from innkeeper.hypervisor.files import LocalFiles
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.failures import Failure, Failures
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.disks import ImageUser
from innkeeper.machines.undo import children
from innkeeper.machines.undo.children import refuse_children
from innkeeper.machines.undo.fitness import UndoRules, examine, plan_undo_point
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


# Several hosts


async def another_host(inn: Inn, name: str) -> SimulatedHost:
    """One more host of the same computer, with one machine."""
    host = simulated_host(
        inn.directory / name,
        clock=inn.clock,
        publish=inn.events.append,
        threads=False,
        computer=inn.host.files.computer,
    )
    await host.connection.open()
    return dataclasses.replace(host, name=name)


async def test_a_machine_of_another_host_on_the_same_file_is_refused_by_name(inn: Inn) -> None:
    """Two hosts of one computer, or of one storage: both know the file."""
    other = await another_host(inn, "other")
    clone = str(inn.directory / "clone.img")
    in_thread(fake_disks.create_overlay, clone, inn.disk(target="vda"))
    await other.simulation.add(SimulatedMachine(name="clone", uuid="clone", disks=[file_disk("vda", clone)]))
    hosts = [inn.host, other]
    with pytest.raises(MachineUnfit, match="is the base of clone's disk vda"):
        await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules(), hosts)
    await other.definitions.undefine("clone")
    await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules(), hosts)


async def test_a_host_that_is_away_is_named_and_one_of_another_computer_is_not_asked(inn: Inn) -> None:
    """What a merge would change is not known without it; another computer has other files."""

    class Away:
        async def users(self, _path: str) -> Sequence[ImageUser]:
            raise HypervisorError("The wire is cut.")

    class Far(LocalFiles):
        computer = "far"

    away: Any = Away()
    silent = dataclasses.replace(inn.host, name="silent", disks=away)
    with pytest.raises(
        MachineUnfit, match=r"Whether a machine of silent stands on .* is not known: The wire"
    ):
        await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules(), [inn.host, silent])
    far = dataclasses.replace(silent, name="far", files=Far())
    await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules(), [inn.host, far])


async def test_a_host_that_never_answers_is_named_too(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its daemon has taken the call, and nothing comes back: the machines of others are not held up by it."""

    class Hung:
        async def users(self, _path: str) -> Sequence[ImageUser]:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    monkeypatch.setattr(children, "OTHERS_SECONDS", 0.01)
    hung: Any = Hung()
    silent = dataclasses.replace(inn.host, name="silent", disks=hung)
    with pytest.raises(MachineUnfit, match=r"silent stands on .* The host silent does not answer") as caught:
        await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules(), [inn.host, silent])
    assert caught.value.code is ErrorCode.ERROR_ONLY_IF_CONNECTED


async def test_a_simulated_host_is_a_computer_of_its_own(inn: Inn) -> None:
    """One that hangs holds up nobody else's machines."""
    failures = Failures(clock=inn.clock)
    failures.put("cellar", Failure.AWAY)
    cellar = simulated_host(
        inn.directory / "cellar",
        clock=inn.clock,
        publish=inn.events.append,
        name="cellar",
        threads=False,
        failures=failures,
    )
    await cellar.connection.open()
    await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules(), [inn.host, cellar])


async def test_an_image_that_other_computers_may_have_is_told(inn: Inn) -> None:
    """Before the undo point: a clone there would change with it, and nobody here sees it."""

    class OnAFiler(LocalFiles):
        async def network_storage(self, path: str) -> str:
            return "nfs4 filer:/vm"

    found = await examine(inn.host, await inn.machine(), 7, UndoRules())
    assert found.unseen == ()
    shared = dataclasses.replace(inn.host, files=OnAFiler())
    found = await examine(shared, await inn.machine(), 7, UndoRules())
    assert "lies on nfs4 filer:/vm, which other computers may have mounted too" in found.unseen[0]
    assert found.obstacles == ()
