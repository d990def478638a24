"""Compare what is mounted: what fstab or a unit wants, not what comes and goes."""

from __future__ import annotations

from collections.abc import Iterator

from innkeeper.channels.guest_details import Mount
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health.finding import Finding

#: Here programs mount what they need, when they need it.
_API = ("/proc/", "/sys/", "/dev/", "/run/", "/snap/", "/var/lib/snapd/")
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p", "sshfs", "afs", "lustre")
#: With these a boot goes on without the mount.
_SOFT = frozenset({"nofail", "noauto", "_netdev", "x-systemd.automount", "comment=systemd.automount"})


def findings(before: HealthReport, after: HealthReport) -> Iterator[Finding]:
    """What is not mounted any more, or cannot be written to any more."""
    gone = sorted(before.mounts - after.mounts)
    if before.details is None or after.details is None:
        yield from (_gone(place) for place in gone)
        return
    known = {mount.place: mount for mount in before.details.mounts}
    for place in gone:
        if place in known and not place.startswith(_API):
            yield _judge(known[place])
    for mount in after.details.mounts:
        was = known.get(mount.place)
        if was is not None and mount.read_only and not was.read_only:
            yield Finding(
                subject=f"mount:{mount.place}", sentence=f"{mount.place} can only be read any more."
            )


def _judge(mount: Mount) -> Finding:
    if mount.kind.startswith("fuse") or mount.kind in _NETWORK:
        return _gone(mount.place, f"it is of the network ({mount.kind})")
    soft = sorted(mount.options & _SOFT)
    if soft:
        return _gone(mount.place, f"fstab has it with {soft[0]}")
    if mount.origin == "generated":
        return _gone(mount.place, "neither fstab nor a unit's file asks for it")
    return _gone(mount.place)


def _gone(place: str, why_not: str = "") -> Finding:
    return Finding(
        subject=f"mount:{place}",
        sentence=f"{place} is not mounted any more{f', which does not count: {why_not}' if why_not else ''}.",
        is_fault=not why_not,
    )
