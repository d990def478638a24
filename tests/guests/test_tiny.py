"""The tiny guest that other tests boot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.errors import AgentError
from innkeeper.machines.ports.guest_agents import ExecResult
from innkeeper.machines.ports.host import Host
from tests.guests import cpio
from tests.guests.machines import TinyMachine

_STATUS = ("/usr/bin/python3", "-I", "-S", "/lib/innkeeper/innkeeper-agent.pyz", "status")


def test_an_archive_depends_on_its_content_alone(tmp_path: Path) -> None:
    """Times and the umask leave no trace."""
    archives = []
    for name, mode in (("one", 0o755), ("two", 0o700)):
        tree = tmp_path / name
        (tree / "bin").mkdir(parents=True)
        (tree / "bin/run").write_text("#!/bin/sh\n")
        (tree / "bin/run").chmod(mode)
        (tree / "link").symlink_to("bin/run")
        archive = tmp_path / f"{name}.cpio"
        with archive.open("wb") as out:
            cpio.write_tree(tree, out)
        archives.append(archive.read_bytes())
    assert archives[0] == archives[1]
    assert archives[0].startswith(b"070701")


@pytest.mark.qemu
async def test_the_task_agent_runs_in_it(
    embedded_hypervisor: Host, define_machine: Callable[..., Awaitable[TinyMachine]]
) -> None:
    """It answers in the guest, and keeps its journal on the data disk."""
    await define_machine("tiny")
    await embedded_hypervisor.lifecycle.start("tiny")
    async with asyncio.timeout(180):
        while (answer := await _status(embedded_hypervisor)).exit_code != 0:
            await asyncio.sleep(0.3)
    assert b"scripts" in answer.stdout, answer


async def _status(hypervisor: Host) -> ExecResult:
    try:
        return await hypervisor.guest_agents.run("tiny", _STATUS, timeout=20)
    except AgentError as error:
        return ExecResult(exit_code=-1, stdout=b"", stderr=str(error).encode())
