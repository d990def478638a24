"""A program's output, end and sign, whichever way it was started."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.schedule.running import spawning
from innkeeper.schedule.running.child import Child, spawn

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "WORD": "a b"}


@pytest.fixture(params=["signed", "plain"])
def sign(request: pytest.FixtureRequest, tmp_path: Path) -> bytes | None:
    """With a sign of its own, through the C library, and without, as the interpreter does it."""
    if request.param == "signed" and spawning.c_library() is None:
        pytest.skip("this C library cannot change directories for a child")
    return os.fsencode(tmp_path / "sign") if request.param == "signed" else None


async def start(sign: bytes | None, *argv: str, lines: list[str] | None = None) -> Child:
    taken = lines if lines is not None else []
    return await spawn(argv, taken.append, lambda: None, sign=sign, cwd="/usr", env=ENVIRONMENT)


async def test_output_directory_environment_and_code_are_right(sign: bytes | None) -> None:
    """Line by line, the last one without its end too; nothing to read; a session of its own."""
    lines: list[str] = []
    script = 'pwd; echo "$WORD"; cat; echo err >&2; ps -o sid= -p $$ | tr -d " "; echo $$; printf end; exit 7'
    child = await start(sign, "sh", "-c", script, lines=lines)
    assert await child.wait() == 7
    assert lines == ["/usr", "a b", "err", str(child.pid), str(child.pid), "end"]
    assert sign is None or Path(os.fsdecode(sign)).exists()


async def test_a_long_line_is_cut_and_nothing_is_lost(sign: bytes | None) -> None:
    """Endless output without a line's end costs no endless memory."""
    lines: list[str] = []
    child = await start(sign, "head", "-c", "300000", "/dev/zero", lines=lines)
    assert await child.wait() == 0
    assert max(map(len, lines)) <= 65536
    assert sum(map(len, lines)) == 300000


async def test_a_signal_reaches_the_whole_group(sign: bytes | None) -> None:
    """And shows in the code as a shell says it."""
    child = await start(sign, "sh", "-c", "sleep 60 & sleep 60")
    assert not await child.ends_within(0.01)
    child.signal(signal.SIGTERM)
    assert await child.wait() == 128 + signal.SIGTERM
    child.signal(signal.SIGTERM)  # it has gone


async def test_what_closes_its_output_has_not_ended(sign: bytes | None) -> None:
    """Its code is waited for, however long it goes on without a word."""
    child = await start(sign, "sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 3")
    assert not await child.ends_within(0.05)
    assert await child.wait() == 3


async def test_what_leaves_its_output_to_others_has_ended(sign: bytes | None) -> None:
    """What it has started itself holds the pipe open: nobody waits for that."""
    lines: list[str] = []
    child = await start(sign, "sh", "-c", "echo said; sleep 60 & exit 4", lines=lines)
    assert await asyncio.wait_for(child.wait(), 10) == 4
    assert lines == ["said"]
    child.signal(signal.SIGKILL)


async def test_an_end_is_seen_without_a_pidfd(sign: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many files are open, it is looked at now and then."""
    monkeypatch.setattr(os, "pidfd_open", refuse)
    child = await start(sign, "sh", "-c", "exec >&- 2>&-; sleep 0.1; exit 5")
    assert await asyncio.wait_for(child.wait(), 10) == 5
    other = await start(sign, "sh", "-c", "sleep 0.3 & exit 6")
    assert await other.ends_within(10)
    assert await asyncio.wait_for(other.wait(), 10) == 6


async def test_what_cannot_be_started_says_why(sign: bytes | None) -> None:
    """No such program, no directory, a NUL in a word; and no descriptor stays open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for argv in (("/no/such",), ("no-such-program",), ("/etc",)):
        with pytest.raises(OSError):
            await start(sign, *argv)
    with pytest.raises((OSError, ValueError)):
        await start(sign, "echo", "a\0b")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


async def test_what_is_cancelled_while_it_starts_is_ended(sign: bytes | None, tmp_path: Path) -> None:
    """The caller has gone: nothing runs on."""
    starting = asyncio.ensure_future(start(sign, "sleep", "61.5"))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    for _ in range(200):
        if subprocess.run(["pgrep", "-f", "sleep 61.5"], check=False, capture_output=True).returncode:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it sleeps on")


@pytest.mark.skipif(spawning.c_library() is None, reason="this C library cannot do it")
def test_a_program_is_signed_before_it_runs(tmp_path: Path) -> None:
    """A parent that is killed the moment its child is there leaves a sign, for every program that ran."""
    program = f"""
import os, sys
from innkeeper.schedule.running import spawning
for number in range(10_000):
    spawning.spawn(["/bin/sh", "-c", f"echo >> {tmp_path}/ran/{{number}}"], output=1, directory="/",
        environment={{}}, sign=f"{tmp_path}/signs/{{number}}".encode())
"""
    ran, signs = tmp_path / "ran", tmp_path / "signs"
    ran.mkdir()
    signs.mkdir()
    parent = subprocess.Popen([sys.executable, "-c", program])
    wait_for(lambda: len(names(ran)) > 20)
    parent.kill()
    parent.wait()
    wait_for(lambda: names(ran) == names(signs))


def refuse(pid: int) -> int:
    raise OSError(errno.EMFILE, "too many open files")


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def wait_for(condition: Callable[[], bool]) -> None:
    """Look again after other processes had their turn; ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        subprocess.run(["/bin/true"], check=True)
