"""What a kit says of an update whose worker is gone, or has never come."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import threading
from pathlib import Path

import pytest

from innkeeper.channels.ports import AgentTask
from innkeeper.wire.states import UpdateStatus
from tests.kits.rig import KIT_DIRECTORY, SHELLS, LocalCommands, session_with

_BOOT = "boot-1"


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """A root with one boot."""
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text(f"{_BOOT}\n")
    (tmp_path / "proc/uptime").write_text("1000.5 1\n")
    return tmp_path


def _begun(guest: Path, **files: str) -> Path:
    """An update's directory as its worker has left it."""
    name = hashlib.sha256(b"u1").hexdigest()[:32]
    directory = guest / KIT_DIRECTORY / "updates" / name / "update"
    directory.mkdir(parents=True)
    known = {"request": "", "context": "", "identifier": "u1\n", "attempt": "1\n", "log": ""}
    for file, text in {**known, "since": f"{_BOOT} 100\n", **files}.items():
        (directory / file).write_text(text)
    return directory


async def _told(guest: Path, shell: str) -> AgentTask | None:
    session = await session_with(LocalCommands(guest, dict(os.environ), SHELLS[shell]))
    return await session.task("u1")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("acting", "unchanged"), [(False, True), (True, False)])
async def test_a_guest_is_changed_only_where_its_worker_had_come_to_that(
    guest: Path, shell: str, acting: bool, unchanged: bool
) -> None:
    """One that was killed while it looked or downloaded costs no roll back."""
    _begun(guest, pid=f"4194305 7 {_BOOT}\n", **({"acting": ""} if acting else {}))
    told = await _told(guest, shell)
    assert told is not None
    assert (told.status, told.unchanged) == (UpdateStatus.FAILED, unchanged)


_DMESG = """\
[   90.1] Out of memory: Killed process 700 (before) total-vm:918372kB
[  120.1] shop invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0
[  120.2] Out of memory: Killed process 812 (dpkg) total-vm:918372kB, anon-rss:301040kB
<3>[  121.2] Memory cgroup out of memory: Killed process 900 (a (name)) total-vm:1918372kB
[  122.2] Out of memory: Kill process 901 (sh) score 900 or sacrifice child
[  122.2] Out of memory: Killed process 812 (dpkg) total-vm:918372kB, anon-rss:301040kB
"""


@pytest.mark.parametrize("shell", SHELLS)
async def test_what_the_kernel_killed_for_want_of_memory_is_named(guest: Path, shell: str) -> None:
    """Since the update began: its worker may be among them."""
    _begun(guest, pid=f"4194305 7 {_BOOT}\n")
    (guest / "bin").mkdir()
    (guest / "bin/dmesg").write_text(f"#!/bin/sh\ncat <<'END'\n{_DMESG}END\n")
    (guest / "bin/dmesg").chmod(0o755)
    environment = {**os.environ, "PATH": f"{guest}/bin:{os.environ['PATH']}"}
    told = await (await session_with(LocalCommands(guest, environment, SHELLS[shell]))).task("u1")
    assert told is not None
    assert told.text == (
        "The program that does it has died; the kernel ran out of memory and killed dpkg (process 812), "
        "a (name) (process 900), sh (process 901)."
    )


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_worker_that_comes_after_it_was_given_up_does_nothing(guest: Path, shell: str) -> None:
    """Its place is taken by who says that it never began."""
    directory = _begun(guest)
    told = await _told(guest, shell)
    assert told is not None
    assert (told.status, told.unchanged) == (UpdateStatus.FAILED, True)
    assert (directory / "worker").is_dir()


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_worker_that_comes_as_it_is_given_up_is_not_dead(guest: Path, shell: str) -> None:
    """It took its place between two looks for it: an update that ran was told to have changed nothing."""
    session = await session_with(LocalCommands(guest, dict(os.environ), SHELLS[shell]))
    directory = _begun(guest)
    since = directory / "since"
    since.unlink()
    os.mkfifo(since)
    worker = await asyncio.create_subprocess_exec("sleep", "100")
    stat = Path(f"/proc/{worker.pid}/stat").read_text()

    def come() -> None:
        while worker.returncode is None:
            # It opens when the kit has seen no worker, and asks how long it waits; and once more too often.
            with contextlib.suppress(BrokenPipeError), since.open("w") as asked:
                (directory / "worker").mkdir(exist_ok=True)
                (directory / "pid").write_text(
                    f"{worker.pid} {stat.rpartition(') ')[2].split()[19]} {_BOOT}\n"
                )
                asked.write(f"{_BOOT} 100\n")

    threading.Thread(target=come, daemon=True).start()
    told = await session.task("u1")
    worker.kill()
    await worker.wait()
    assert told is not None
    assert not told.status.is_final


@pytest.mark.parametrize("shell", SHELLS)
async def test_an_update_that_is_just_being_begun_is_known(guest: Path, shell: str) -> None:
    """Told as unknown, its undo disks were merged while it started."""
    directory = _begun(guest)
    for file in directory.iterdir():
        file.unlink()
    told = await _told(guest, shell)
    assert told is not None
    assert (told.status.is_final, told.unchanged) == (False, False)


@pytest.mark.parametrize("shell", SHELLS)
async def test_an_update_without_a_name_breaks_no_greeting(guest: Path, shell: str) -> None:
    """A full disk, or a power cut, leaves empty files."""
    _begun(guest, identifier="")
    session = await session_with(LocalCommands(guest, dict(os.environ), SHELLS[shell]))
    assert session.hello.tasks == ()
