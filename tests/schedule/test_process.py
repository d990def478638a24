"""Programs run as their user, in a scope where there are some, and read nothing that the user may not."""

from __future__ import annotations

import asyncio
import os
import pwd
import stat
from pathlib import Path

import pytest

from innkeeper.errors import ScheduleError
from innkeeper.schedule.running import process
from innkeeper.schedule.running.process import Program

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
OTHER = "nobody"


async def output(program: Program) -> tuple[int, list[str]]:
    """A program's exit code and what it printed."""
    lines: list[str] = []
    running = await process.start(program, lines.append)
    return await running.wait(), lines


@as_root
async def test_a_program_runs_as_its_user_with_all_groups() -> None:
    """And with the user's own home and name, and no more of the service's world than its language."""
    account = pwd.getpwnam(OTHER)
    code, lines = await output(Program(argv=["sh", "-c", "id -u; id -g; id -G; env | sort"], user=OTHER))
    assert code == 0
    groups = " ".join(map(str, os.getgrouplist(OTHER, account.pw_gid)))
    assert lines[:3] == [str(account.pw_uid), str(account.pw_gid), groups]
    names = {line.partition("=")[0] for line in lines[3:]}
    assert names <= {"HOME", "LANG", "LOGNAME", "PATH", "USER", "PWD", "SHLVL", "_", "OLDPWD"}
    assert f"USER={OTHER}" in lines


@as_root
async def test_a_program_gets_a_scope_before_it_becomes_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root asks for the scope; stopping it signals all that is in it."""
    asked = tmp_path / "asked"
    tools = tmp_path / "bin"
    tools.mkdir()
    rest = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
    script(tools / "systemd-run", f'echo "$(id -u) $@" >> {asked}; {rest}')
    script(tools / "systemctl", f'echo "systemctl $@" >> {asked}')
    monkeypatch.setattr(process, "_SYSTEMD", tmp_path)
    monkeypatch.setattr(process, "_SAFE_PATH", f"{tools}:{process._SAFE_PATH}")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    lines: list[str] = []
    running = await process.start(
        Program(argv=["sh", "-c", "id -u; exec sleep 60"], user=OTHER), lines.append
    )
    while not lines:
        await asyncio.sleep(0.01)
    await running.stop(kill=True)
    assert lines == [str(pwd.getpwnam(OTHER).pw_uid)]
    message = asked.read_text()
    assert message.startswith("0 --scope --quiet --collect --unit=innkeeper-")
    scope = message.split("--unit=")[1].split()[0]
    assert f"systemctl kill --signal=SIGTERM -- {scope}" in message


@as_root
async def test_a_file_is_read_as_the_user_may(tmp_path: Path) -> None:
    """What root alone can read is not handed to another."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    with pytest.raises(ScheduleError, match="Permission denied"):
        await process.read_file(str(secret), user=OTHER, most_bytes=10)
    assert await process.read_file("/etc/hostname", user=OTHER, most_bytes=3)


async def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    """And one that is not there says so."""
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert await process.read_file(str(tmp_path / "a"), user=None, most_bytes=10) == b"x" * 10
    with pytest.raises(ScheduleError, match="No such file"):
        await process.read_file(str(tmp_path / "b"), user=None, most_bytes=10)


async def test_a_priority_that_takes_root_is_told() -> None:
    """The program runs all the same, as others do."""
    code, lines = await output(Program(argv=["sh", "-c", "sleep 0.1; nice"], priority=1))
    if os.geteuid() == 0:
        assert (code, lines) == (0, ["-10"])
    else:
        assert code == 0
        assert sorted(lines) == ["0", "innkeeper: priority 1 takes root; the program runs as others do"]


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
