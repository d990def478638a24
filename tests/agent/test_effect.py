"""Whether an update has taken effect, by the files of a guest as its kernel has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from innkeeper.agent.effect import may_restart, stale, why_reboot
from innkeeper.agent.places import Places

_LIBRARY = "/usr/lib/x86_64-linux-gnu/libssl.so.3"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A guest in which three programs run, booted in the year 2001."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    _write(tmp_path / "proc/stat", "cpu 1 2 3\nbtime 1000000000\n")
    _process(tmp_path, 1, "systemd", "/init.scope", _maps("/usr/lib/systemd/libsystemd.so.0"))
    _process(tmp_path, 7, "nginx", "/system.slice/nginx.service", _maps(f"{_LIBRARY} (deleted)"))
    _process(tmp_path, 8, "nginx", "/system.slice/nginx.service", _maps(f"{_LIBRARY} (deleted)"))
    _process(tmp_path, 9, "game", "/user.slice/session-1.scope", _maps("/memfd:buffer (deleted)"))
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _process(root: Path, pid: int, name: str, group: str, maps: str) -> None:
    _write(root / f"proc/{pid}/comm", f"{name}\n")
    _write(root / f"proc/{pid}/cgroup", f"0::{group}\n")
    _write(root / f"proc/{pid}/maps", maps)


def _maps(path: str) -> str:
    return (
        f"7f0000000000-7f0000001000 r--p 00000000 fe:00 12 {_LIBRARY}.other (deleted)\n"
        f"7f0000001000-7f0000002000 r-xp 00001000 fe:00 12                         {path}\n"
    )


def test_who_runs_a_file_that_was_replaced_is_told_once(root: Path) -> None:
    """What is only mapped to be read, and memory without a file, is none."""
    places = Places(str(root))
    assert stale(places) == [("nginx.service", "nginx", _LIBRARY)]
    assert why_reboot(places, stale(places)) == ""


@pytest.mark.parametrize(
    ("pid", "name", "group"),
    [(1, "systemd", "/init.scope"), (5, "dbus-daemon", "/system.slice/dbus.service")],
)
def test_what_holds_the_boot_together_takes_a_reboot(root: Path, pid: int, name: str, group: str) -> None:
    """systemd and D-Bus, with whatever library is old in them."""
    _process(root, pid, name, group, _maps("/usr/lib/x86_64-linux-gnu/libc.so.6 (deleted)"))
    places = Places(str(root))
    assert why_reboot(places, stale(places)).startswith(f"{name} still runs the old /usr/lib")


def _kernel(root: Path, version: str, told: str, built: float) -> None:
    """A kernel as for PCs, with what it says of itself, and its modules."""
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x100).to_bytes(2, "little")
    head[0x300:] = told.encode() + b"\0"
    path = root / f"boot/vmlinuz-{version}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(head)
    os.utime(path, (built, built))
    (root / "usr/lib/modules" / version).mkdir(parents=True)


def test_a_kernel_that_came_since_the_boot_takes_a_reboot(root: Path) -> None:
    """Not one without modules, and none that was there at the boot."""
    places, running = Places(str(root)), os.uname()
    _kernel(root, running.release, f"{running.release} (x@y) {running.version}", 100.0)
    assert why_reboot(places, []) == "", "a backup has touched the one that runs"
    _kernel(root, "0.1-old", "0.1-old (x@y) #1 Debian", 50.0)
    assert why_reboot(places, []) == "", "and an older one"
    _kernel(root, "9.9-1", "9.9-1 (x@y) #1 Debian", 200.0)
    assert why_reboot(places, []) == f"the kernel 9.9-1 was installed, and {running.release} runs"
    (root / "usr/lib/modules/9.9-1").rmdir()
    assert why_reboot(places, []) == ""
    (root / "usr/lib/modules/9.9-1").mkdir()
    _write(root / "proc/stat", "btime 4000000000\n")
    assert why_reboot(places, []) == ""


def test_the_same_kernel_built_anew_takes_a_reboot(root: Path) -> None:
    """Distributions mend a kernel under its former name; one that does not say its build is taken as old."""
    places, running = Places(str(root)), os.uname()
    _kernel(root, running.release, f"{running.release} (x@y) #2 SMP Debian 99.9-1 (2099-01-01)", 200.0)
    assert why_reboot(places, []).startswith(f"the kernel {running.release} (built anew) was installed")
    (root / f"boot/vmlinuz-{running.release}").write_bytes(b"another architecture's")
    assert why_reboot(places, []) == ""


@pytest.mark.parametrize(
    ("unit", "may"),
    [("nginx.service", True), ("dbus.service", False), ("session-1.scope", False),
     ("user@1000.service", False),
     ("innkeeper-agent.service", False), ("docker.service", False), ("user@1000.service/x.service", False),
     ("getty@tty1.service", False), ("ssh.service", True)],
)  # fmt: skip
def test_what_people_and_containers_run_in_is_not_restarted(unit: str, may: bool) -> None:
    """They are named in the report."""
    assert may_restart(unit) is may
