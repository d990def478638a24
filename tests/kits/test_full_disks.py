"""A guest whose disk fills in the middle of its update: its end and its verdict are told all the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.errors import AgentError
from innkeeper.wire.states import UpdateStatus
from tests.agent.rig import ended
from tests.kits.rig import KIT_DIRECTORY, SHELLS, LocalCommands, session_with

_DISK = """\
mount -t tmpfs -o size=3m disk "$1" || exit
mkdir -p "$1/run" "$1/proc/sys/kernel/random" "$1/etc/innkeeper/agent/update.d"
[ -z "$2" ] || mount -t tmpfs -o size=16m memory "$1/run"
mkdir "$1/proc/self"
echo "disk / tmpfs rw 0 0" >"$1/proc/self/mounts"
echo boot-1 >"$1/proc/sys/kernel/random/boot_id"
echo made
exec sleep infinity
"""
_FILL = 'cat /dev/zero >"$INNKEEPER_ROOT/filler" 2>/dev/null\n'


class SmallGuest:
    """A guest whose disk is a real one of three megabytes, in a mount namespace of its own."""

    def __init__(self, root: Path, shell: str, *, has_memory: bool) -> None:
        root.mkdir()
        self.root = root
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _DISK, "sh", str(root)]
        self._holder = subprocess.Popen([*command, "1" if has_memory else ""], stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"made\n":
            pytest.skip("an ordinary user may make no mount namespace here")
        environment = {**os.environ, "INNKEEPER_BACKEND": "scripts"}
        self.commands = LocalCommands(root, environment, SHELLS[shell])
        self.commands.enter = (
            "nsenter", "--preserve-credentials", "--user", "--mount", "--target", str(self._holder.pid)
        )  # fmt: skip

    def run(self, script: str) -> str:
        """Run a line of shell where the disk is."""
        environment = {**os.environ, "INNKEEPER_ROOT": str(self.root)}
        command = [*self.commands.enter, "sh", "-c", script]
        return subprocess.run(command, check=True, text=True, capture_output=True, env=environment).stdout

    def update_by(self, script: str) -> None:
        """Make this the update."""
        path = self.root / "etc/innkeeper/agent/update.d/one"
        self.run(f"cat >{path} <<'END'\n#!/bin/sh\n{script}\nEND\nchmod 755 {path}")

    def close(self) -> None:
        """End what fills it, and give the disk back."""
        with contextlib.suppress(ValueError, ProcessLookupError, subprocess.CalledProcessError):
            os.killpg(int(self.run(f"cat {self.root}/run/filling")), signal.SIGKILL)
        self._holder.kill()
        self._holder.wait()


@pytest.fixture(params=SHELLS)
def small_guest(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallGuest]:
    """A guest with a file system in memory below /run."""
    guest = SmallGuest(tmp_path / "guest", request.param, has_memory=True)
    yield guest
    guest.close()


@pytest.fixture(params=SHELLS)
def bare_guest(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallGuest]:
    """A guest that has nothing but its disk."""
    guest = SmallGuest(tmp_path / "guest", request.param, has_memory=False)
    yield guest
    guest.close()


async def test_an_update_that_fills_the_disk_and_succeeds_has_succeeded(small_guest: SmallGuest) -> None:
    """Its end, and all that it printed before and after."""
    small_guest.update_by(f"echo begun\n{_FILL}echo done")
    session = await session_with(small_guest.commands)
    await session.start_task("", "u1", b"")
    task = await ended(session, "u1")
    assert (task.status, task.text) == (UpdateStatus.SUCCESS, "Nothing had to be updated.")
    log = small_guest.run(f"cat {small_guest.root}/{KIT_DIRECTORY}/updates/*/update/log")
    assert log.splitlines() == ["begun", "done"]
    assert (await session.health()).boot_id == "boot-1"


async def test_an_update_that_fails_for_the_full_disk_says_so(small_guest: SmallGuest) -> None:
    """Though something goes on to fill it: no byte that is given back lasts."""
    again = 'while :; do cat /dev/zero >>"$INNKEEPER_ROOT/more" 2>/dev/null; done'
    keep = f"setsid sh -c 'echo $$ >$INNKEEPER_ROOT/run/filling; {again}' >/dev/null 2>&1 </dev/null &\n"
    small_guest.update_by(f"{_FILL}{keep}sleep 1\necho 'tar: No space left on device'\nexit 3")
    session = await session_with(small_guest.commands)
    await session.start_task("", "u1", b"")
    task = await ended(session, "u1")
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, False)
    assert task.text == "one failed (exit code 3): tar: No space left on device; no room on / (3 MB)"


async def test_its_end_is_told_where_there_is_no_memory_to_write_to(bare_guest: SmallGuest) -> None:
    """By the room that was kept on the disk itself; before its end it has none to answer with."""
    bare_guest.update_by(f"{_FILL}exit 3")
    session = await session_with(bare_guest.commands)
    await session.start_task("", "u1", b"")
    async with asyncio.timeout(60):
        task = None
        while task is None or not task.status.is_final:
            with contextlib.suppress(AgentError):
                task = await session.task("u1")
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, False)
    assert task.text.startswith("one failed (exit code 3)")


async def test_nothing_is_begun_that_could_not_be_told_of(small_guest: SmallGuest) -> None:
    """A disk that is full before the update has no room to keep."""
    small_guest.update_by("touch $INNKEEPER_ROOT/run/ran")
    session = await session_with(small_guest.commands)
    small_guest.run(_FILL + "true")
    with pytest.raises(AgentError, match="It cannot begin: the guest's disk is full"):
        await session.start_task("", "u1", b"")
    assert small_guest.run(f"ls {small_guest.root}/run") == "innkeeper-kit\n"


async def test_what_a_killed_kit_noted_is_cleared_away(small_guest: SmallGuest) -> None:
    """It lies in memory, which nobody has to spare."""
    small_guest.run(f"mkdir -p {small_guest.root}/run/innkeeper-kit/4194305")
    await session_with(small_guest.commands)
    assert small_guest.run(f"ls {small_guest.root}/run/innkeeper-kit") == ""
