"""Mounts are missed where fstab or a unit asked for them, and can be relied on."""

from __future__ import annotations

import dataclasses

import pytest

from innkeeper.channels.guest_details import Mount
from tests.updates.health.reports import judged, mount, old, report

ROOT = mount("/")


def test_a_mount_of_fstab_that_is_gone_is_a_fault() -> None:
    """It was wanted."""
    assert judged(report(mounts=(ROOT, mount("/srv"))), report(mounts=(ROOT,))).faults == (
        "/srv is not mounted any more.",
    )


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        (mount("/mnt/usb", "noauto"), "fstab has it with noauto"),
        (mount("/mnt/disk", "nofail"), "fstab has it with nofail"),
        (mount("/home", "x-systemd.automount"), "fstab has it with x-systemd.automount"),
        (mount("/data", kind="nfs4"), "it is of the network (nfs4)"),
        (mount("/efi", origin="generated"), "neither fstab nor a unit's file asks for it"),
    ],
    ids=lambda one: one.place if isinstance(one, Mount) else "",
)
def test_a_mount_that_a_boot_goes_on_without_is_told_alone(gone: Mount, why: str) -> None:
    """Each with the reason why."""
    found = judged(report(mounts=(ROOT, gone)), report(mounts=(ROOT,)))
    assert found.faults == ()
    assert found.warnings == (f"{gone.place} is not mounted any more, which does not count: {why}.",)


def test_what_programs_mounted_for_themselves_is_not_missed() -> None:
    """Projected volumes, containers' memory, snaps and sticks: the agent names none of them in detail."""
    passing = frozenset(
        {"/", "/var/lib/kubelet/pods/7/volumes/x", "/var/lib/containers/8/shm", "/media/stick"}
    )
    before = dataclasses.replace(report(mounts=(ROOT,)), mounts=passing)
    assert judged(before, report(mounts=(ROOT,))).findings == ()


def test_an_interface_of_the_kernel_is_not_missed() -> None:
    """It is mounted when somebody needs it."""
    binfmt = mount("/proc/sys/fs/binfmt_misc", origin="unit")
    assert judged(report(mounts=(ROOT, binfmt)), report(mounts=(ROOT,))).findings == ()


def test_a_disk_that_can_only_be_read_any_more_is_a_fault() -> None:
    """The kernel does that after errors."""
    broken = dataclasses.replace(ROOT, read_only=True)
    assert judged(report(mounts=(ROOT,)), report(mounts=(broken,))).faults == (
        "/ can only be read any more.",
    )
    assert judged(report(mounts=(broken,)), report(mounts=(broken,))).faults == ()


def test_an_old_agent_is_judged_by_places() -> None:
    """As before."""
    before, after = report(mounts=(ROOT, mount("/mnt/usb", "noauto"))), report(mounts=(ROOT,))
    assert judged(old(before), after).faults == ("/mnt/usb is not mounted any more.",)


def test_what_programs_mount_is_no_finding_of_an_old_agents_guest_either() -> None:
    """It tells each mount, and not whose wish it is; of a list that was cut nothing is known."""
    passing = ("/var/lib/kubelet/pods/7/volumes/token", "/run/containerd/io/rootfs", "/snap/core/1")
    before = old(report(mounts=(ROOT, mount("/srv"), *map(mount, passing))))
    assert judged(before, old(report(mounts=(ROOT,)))).faults == ("/srv is not mounted any more.",)
    many = old(report(mounts=tuple(mount(f"/a/{number}") for number in range(2000))))
    assert judged(before, many).findings == ()


SWAP = mount("UUID=7f", "sw", kind="swap")


@pytest.mark.parametrize(
    ("swap", "is_fault"),
    [
        (SWAP, True),
        (mount("/swapfile", "sw,nofail", kind="swap"), False),
        (mount("/dev/sdb2", "sw,noauto", kind="swap"), False),
        (mount("/dev/zram0", "", kind="swap", origin="generated"), False),
        (mount("/dev/sdb3", "", kind="swap", origin="unit"), True),
    ],
    ids=lambda value: getattr(value, "place", None),
)
def test_swap_that_the_boot_wants_is_missed(swap: Mount, is_fault: bool) -> None:
    """A server that had it was sized with it: nothing else tells before its memory runs out."""
    judgement = judged(report(mounts=(ROOT, swap)), report(mounts=(ROOT,)))
    (found,) = judgement.findings
    assert found.is_fault is is_fault
    assert found.subject == f"swap:{swap.place}"
    assert found.sentence.startswith(f"Nothing is swapped to {swap.place} any more")


def test_swap_with_another_name_or_that_was_off_before_is_not_missed() -> None:
    """An update may write fstab anew."""
    for origin in ("fstab", "unit", ""):
        renamed = report(mounts=(ROOT, mount("/dev/vda5", "sw", kind="swap", origin=origin)))
        assert judged(report(mounts=(ROOT, SWAP)), renamed).findings == ()
    assert judged(report(mounts=(ROOT,)), report(mounts=(ROOT,))).findings == ()
