"""Compare what is mounted, or swapped to: what fstab or a unit wants, not what comes and goes."""

from __future__ import annotations

from collections.abc import Iterator

from innkeeper.channels.guest_details import Mount
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health.finding import Finding

#: Here programs mount what they need, when they need it.
_API = ("/proc/", "/sys/", "/dev/", "/run/", "/snap/", "/var/lib/snapd/")
#: What container engines mount for their containers.
_OF_CONTAINERS = ("/var/lib/kubelet/", "/var/lib/docker/", "/var/lib/containers/", "/var/lib/containerd/")
#: A plain list of so many was cut by the guest: what it lacks may be there.
_CUT = 2000
#: The kind of what is swapped to, as fstab has it.
_SWAP = "swap"
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p", "sshfs", "afs", "lustre")
#: With these a boot goes on without the mount.
_SOFT = frozenset({"nofail", "noauto", "_netdev", "x-systemd.automount", "comment=systemd.automount"})


def findings(before: HealthReport, after: HealthReport) -> Iterator[Finding]:
    """What is not mounted any more, or cannot be written to any more."""
    gone = sorted(before.mounts - after.mounts)
    if before.details is None or after.details is None:
        if len(after.mounts) < _CUT:
            yield from (
                _gone(Mount(place=place, kind=""))
                for place in gone
                if not place.startswith((*_API, *_OF_CONTAINERS))
            )
        return
    known = {mount.place: mount for mount in before.details.mounts}
    has_less_swap = _swaps(after) < _swaps(before)
    for place in gone:
        mount = known.get(place)
        if mount is not None and mount.kind == _SWAP:
            if has_less_swap:
                yield _judge(mount)
        elif mount is not None and not place.startswith(_API):
            yield _judge(mount)
    for mount in after.details.mounts:
        was = known.get(mount.place)
        if was is not None and mount.read_only and not was.read_only:
            yield Finding(
                subject=f"mount:{mount.place}", sentence=f"{mount.place} can only be read any more."
            )


def subject_of(mount: Mount) -> str:
    """Return what a finding about it is called."""
    return f"{'swap' if mount.kind == _SWAP else 'mount'}:{mount.place}"


def _swaps(report: HealthReport) -> int:
    """To how many places a guest swaps: fstab may give one of them another name, or none any more."""
    told = () if report.details is None else report.details.mounts
    return sum(each.kind == _SWAP and (not each.origin or each.place in report.mounts) for each in told)


def _judge(mount: Mount) -> Finding:
    if mount.kind.startswith("fuse") or mount.kind in _NETWORK:
        return _gone(mount, f"it is of the network ({mount.kind})")
    soft = sorted(mount.options & _SOFT)
    if soft:
        return _gone(mount, f"fstab has it with {soft[0]}")
    if mount.origin == "generated":
        return _gone(mount, "neither fstab nor a unit's file asks for it")
    return _gone(mount)


def _gone(mount: Mount, why_not: str = "") -> Finding:
    is_swap = mount.kind == _SWAP
    lost = f"Nothing is swapped to {mount.place}" if is_swap else f"{mount.place} is not mounted"
    return Finding(
        subject=subject_of(mount),
        sentence=f"{lost} any more{f', which does not count: {why_not}' if why_not else ''}.",
        is_fault=not why_not,
    )
