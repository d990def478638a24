"""An undo point is put only under machines that it can carry, and leaves no trace it should not."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from innkeeper.errors import InvalidArgument, MachineError, MachineUnfit
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.machines.machine import Disk, DiskKind, MachineState
from innkeeper.machines.settings import MachineSettings
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.overlay_names import run_of
from innkeeper.machines.undo.point import BaseRecord, Consistency, UndoPlan, UndoPoint
from tests.threads import in_thread
from tests.updates.inn import Inn

RUN = 7


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn with one machine that is off."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.TURNED_OFF)
    return inn


async def plan_of(inn: Inn, rules: UndoRules | None = None) -> UndoPlan:
    """Plan an undo point of the machine."""
    return await plan_undo_point(inn.host, await inn.machine(), RUN, rules or UndoRules())


async def change_disk(inn: Inn, **changes: object) -> None:
    """Change the definition of the machine's second disk."""

    def change(machine: object, _: float) -> None:
        disks: list[Disk] = machine.disks  # type: ignore[attr-defined] # a simulated machine
        disks[1] = dataclasses.replace(disks[1], **changes)  # type: ignore[arg-type] # a test's shorthand

    await inn.host.simulation.simulate("web-1", change)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "lun", "path": "/dev/sdb"}, "SCSI device /dev/sdb, passed through"),
        ({"shared": True}, "shared with other machines"),
        ({"transient": True}, "transient"),
        ({"sliced": True}, "is a slice of"),
        ({"kind": DiskKind.NETWORK, "path": "https://there:443/a.img"}, "takes no writes"),
        ({"kind": DiskKind.OTHER, "path": ""}, "kind that Innkeeper does not know"),
    ],
)
async def test_a_disk_that_cannot_be_undone_is_refused_by_name(
    inn: Inn, changes: dict[str, object], message: str
) -> None:
    """The sentence names the disk, the machine and what is wrong; nothing was touched."""
    before = inn.content()
    await change_disk(inn, **changes)
    with pytest.raises(MachineUnfit, match=f"vdb of web-1 is .*{message}|vdb of web-1.*{message}") as caught:
        await plan_of(inn)
    assert caught.value.advice
    assert inn.content() == before
    assert inn.leftovers() == []


@pytest.mark.parametrize("changes", [{"read_only": True}, {"device": "cdrom", "kind": DiskKind.OTHER}])
async def test_what_takes_no_writes_is_left_out(inn: Inn, changes: dict[str, object]) -> None:
    """A read-only disk or a CD needs no undo disk."""
    await change_disk(inn, **changes)
    assert [disk.target for disk in (await plan_of(inn)).disks] == ["vda"]


async def test_a_foreign_backing_file_is_fine(inn: Inn) -> None:
    """A linked clone: only its own image is ever written to, whoever else stands on the golden one."""
    parent = str(inn.directory / "golden.img")
    in_thread(fake_disks.create_base, parent)
    os.remove(inn.disk(target="vdb"))  # noqa: PTH107
    in_thread(fake_disks.create_overlay, inn.disk(target="vdb"), parent)
    plan = await plan_of(inn)
    assert plan.bases["vdb"] == inn.disk(target="vdb")


@pytest.mark.parametrize(
    ("changes", "base", "image"),
    [
        ({"kind": DiskKind.BLOCK, "path": "/dev/vg/web"}, "/dev/vg/web", "/dev/vg/web"),
        (
            {"kind": DiskKind.NETWORK, "path": "rbd://mon/pool/web"},
            "rbd://mon/pool/web",
            "rbd://mon/pool/web",
        ),
    ],
)
async def test_a_disk_in_no_folder_gets_its_overlay_among_undo_disks(
    inn: Inn, changes: dict[str, object], base: str, image: str
) -> None:
    """In the folder that the settings name, or in the host's own; beside the file where there is one."""
    await change_disk(inn, **changes)
    plan, named = await plan_of(inn), await plan_of(inn, UndoRules(undo_directory=str(inn.directory)))
    assert (plan.bases["vdb"], plan.images["vdb"]) == (base, image)
    own = await inn.host.disks.undo_directory()
    assert plan.overlays["vdb"] == f"{own}/web-1.vdb.innkeeper-{RUN}.qcow2"
    assert named.overlays["vdb"] == f"{inn.directory}/web-1.vdb.innkeeper-{RUN}.qcow2"
    assert Path(named.overlays["vda"]).parent == Path(inn.disk(target="vda")).parent
    assert UndoPlan.from_json(plan.to_json()) == plan
    assert base not in plan.files


async def test_a_second_undo_point_is_refused(inn: Inn) -> None:
    """An overlay of an earlier run is merged or discarded first."""
    await UndoPoint(inn.host, await plan_of(inn), clock=inn.clock).take(freeze_seconds=10)
    with pytest.raises(MachineError, match="still has the undo disk"):
        await plan_of(inn)


async def test_lack_of_room_is_said_before_anything_is_touched(inn: Inn) -> None:
    """Both disks' reserves must fit into their directory together."""
    reserve = int(fake_disks.DISK_BYTES * 0.1)
    inn.host.simulation.room_bytes = 2 * reserve
    await plan_of(inn)
    inn.host.simulation.room_bytes = 2 * reserve - 1
    with pytest.raises(MachineError, match="no room for the undo disk of vdb"):
        await plan_of(inn)


async def test_a_tpm_is_refused_unless_it_may_be_left_out(inn: Inn) -> None:
    """Where its state is out of reach: a roll back would not take it back."""
    await inn.host.simulation.simulate("web-1", lambda machine, _: setattr(machine, "tpm_path", ""))
    with pytest.raises(MachineUnfit, match="TPM"):
        await plan_of(inn)
    await plan_of(inn, UndoRules(leave_tpm_out=True))


@pytest.mark.parametrize("gone", ["saved memory", "definition"])
async def test_saved_memory_and_definition_have_the_same_disks(tmp_path: Path, gone: str) -> None:
    """What the memory alone knows it would write to past the undo point, once it is restored."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.SAVED)
    await plan_of(inn)
    assert machine.saved is not None
    (machine.disks if gone == "definition" else machine.saved.disks).pop()
    with pytest.raises(
        MachineUnfit, match=rf"the disk vdb \({inn.disk(target='vdb')}\), and its {gone} has not"
    ):
        await plan_of(inn)


async def test_a_running_guest_is_frozen_while_its_disks_are_taken(tmp_path: Path) -> None:
    """And thawed afterwards; without qemu-guest-agent the undo point is crash-consistent, and says so."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    undo = UndoPoint(inn.host, await plan_of(inn), clock=inn.clock)
    assert await undo.take(freeze_seconds=10) is Consistency.FROZEN
    assert not machine.frozen

    other = await inn.add(MachineState.RUNNING, name="bare")
    other.has_guest_agent_port = False
    plan = await plan_undo_point(inn.host, await inn.machine("bare"), RUN, UndoRules())
    assert await UndoPoint(inn.host, plan, clock=inn.clock).take(freeze_seconds=10) is Consistency.CRASH


async def test_a_guest_that_a_crash_left_frozen_is_thawed_first(tmp_path: Path) -> None:
    """Whatever else the step then finds done already."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    undo = UndoPoint(inn.host, await plan_of(inn), clock=inn.clock)
    await undo.take(freeze_seconds=10)
    await inn.host.guest_agents.freeze("web-1")
    await undo.take(freeze_seconds=10)
    assert not machine.frozen


async def test_a_guest_that_somebody_else_has_frozen_is_left_to_them(inn: Inn) -> None:
    """A backup may have, which thaws it at its end; nothing is touched, and it is said how to end it."""
    machine = await inn.add(MachineState.RUNNING, name="held")
    machine.frozen = True
    plan = await plan_undo_point(inn.host, await inn.machine("held"), RUN, UndoRules())
    with pytest.raises(MachineUnfit, match="frozen, and not by Innkeeper") as caught:
        await UndoPoint(inn.host, plan, clock=inn.clock).take(freeze_seconds=0)
    assert caught.value.way_out == "virsh domfsthaw held"
    assert machine.frozen
    assert not machine.freezing_since


async def test_overlays_that_are_stood_on_are_never_deleted(inn: Inn) -> None:
    """The machine would not start again."""
    undo = UndoPoint(inn.host, await plan_of(inn), clock=inn.clock)
    await undo.take(freeze_seconds=10)
    with pytest.raises(MachineError, match="still stands on its undo disks"):
        await undo.delete_files()
    assert len(inn.leftovers()) == 4


async def test_a_base_that_somebody_wrote_to_is_noticed(inn: Inn) -> None:
    """By its size, its time of change or its inode, and by its content where it was read."""
    undo = UndoPoint(inn.host, await plan_of(inn), clock=inn.clock)
    await undo.take(freeze_seconds=10)
    records = await undo.record(read_up_to_bytes=1 << 20)
    assert await undo.changed_bases(records) == ()
    path = Path(inn.disk(target="vdb"))
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert await undo.changed_bases(records) == (str(path),)
    after = await undo.checksums(records)
    assert [after[r.path] == r.checksum for r in records] == [True, False]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_base_that_only_libvirt_may_read_is_recorded_without_a_checksum(inn: Inn) -> None:
    """Its identity has to do; the update is not given up for it."""
    undo = UndoPoint(inn.host, await plan_of(inn), clock=inn.clock)
    await undo.take(freeze_seconds=10)
    for base in undo.plan.bases.values():
        Path(base).chmod(0)
    records = await undo.record(read_up_to_bytes=1 << 20)
    assert {record.checksum for record in records} == {""}
    assert await undo.changed_bases(records) == ()
    assert await undo.checksums(records) == {}


async def test_plans_and_records_come_back_from_the_journal_as_they_were(inn: Inn) -> None:
    """Through JSON, with nothing lost."""
    plan = await plan_of(inn)
    assert UndoPlan.from_json(plan.to_json()) == plan
    plans = dataclasses.replace(
        plan, disks=(dataclasses.replace(plan.disks[0], kind=DiskKind.VOLUME, base="p/v", resolved="/p/v"),)
    )
    assert UndoPlan.from_json(plans.to_json()) == plans
    undo = UndoPoint(inn.host, plan, clock=inn.clock)
    for record in await undo.record(read_up_to_bytes=0):
        assert record.checksum == ""
        assert BaseRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    ("path", "run"),
    [
        ("/d/web-1.vda.innkeeper-17.qcow2", 17),
        ("/nvram/web-1.fd.innkeeper-3", 3),
        ("/d/web-1.qcow2", None),
        ("/d/notes.innkeeper-x.qcow2", None),
        ("/d/my.innkeeper-2.img", None),
    ],
)
def test_a_file_of_an_undo_point_is_known_by_its_name(path: str, run: int | None) -> None:
    """And nothing else is taken for one."""
    assert run_of(path) == run


# Disks that are left out by name


async def leave_out(inn: Inn, *targets: str) -> None:
    """Set it, as ``machine set --undo-exclude`` does."""
    await MachineSettings(inn.machines).change("web-1", {"undo_exclude": ",".join(targets)})


async def test_a_scratch_disk_is_left_out_by_name(inn: Inn) -> None:
    """The way out of a refusal: the plan names what it does not cover, in the journal too."""
    await change_disk(inn, shared=True)
    with pytest.raises(MachineUnfit, match="shared") as caught:
        await plan_of(inn)
    assert caught.value.way_out == "innkeeper machine set web-1 --undo-exclude vdb"
    assert caught.value.way_out in caught.value.advice
    await leave_out(inn, "vdb")
    plan = await plan_of(inn)
    assert ([disk.target for disk in plan.disks], plan.excluded) == (["vda"], ("vdb",))
    assert "a roll back does not undo what is written to it" in plan.gaps[0]
    assert UndoPlan.from_json(plan.to_json()) == plan


async def test_a_roll_back_leaves_what_was_written_to_a_disk_left_out(inn: Inn) -> None:
    """And takes back the rest; the disk left out has no overlay at any time."""
    await leave_out(inn, "vdb")
    undo = UndoPoint(inn.host, await plan_of(inn), clock=inn.clock)
    await undo.take(freeze_seconds=10)
    machine = await inn.machine()
    assert [run_of(disk.path) for disk in machine.disks] == [RUN, None]
    before = in_thread(fake_disks.read, inn.disk(target="vda"))
    for disk in machine.disks:
        in_thread(fake_disks.write, disk.path, b"written by the update")
    await undo.drop()
    await undo.delete_files()
    assert in_thread(fake_disks.read, inn.disk(target="vda")) == before
    assert in_thread(fake_disks.read, inn.disk(target="vdb")).startswith(b"written by the update")


async def test_not_all_disks_are_left_out_and_none_that_is_not_there(inn: Inn) -> None:
    """A name that is no disk's is a slip of the hand; a machine without undo is not maintained."""
    with pytest.raises(InvalidArgument, match="has no disk vdz") as caught:
        await leave_out(inn, "vdz")
    assert "vda, vdb" in caught.value.advice
    with pytest.raises(InvalidArgument, match="is no list of disks"):
        await leave_out(inn, "vdb;vda")
    await leave_out(inn, "vda", "vdb")
    with pytest.raises(MachineUnfit, match="All disks of web-1 are left out"):
        await plan_of(inn)


async def test_a_plan_of_the_first_release_leaves_nothing_out(inn: Inn) -> None:
    """Its journal does not know the word."""
    kept = (await plan_of(inn)).to_json()
    assert isinstance(kept, dict)
    of_old = UndoPlan.from_json({key: kept[key] for key in kept if key not in ("excluded", "host_storage")})
    assert (of_old.excluded, of_old.gaps) == ((), ())


async def test_storage_of_the_host_past_all_disks_is_said(inn: Inn) -> None:
    """It is no disk that could be left out: the machine is maintained, and plan and report say so."""
    machine = dataclasses.replace(await inn.machine(), host_storage=("the folder /srv/home",))
    plan = await plan_undo_point(inn.host, machine, RUN, UndoRules())
    assert "can write to the folder /srv/home, of its host and past its undo disks" in plan.gaps[0]
    assert UndoPlan.from_json(plan.to_json()) == plan
