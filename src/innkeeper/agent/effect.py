"""Report whether an update has taken effect: who still runs old files, and what only a reboot changes."""

import os
import re
from typing import Dict, Iterator, List, NamedTuple, Set, Tuple

from innkeeper.agent.inits import Inits
from innkeeper.agent.places import Places, read_text

#: A library or program that was replaced, in /proc/*/maps.
_REPLACED = re.compile(r"\S+ \S*x\S* .*? (/(?:usr|lib|lib32|lib64|bin|sbin|opt)/.*) \(deleted\)$")
#: What holds the boot together: only a reboot makes it new.
_CORE = ("dbus", "dbus-broker", "messagebus", "init.scope")
#: What systemd has beside services.
_NO_SERVICES = (".scope", ".socket", ".slice", ".timer", ".mount", ".path", ".swap", ".target", ".device")
#: Restarting these ends what people do, containers, or the answer to the host.
_ASKED_FOR = (
    *("dbus", "messagebus", "systemd-logind", "elogind", "user@", "session-", "innkeeper-agent"),
    *("getty", "agetty", "serial-getty@", "net.", "networking", "xdm", "lxdm", "slim", "display-manager"),
    *("docker", "containerd", "crio", "podman", "libvirtd", "virtqemud", "gdm", "sddm", "lightdm"),
)
_MOST = 500


class Stale(NamedTuple):
    """A program that runs a file that was replaced."""

    #: Empty where no unit has it.
    unit: str
    program: str
    path: str


def stale(places: Places) -> List[Stale]:
    """Return each program of each unit once, with one of the files."""
    found: Dict[Tuple[str, str], Stale] = {}
    owner = Inits(places).owner()
    for pid in _pids(places):
        process = places.under("proc/{}".format(pid))
        path = _replaced(read_text(process + "/maps"))
        if path:
            unit = owner(pid) if pid != 1 else "init.scope"
            one = Stale(unit, read_text(process + "/comm"), path)
            found.setdefault((one.unit, one.program), one)
    return sorted(found.values())[:_MOST]


def why_reboot(places: Places, old: List[Stale]) -> str:
    """Return what only a reboot changes; empty where nothing waits for one."""
    kernel = _new_kernel(places)
    if kernel:
        return "the kernel {} was installed, and {} runs".format(kernel, os.uname().release)
    core = next((one for one in old if _plain(one.unit) in _CORE), None)
    return "{} still runs the old {}".format(core.program, core.path) if core else ""


def restart(places: Places, units: List[str]) -> List[str]:
    """Begin to restart those that run and may be restarted; returns which."""
    chosen = [unit for unit in units if may_restart(unit)]
    return Inits(places).restart(chosen) if chosen else []


def may_restart(unit: str) -> bool:
    """Whether a unit is restarted without asking anybody."""
    is_service = bool(unit) and "/" not in unit and not unit.endswith(_NO_SERVICES)
    return is_service and not unit.startswith(_ASKED_FOR)


def _plain(unit: str) -> str:
    """Return a service's name as any init but systemd has it."""
    return unit[: -len(".service")] if unit.endswith(".service") else unit


def _pids(places: Places) -> Iterator[int]:
    return iter(sorted(int(name) for name in _names(places.under("proc")) if name.isdigit()))


def _replaced(maps: str) -> str:
    for line in maps.splitlines():
        found = _REPLACED.match(line)
        if found:
            return found.group(1)
    return ""


def _new_kernel(places: Places) -> str:
    """Return a kernel that was put into /boot since the boot, and is neither the one that runs nor older.

    A backup, a change of labels or of rights touches the files of all kernels: that is no new one.
    """
    booted, running = _boot_time(places), os.uname()
    age_of_running = _built(places.under("boot/vmlinuz-" + running.release))
    for name in sorted(_names(places.under("boot")), reverse=True):
        prefix, dash, version = name.partition("-")
        path = places.under("boot/" + name)
        if prefix not in ("vmlinuz", "vmlinux", "Image") or not dash or "rescue" in version:
            continue
        if not booted or _came(path) <= booted or not _has_modules(places, version):
            continue
        told = _told_by(path)
        if version == running.release:
            if told and running.version not in told:
                return version + " (built anew)"
        elif _built(path) > age_of_running:
            return version
    return ""


def _told_by(path: str) -> str:
    """Return what a kernel for PCs says of itself, release and build; empty for others.

    See "The Linux/x86 Boot Protocol" in the kernel's documentation, ``kernel_version``.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(64 * 1024)
    except OSError:
        return ""
    if head[0x202:0x206] != b"HdrS":
        return ""
    at = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    return head[at:].partition(b"\0")[0].decode("utf-8", "replace")


def _came(path: str) -> float:
    """Return when a file came here: the time of its content is when it was built."""
    try:
        return os.stat(path).st_ctime
    except OSError:
        return 0.0


def _built(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _has_modules(places: Places, version: str) -> bool:
    roots = ("lib/modules/", "usr/lib/modules/")
    return any(os.path.isdir(places.under(root + version)) for root in roots)


def _boot_time(places: Places) -> float:
    for line in read_text(places.under("proc/stat")).splitlines():
        if line.startswith("btime ") and line[6:].strip().isdigit():
            return float(line[6:])
    return 0.0


def _names(directory: str) -> Set[str]:
    try:
        return set(os.listdir(directory))
    except OSError:
        return set()
