"""No disk changes under others that stand on it without a word."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.children import children_of, line_of
from innkeeper.disks.merge import merge
from innkeeper.disks.resize import resize
from innkeeper.errors import DiskError, ErrorCode
from tests.disks.killing import in_a_killed_process, kill_at

MIB = 1 << 20
SIZE = 4 * MIB


def refused(work: Callable[[], object], *names: Path, code: str = "ERROR_SHARING_VIOLATION") -> str:
    """Meet the refusal that names these disks; returns its advice."""
    with pytest.raises(DiskError) as met:
        work()
    assert met.value.code is ErrorCode[code]
    for name in names:
        assert str(name) in met.value.sentence
    return met.value.advice


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """Make a parent with two children that hold data: c1.vhd and c2.vhd."""
    disks.create_dynamic(tmp_path / "p.vhd", SIZE)
    for name in ("c1.vhd", "c2.vhd"):
        disks.create_differencing(tmp_path / name, tmp_path / "p.vhd")
        with disks.open(tmp_path / name, writable=True) as disk:
            disk.pwrite(name.encode() * 500, 1000)
    return tmp_path / "p.vhd"


def test_a_merge_under_another_child_is_refused(parent: Path, content: Callable[[Path], bytes]) -> None:
    """Nothing has changed then, and each way out that the advice names leads on."""
    c1, c2 = parent.with_name("c1.vhd"), parent.with_name("c2.vhd")
    before = [content(path) for path in (c1, c2)]
    advice = refused(lambda: merge(c1), c2)
    assert f"innkeeper disk merge-to {c1} NEW" in advice
    assert f"innkeeper disk reparent {c2} COPY" in advice
    assert [content(path) for path in (c1, c2)] == before
    disks.reparent(c2, shutil.copy2(parent, parent.with_name("copy.vhd")))
    merge(c1)
    assert content(parent) == before[0]
    assert content(c2) == before[1]


def test_a_resize_under_children_is_refused(parent: Path) -> None:
    """Each child counts on its parent as it is."""
    before = parent.read_bytes()
    refused(lambda: resize(parent, 2 * SIZE), parent.with_name("c1.vhd"), parent.with_name("c2.vhd"))
    assert parent.read_bytes() == before


def test_a_child_with_children_of_its_own_is_not_taken_away(
    parent: Path, content: Callable[[Path], bytes]
) -> None:
    """A merge that keeps the child's file leaves its children their parent, and is made."""
    c1, top = parent.with_name("c1.vhd"), parent.with_name("top.vhd")
    parent.with_name("c2.vhd").unlink()
    disks.create_differencing(top, c1)
    expected = content(top)
    assert "--keep-child" in refused(lambda: merge(c1), top)
    merge(c1, keep_child=True)
    with disks.open(top, ignore_parent_time=True) as disk:
        assert disk.pread(SIZE, 0) == expected


@pytest.mark.parametrize(
    "how", ["link to the parent", "beside the child", "linked in", "other ending", "moved"]
)
def test_children_are_found_by_links_and_in_both_folders(parent: Path, how: str) -> None:
    """What counts is the file that a child's own paths lead to, not what anything is called."""
    c1, c2 = parent.with_name("c1.vhd"), parent.with_name("c2.vhd")
    found, started = c2, c1
    if how == "link to the parent":
        (parent.parent / "links").mkdir()
        started = parent.parent / "links" / "c1.vhd"
        started.symlink_to(c1)
    elif how == "beside the child":
        (parent.parent / "far").mkdir()
        for each in (c1, c2):
            shutil.move(each, parent.parent / "far")
            disks.reparent(parent.parent / "far" / each.name, parent)
        started, found = parent.parent / "far" / "c1.vhd", parent.parent / "far" / "c2.vhd"
    elif how == "linked in":
        (parent.parent / "far").mkdir()
        moved = Path(shutil.move(c2, parent.parent / "far" / "x.vhd"))
        disks.reparent(moved, parent)
        c2.symlink_to(moved)
    elif how == "other ending":
        found = c2.rename(c2.with_name("web-1"))
    else:
        parent = parent.rename(parent.with_name("renamed.vhd"))
        disks.reparent(c1, parent)
    refused(lambda: merge(started), found)


def test_what_stands_elsewhere_or_on_a_copy_is_no_child(parent: Path) -> None:
    """A whole family that was copied, a pipe, and what a repair kept hinder nothing."""
    copies = parent.parent / "copies"
    copies.mkdir()
    for path in list(parent.parent.glob("*.vhd")):
        shutil.copy2(path, copies)
    os.mkfifo(parent.with_name("pipe.vhd"))
    c2 = parent.with_name("c2.vhd")
    c2.rename(c2.with_name("c2.vhd.before-repair-2"))
    assert children_of(parent, parent.with_name("c1.vhd")) == []
    assert children_of(copies / "p.vhd") == [copies / "c1.vhd", copies / "c2.vhd"]
    assert line_of(copies / "c1.vhd") == [copies / "c1.vhd", copies / "p.vhd"]
    merge(parent.with_name("c1.vhd"))


def test_a_disk_that_cannot_be_read_may_be_a_child(parent: Path) -> None:
    """Unknown is not none."""
    c2 = parent.with_name("c2.vhd")
    c2.chmod(0)
    refused(lambda: merge(parent.with_name("c1.vhd")), c2, code="E_ACCESSDENIED")


def test_a_merge_that_has_begun_is_finished_whatever_has_come_since(
    parent: Path, content: Callable[[Path], bytes]
) -> None:
    """The way back is closed: a child that appears meanwhile does not hold it up."""
    c1, c2 = parent.with_name("c1.vhd"), parent.with_name("c2.vhd")
    aside = c2.rename(parent.with_name("aside.img"))
    expected = content(c1)

    def die() -> None:
        kill_at(12)
        merge(c1)

    assert in_a_killed_process(die)
    aside.rename(c2)
    merge(c1)
    assert content(parent) == expected
