"""What a guest ran out of is named: the file system without room, and what was killed for want of memory."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from innkeeper.agent import reserve
from innkeeper.agent.journal import Journal, TaskEntry
from innkeeper.agent.places import Places
from innkeeper.agent.run import Request, Run
from innkeeper.agent.shortage import killed, shortages

_MOUNTS = """\
/dev/vda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
/dev/vda2 /boot ext4 rw 0 0
/dev/vda3 /boot/efi vfat rw 0 0
"""
_KERNEL = """\
shop invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0
oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task_memcg=/system.slice/shop.service,task=dpkg,pid=812,uid=0
Out of memory: Killed process 812 (dpkg) total-vm:918372kB, anon-rss:301040kB, file-rss:0kB
Memory cgroup out of memory: Killed process 900 (mysqld) total-vm:1918372kB
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A guest with a /boot of its own, whose kernel has killed two programs."""
    for directory in ("boot/efi", "usr", "var", "run/systemd/system", "proc/self", "bin"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "proc/self/mounts").write_text(_MOUNTS)
    (tmp_path / "bin/journalctl").write_text(f"#!/bin/sh\ncat {tmp_path}/kernel 2>/dev/null\n")
    (tmp_path / "bin/journalctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return Places(str(tmp_path))


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ("zstd: error 70 : Write error : cannot write block : No space left on device: /boot", "/boot"),
        (
            (
                "dpkg: error processing archive /var/cache/apt/archives/linux_9.deb (--unpack): cannot copy "
                "extracted data for './boot/vmlinuz-9' to '/boot/vmlinuz-9.dpkg-new': failed to write "
                "(No space left on device)"
            ),
            "/boot",
        ),
        ("cp: error writing '/boot/efi/EFI/debian/grubx64.efi': No space left on device", "/boot/efi"),
        ("cp: error writing '/usr/lib/libx.so': No space left on device", "/"),
        ("mkdir: cannot create directory ‘/var/lib/x’: Disk quota exceeded", "/"),
    ],
)
def test_the_file_system_without_room_is_named(places: Places, said: str, where: str) -> None:
    """By the path that the words are about, with its size."""
    assert shortages(places, said, 0.0).startswith(f"; no room on {where} (")


def test_nothing_is_named_where_nothing_was_short(places: Places) -> None:
    """A failure of another kind gets no words, and no path is guessed."""
    assert shortages(places, "dpkg: error processing package shop (--configure)", 0.0) == ""
    assert shortages(places, "gzip: stdout: No space left on device", 0.0) == ""


def test_who_was_killed_for_want_of_memory_is_named(places: Places, tmp_path: Path) -> None:
    """By the kernel's own log: for all of the guest, or for one unit."""
    (tmp_path / "kernel").write_text(_KERNEL)
    assert killed(places, 0.0) == ["dpkg (process 812)", "mysqld (process 900)"]
    assert shortages(places, "", 0.0) == (
        "; the kernel ran out of memory and killed dpkg (process 812), mysqld (process 900)"
    )


@pytest.mark.parametrize("level", ["", "<3>"])
def test_without_systemd_too_only_kills_since_the_update_began_count(
    places: Places, tmp_path: Path, level: str
) -> None:
    """By the time that the kernel gives each line; its log holds those of the whole boot."""
    (tmp_path / "run/systemd/system").rmdir()
    (tmp_path / "proc/uptime").write_text("5100.25 9000.00\n")
    killed_at = "{}[{}] Out of memory: Killed process {} ({}) total-vm:1kB"
    lines = [
        killed_at.format(level, "   99.120000", 70, "java"),
        killed_at.format(level, " 4890.000001", 71, "mysqld"),
        killed_at.format(level, " 4901.500000", 812, "dpkg"),
    ]
    (tmp_path / "bin/dmesg").write_text("#!/bin/sh\ncat <<'END'\n{}\nEND\n".format("\n".join(lines)))
    (tmp_path / "bin/dmesg").chmod(0o755)
    assert killed(places, time.time() - 200) == ["dpkg (process 812)"]
    assert killed(places, time.time() - 5050) == [
        "java (process 70)",
        "mysqld (process 71)",
        "dpkg (process 812)",
    ]
    assert killed(places, time.time() - 9000) == killed(places, time.time() - 5050), "it has booted since"


def test_the_room_that_was_kept_takes_the_last_words(tmp_path: Path) -> None:
    """It is given up for them, once."""
    kept, written = tmp_path / "reserve", []
    reserve.hold(str(kept))
    assert kept.stat().st_blocks * 512 >= 512 * 1024

    def write() -> None:
        if kept.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append("the end")

    reserve.write_into(str(kept), write)
    assert written == ["the end"]
    with pytest.raises(OSError, match="No space"):
        reserve.write_into(str(kept), lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))


_ON_A_FULL_DISK = """\
import json, os, sys
from innkeeper.agent.journal import Journal, TaskEntry
from innkeeper.agent.run import Request, Run
root = sys.argv[1]
journal = Journal(root + "/journal")
journal.tasks["u1"] = TaskEntry("u1", "", "boot-1", "")
journal.save()
run = Run.of(root + "/runs", "u1", "update")
run.prepare(Request("update", "apt", "", "u1", b""))
assert run.take()
try:
    with open(root + "/filler", "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
except OSError:
    pass
run.write({"end": "failed", "text": "No space left on device: /"})
journal.tasks["u1"].text = "x" * 1000
journal.save()
print(json.dumps(run.events(0)[0]))
"""


def test_an_update_that_fills_the_disk_tells_its_end(tmp_path: Path) -> None:
    """On a real file system without a byte left; the agent's journal goes on in memory."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" -c "$3" "$1"'
    program = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, "sh", str(disk)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*program, sys.executable, _ON_A_FULL_DISK],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if "unshare failed" in done.stderr or "permission denied" in done.stderr.lower():
        pytest.skip(f"no user namespace may be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"end": "failed", "text": "No space left on device: /"}]


def test_a_journal_on_a_full_disk_ends_no_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it knows is written by the next save; any other trouble is one."""
    journal = Journal(str(tmp_path / "journal"))
    journal.tasks["u1"] = TaskEntry("u1", "", "boot-1", "")
    code = errno.ENOSPC

    def fail(path: str, data: bytes) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr("innkeeper.agent.journal.write_durably", fail)
        journal.save()
        code = errno.EIO
        with pytest.raises(OSError, match="error"):
            journal.save()
    journal.save()
    assert "u1" in Journal(str(tmp_path / "journal")).tasks


def test_a_run_whose_disk_is_full_from_the_start_says_so(tmp_path: Path) -> None:
    """Without any room that was kept, the error is passed on."""
    run = Run.of(str(tmp_path), "u1", "update")
    run.prepare(Request("update", "apt", "", "u1", b""))
    Path(run.events_path).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        run.write({"text": "x"})
