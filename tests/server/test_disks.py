"""Disks through the door: every operation a task, in the service's folders alone, across a kill."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import innkeeper
from innkeeper import disks
from innkeeper.client.disks import findings_of
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument, MachineBusy
from innkeeper.wire.states import HardDiskType, TaskResult
from tests.serving import Service

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that the service may work in."""
    folder = tmp_path / "disks"
    folder.mkdir()
    return folder


@pytest.fixture
def inn(own_service: Service, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[innkeeper.Inn]:
    """A service on that folder, and on the one of its simulated machines."""
    monkeypatch.setenv("INNKEEPER_DISK_ROOTS", f"{root}:{own_service.state_dir}/fake")
    own_service.start()
    with own_service.connect() as inn:
        yield inn


def done(task: innkeeper.Task) -> innkeeper.Task:
    """The task, which has ended well."""
    assert task.wait(60)
    assert task.result is TaskResult.SUCCESS, task.error_description
    return task


def read(path: Path, size: int, offset: int = 0) -> bytes:
    """Part of a disk."""
    with disks.open(path) as disk:
        return disk.pread(size, offset)


def write(path: Path, data: bytes, offset: int = 0) -> None:
    """Write to a disk."""
    with disks.open(path, writable=True) as disk:
        disk.pwrite(data, offset)


def test_a_disk_lives_its_whole_life_as_tasks(inn: innkeeper.Inn, root: Path) -> None:
    """The documented members, from create to merge; each task tells its bytes."""
    base = root / "made" / "base.vhd"
    done(inn.disks.create_dynamic(base, 20 * MIB))
    write(base, b"base" * 1000)
    done(inn.disks.create_differencing("child.vhd", base))
    child = inn.disks[base.with_name("child.vhd")]
    write(Path(child.file), b"child", 2)
    assert (child.type, child.size_in_guest) == (HardDiskType.DIFFERENCING, 20 * MIB)
    assert child.parent is not None
    assert (child.parent.file, child.parent.type) == (str(base), HardDiskType.DYNAMIC)
    assert child.size_on_host == Path(child.file).stat().st_size
    assert child.host_free_disk_space > 0
    assert [each.file for each in child.chain] == [child.file, str(base)]
    task = done(child.convert(root / "flat.raw", "raw"))
    message = task.read()
    assert message.bytes_done == message.bytes_total == 20 * MIB
    assert (root / "flat.raw").read_bytes()[:8] == b"bachilde"
    done(child.merge_to(root / "whole.vhd", HardDiskType.FIXED_SIZE))
    assert inn.disks[root / "whole.vhd"].type is HardDiskType.FIXED_SIZE
    done(inn.disks[base].compact())
    child.parent = base
    done(child.merge())
    assert read(base, 8) == b"bachilde"
    done(inn.disks[base].resize(40 * MIB))
    assert inn.disks[base].size_in_guest == 40 * MIB
    done(inn.disks[base].check(deep=True))
    done(inn.disks[base].repair())
    done(inn.disks.convert(root / "flat.raw", root / "flat.qcow2", "qcow2", source_kind="raw"))
    assert inn.disks[root / "flat.qcow2"].size_in_guest == 20 * MIB
    assert {Path(disk.file).name for disk in inn.disks} >= {"base.vhd", "whole.vhd", "flat.raw", "flat.qcow2"}


def test_a_task_names_what_went_wrong(inn: innkeeper.Inn, root: Path) -> None:
    """A late error is in the task, with its documented identifier; an early one is raised."""
    done(inn.disks.create_dynamic(root / "d.vhd", 20 * MIB))
    task = inn.disks[root / "d.vhd"].merge()
    assert task.wait(60)
    assert task.error == ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE
    for attempt, code in (
        (lambda: inn.disks.create_dynamic(root / "d.vhd", 20 * MIB), ErrorCode.ERROR_ALREADY_EXISTS),
        (lambda: inn.disks.create_dynamic(root / "e.vhd", 3000 << 30), ErrorCode.VM_E_IMAGE_SIZE_TOO_LARGE),
        (lambda: inn.disks.create_dynamic(root / "e.vhd", 512), ErrorCode.VM_E_IMAGE_SIZE_TOO_SMALL),
        (lambda: inn.disks[root / "none.vhd"], ErrorCode.ERROR_FILE_NOT_FOUND),
        (lambda: inn.disks.at(root / "none.vhd").compact(), ErrorCode.ERROR_FILE_NOT_FOUND),
    ):
        with pytest.raises(DiskError) as refused:
            attempt()
        assert refused.value.code is code
    with pytest.raises(InvalidArgument):
        inn.disks.create_dynamic(root / "e.vhd", 20 * MIB + 1)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/etc/passwd", ErrorCode.ERROR_BAD_PATHNAME),
        ("{root}/../outside/d.vhd", ErrorCode.ERROR_BAD_PATHNAME),
        ("{root}/link/d.vhd", ErrorCode.ERROR_BAD_PATHNAME),
        ("{root}/link-to-disk.vhd", ErrorCode.ERROR_BAD_PATHNAME),
        ("d.vhd", ErrorCode.ERROR_BAD_PATHNAME),
        ("{root}/a\0b.vhd", ErrorCode.ERROR_INVALID_NAME),
        ("{root}/" + "x" * 300, ErrorCode.ERROR_BUFFER_OVERFLOW),
        ("{root}/hostile.vhd", ErrorCode.ERROR_BAD_PATHNAME),
    ],
)
def test_no_path_leads_out_of_the_folders(
    inn: innkeeper.Inn, root: Path, tmp_path: Path, path: str, code: ErrorCode
) -> None:
    """By "..", by a link, by a disk's own parent: each refused for looking, changing and making."""
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = disks.create_dynamic(outside / "d.vhd", 20 * MIB)
    (root / "link").symlink_to(outside)
    (root / "link-to-disk.vhd").symlink_to(secret)
    disks.create_differencing(root / "hostile.vhd", secret)
    before = secret.read_bytes()
    named = path.format(root=root)
    attempts: list[Callable[[], object]] = [
        lambda: inn.disks.at(named).read(),
        lambda: inn.disks.at(named).compact(),
        lambda: inn.disks.at(named).merge(),
        lambda: inn.disks.at(named).convert(root / "copy.raw", "raw"),
        lambda: inn.disks.create_differencing(root / "new.vhd", named if "/" in named else f"./{named}"),
    ]
    if "hostile" not in path:
        attempts.append(lambda: inn.disks.create_dynamic(named, 20 * MIB))
    for attempt in attempts:
        # A NUL in a query is refused at the door, before anybody knows that it is a disk's path.
        with pytest.raises((DiskError, InvalidArgument)) as refused:
            attempt()
        assert refused.value.code is code or (named == "d.vhd" and refused.value.code in _MISSING)
    assert secret.read_bytes() == before
    assert [each.name for each in outside.iterdir()] == ["d.vhd"]


_MISSING = {ErrorCode.ERROR_FILE_NOT_FOUND}


def test_the_disk_of_a_live_machine_is_left_alone(inn: innkeeper.Inn, own_service: Service) -> None:
    """Running or saved, the machine's memory knows what is in it; one that is off may be worked on."""
    for name in ("web-1", "old-1"):
        path = inn.machines[name].read().disks[0].path
        with pytest.raises(DiskError) as refused:
            inn.disks.at(path).compact()
        assert refused.value.code is ErrorCode.ERROR_SHARING_VIOLATION
        assert name in str(refused.value)


def test_a_disk_on_which_another_machines_disk_stands_is_not_changed(
    inn: innkeeper.Inn, own_service: Service, root: Path
) -> None:
    """A machine that is off has as much to lose, wherever its disk lies; the refusal names both."""
    done(inn.machines["web-1"].turn_off())
    (root / "far").mkdir()
    for path, parent in (("p.vhd", ""), ("c1.vhd", "p.vhd"), ("far/c2.vhd", "p.vhd")):
        if parent:
            done(inn.disks.create_differencing(root / path, root / parent))
        else:
            done(inn.disks.create_dynamic(root / path, 20 * MIB))
    # Simulated machines take disks of this length.
    data = (root / "far/c2.vhd").read_bytes()
    (root / "far/c2.vhd").write_bytes(data[:-512].ljust(32768 - 512, b"\0") + data[-512:])
    attached = own_service.run("machine", "attach", "web-1", "disk", str(root / "far/c2.vhd"))
    assert attached.code == 0, attached
    before = (root / "p.vhd").read_bytes()
    for change in (
        lambda: inn.disks.at(root / "c1.vhd").merge(),
        lambda: inn.disks.at(root / "p.vhd").resize(40 * MIB),
        lambda: inn.disks.at(root / "p.vhd").export(writable=True),
    ):
        with pytest.raises(DiskError, match=f"{root}/far/c2.vhd.* web-1") as refused:
            change()
        assert refused.value.code is ErrorCode.ERROR_SHARING_VIOLATION
    assert (root / "p.vhd").read_bytes() == before


def test_one_operation_a_disk(inn: innkeeper.Inn, root: Path) -> None:
    """A second one is refused, and the task that holds the disk is named."""
    done(inn.disks.create_dynamic(root / "d.vhd", 2000 * MIB))
    with disks.open(root / "d.vhd", writable=True) as disk:
        for at in range(0, 2000 * MIB, 2 * MIB):
            disk.pwrite(b"x", at)
    first = inn.disks[root / "d.vhd"].compact()
    with pytest.raises(MachineBusy) as refused:
        inn.disks.at(root / "d.vhd").check()
    assert refused.value.task_id == first.id
    done(first)


def test_a_merge_goes_on_after_the_service_was_killed(
    inn: innkeeper.Inn, own_service: Service, root: Path
) -> None:
    """It has begun, so it is finished: by the next service, with nobody asking."""
    parent, child = root / "p.vhd", root / "c.vhd"
    disks.create_dynamic(parent, 600 * MIB)
    disks.create_differencing(child, parent)
    with disks.open(child, writable=True) as disk:
        for at in range(0, 600 * MIB, 4 * MIB):
            disk.pwrite(at.to_bytes(8, "big") * (MIB // 2), at)
    task = inn.disks[child].merge()
    journal = root / "p.vhd.merging"
    deadline = time.monotonic() + 30
    while not journal.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    own_service.kill()
    assert journal.exists(), "killed in the middle"
    assert child.exists()
    with pytest.raises(DiskError) as refused:
        disks.open(parent)
    assert refused.value.code is ErrorCode.ERROR_SHARING_VIOLATION
    own_service.start()
    with own_service.connect() as again:
        ended = done(again.tasks[task.id])
        assert not ended.is_cancelable
    assert not child.exists()
    assert not journal.exists()
    with disks.open(parent) as disk:
        for at in range(0, 600 * MIB, 4 * MIB):
            assert disk.pread(8, at) == at.to_bytes(8, "big")


def test_a_cancelled_conversion_leaves_nothing(inn: innkeeper.Inn, root: Path) -> None:
    """Its stated effect is to go back to the start, and it does."""
    done(inn.disks.create_dynamic(root / "d.vhd", 600 * MIB))
    with disks.open(root / "d.vhd", writable=True) as disk:
        for at in range(0, 600 * MIB, 4 * MIB):
            disk.pwrite(b"data" * MIB, at)
    task = inn.disks[root / "d.vhd"].convert(root / "copy.vhd", "fixed")
    assert task.cancel_effect is innkeeper.CancelEffect.BACK_TO_START
    task.cancel()
    assert task.wait(60)
    assert task.result is TaskResult.CANCELLED
    assert not list(root.glob("copy*"))


def test_a_check_finds_through_the_door_what_it_finds_without(inn: innkeeper.Inn, root: Path) -> None:
    """The quick look answers at once, the task tells the same in its log."""
    done(inn.disks.create_dynamic(root / "p.vhd", 20 * MIB))
    done(inn.disks.create_differencing(root / "c.vhd", root / "p.vhd"))
    (root / "p.vhd").rename(root / "elsewhere.vhd")
    child = inn.disks[root / "c.vhd"]
    quick = child.find_faults()
    assert [finding.problem for finding in quick] == ["parent"]
    assert list(findings_of(done(child.check()))) == list(quick)
    child.reparent(root / "elsewhere.vhd")
    assert not child.find_faults()


def test_a_disk_is_offered_to_other_programs(
    inn: innkeeper.Inn, own_service: Service, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a process that outlives the service, until it is ended."""
    done(inn.disks.create_dynamic(root / "d.vhd", 20 * MIB))
    write(root / "d.vhd", b"offered")
    exported = own_service.run("disk", "export", str(root / "d.vhd"))
    assert exported.code == 0, exported
    address = exported.out.strip()
    size = subprocess.run(["nbdinfo", "--size", address], capture_output=True, text=True, check=True)
    assert int(size.stdout) == 20 * MIB
    assert inn.disks[root / "d.vhd"].size_in_guest == 20 * MIB
    with pytest.raises(DiskError) as refused:
        disks.open(root / "d.vhd", writable=True)
    assert refused.value.code is ErrorCode.ERROR_SHARING_VIOLATION
    for refused_at in (inn.disks.at(root / "d.vhd").compact, inn.disks.at(root / "d.vhd").repair):
        with pytest.raises(DiskError) as refused:
            refused_at()
        assert "--end" in refused.value.advice
    own_service.kill()
    own_service.start()
    listed = own_service.run("disk", "exports")
    assert f"{root}/d.vhd  (read-only)\n  {address}" in listed.out
    assert own_service.run("disk", "export", str(root / "d.vhd"), "--end").code == 0
    with own_service.connect() as again:
        assert again.disks.exports == ()
    disks.open(root / "d.vhd", writable=True).close()


def test_a_machine_without_a_vhd_has_nothing_to_connect(inn: innkeeper.Inn, own_service: Service) -> None:
    """It is said, and the machine stays as it is; one that runs is refused."""
    refused = own_service.run("disk", "connect", "web-1")
    assert (refused.code, "running" in refused.err) == (4, True)
    done(inn.machines["web-1"].turn_off())
    message = own_service.run("disk", "connect", "web-1")
    assert (message.code, "no disk" in message.err) == (0, True)


def test_the_terminal_goes_through_the_service_where_it_has_the_disk(
    inn: innkeeper.Inn, own_service: Service, root: Path, tmp_path: Path
) -> None:
    """A disk in its folders is its work and in its history; another one, or --offline, is done here."""
    disk = str(root / "d.vhd")
    assert own_service.run("disk", "create", disk, "--size", "20M").code == 0
    shown = own_service.run("disk", "info", disk)
    assert "dynamic" in shown.out
    assert own_service.run("disk", "compact", disk).code == 0
    child = str(root / "c.vhd")
    assert own_service.run("disk", "create", child, "--parent", disk).code == 0
    tree = own_service.run("disk", "chain", child)
    assert tree.out.index("d.vhd") < tree.out.index("c.vhd")
    checked = own_service.run("disk", "check", child, "--json")
    assert (checked.code, json.loads(checked.out)) == (0, [])
    listed = own_service.run("disk", "list")
    assert str(root) in listed.out
    assert "d.vhd" in listed.out
    assert own_service.run("disk", "merge", disk).code == 1
    refused = own_service.run("disk", "create", disk, "--size", "20M")
    assert "0x800700b7" in refused.err
    kinds = [task.kind for task in inn.tasks.search()]
    assert kinds == ["disk_merge", "disk_check", "disk_create", "disk_compact", "disk_create"]
    assert own_service.run("disk", "compact", disk, "--offline").code == 0
    assert own_service.run("disk", "create", str(tmp_path / "own.vhd"), "--size", "20M").code == 0
    assert len(list(inn.tasks.search())) == len(kinds)


def test_a_chain_whose_parent_has_another_time_is_read_out(inn: innkeeper.Inn, root: Path) -> None:
    """Conversions and exports of the service go on where the caller says so."""
    done(inn.disks.create_dynamic(root / "p.vhd", 20 * MIB))
    done(inn.disks.create_differencing(root / "c.vhd", root / "p.vhd"))
    os.utime(root / "p.vhd", (1_700_000_000, 1_700_000_000))
    child = inn.disks.at(root / "c.vhd")
    task = child.convert(root / "n.vhd", "dynamic")
    assert task.wait(60)
    assert task.error == ErrorCode.VM_E_PARENT_MODIFIED
    done(child.convert(root / "n.vhd", "dynamic", ignore_parent_time=True))
    done(child.merge_to(root / "m.vhd", ignore_parent_time=True))
    assert child.export(ignore_parent_time=True).startswith("nbd+unix:")
    child.end_export()
