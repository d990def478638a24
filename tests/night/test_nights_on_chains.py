"""A night on machines whose disks are differencing VHDs, cut short by ``kill -9`` of the service."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.check import check
from innkeeper.disks.export_files import ExportFiles
from tests.guests.tiny import TinyGuest
from tests.hypervisor.service import Service
from tests.night.test_killed_nights import Inn, night

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]


@pytest.fixture
def inn(tiny_guest: TinyGuest, guest_cache: Path) -> Iterator[Inn]:
    """An inn without a machine yet."""
    state = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
    yield Inn(state, guest_cache)
    Service(state).kill_qemu()
    with contextlib.suppress(OSError):
        shutil.rmtree(state)


def content(path: Path) -> bytes:
    """What a guest reads of a disk."""
    with disks.open(path) as disk:
        return disk.pread(disk.size_bytes, 0)


def test_a_night_on_chains_ends_as_it_should(inn: Inn) -> None:
    """Good is merged into its child though the service was killed in it; bad's child is as it was."""
    plan = night("chains", "merge", "good", "middle") | {"on_chains": True}
    message = inn.live_through(plan)
    assert inn.was_cut("chains"), message
    assert {name: each["verdict"] for name, each in message.items()} == {"good": "kept", "bad": "rolled_back"}
    assert {name: each["disks"] for name, each in message.items()} == {
        name: [str(inn.state / f"{name}.vhd")] for name in message
    }
    assert inn.leftovers() == []
    # "good" runs on, by its export: end both, so that the disk can be read.
    Service(inn.state).kill_qemu()
    for files in ExportFiles.all(inn.state / "exports"):
        while files.process() is not None:
            pass
    assert b"chains" in content(inn.state / "good.vhd")
    assert content(inn.state / "bad.vhd") == content(inn.state / "bad.parent.vhd")
    assert [finding for name in message for finding in check(inn.state / f"{name}.vhd", deep=True)] == []
