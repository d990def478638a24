"""Putting the agent into a guest: the real bundle installs itself, on a root of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from innkeeper.errors import AgentError, HypervisorError
from innkeeper.hypervisor.simulated.host import simulated_host
from innkeeper.machines.guest.prepare import (
    BUNDLE_NAME,
    Prepared,
    agent_bundle,
    cloud_init_user_data,
    prepare,
)
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.agent_ports import AgentPorts
from innkeeper.machines.ports.guest_agents import ExecResult, QemuGuestAgents
from innkeeper.tasks.clock import FakeClock

BUNDLE = agent_bundle()
WEB = Machine(
    name="web-1",
    uuid="u",
    host="h",
    state=MachineState.RUNNING,
    memory_mib=512,
    vcpus=1,
    disks=(),
    autostart=False,
    has_agent_port=False,
    has_guest_agent_port=True,
)


class GuestDirectory:
    """A guest that is a directory: commands run on this computer, with its paths put below it."""

    def __init__(self, root: Path, machine: Machine = WEB) -> None:
        self._root = root
        self.found = machine
        self.is_blocked = False
        self.commands = 0
        (root / "root").mkdir()
        (root / "etc/systemd/system").mkdir(parents=True)

    async def list(self) -> Sequence[Machine]:
        return [self.found]

    async def get(self, name: str) -> Machine:
        return self.found

    async def attach(self, name: str) -> None:
        self.found = dataclasses.replace(self.found, has_agent_port=True)

    async def run(self, name: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        if self.is_blocked:
            raise HypervisorError("Command guest-exec has been disabled.")
        self.commands += 1
        words = [self._below(word) for word in argv]
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        stdout, stderr = await process.communicate()
        return ExecResult(exit_code=process.returncode or 0, stdout=stdout, stderr=stderr)

    async def write_file(self, name: str, path: str, data: bytes) -> None:
        await asyncio.to_thread((self._root / path.lstrip("/")).write_bytes, data)

    def _below(self, word: str) -> str:
        """The same command, kept inside the directory."""
        if word == "/bin/sh":
            return word
        for directory in ("/root/", "/usr/local/lib/", "/run/systemd/"):
            word = word.replace(directory, f"{self._root}{directory}")
        return word.replace(f"{BUNDLE_NAME} install", f"{BUNDLE_NAME} --root {self._root} install")


async def put_agent(guest: GuestDirectory, *, force: bool = False) -> Prepared:
    """Prepare the machine through a host of which three ports alone are used."""
    host = dataclasses.replace(
        simulated_host(Path("/nowhere"), clock=FakeClock(), publish=lambda _event: None),
        inventory=guest,
        agent_ports=cast("AgentPorts", guest),
        guest_agents=cast("QemuGuestAgents", guest),
    )
    return await prepare(host, "web-1", force=force)


async def test_agent_is_installed_once(tmp_path: Path) -> None:
    """A machine gets its port and its guest the agent; a second time nothing is done, unless forced."""
    host = GuestDirectory(tmp_path)
    assert await put_agent(host) == Prepared(port_attached=True, agent_installed=True)
    assert (tmp_path / "usr/local/lib/innkeeper" / BUNDLE_NAME).read_bytes() == BUNDLE
    assert (tmp_path / "etc/systemd/system/innkeeper-agent.service").exists()
    assert not (tmp_path / "root" / BUNDLE_NAME).exists()
    assert await put_agent(host) == Prepared(port_attached=False, agent_installed=False)
    assert await put_agent(host, force=True) == Prepared(port_attached=False, agent_installed=True)


async def test_other_agent_is_replaced(tmp_path: Path) -> None:
    """An agent of another version gives way to this one."""
    host = GuestDirectory(tmp_path)
    await put_agent(host)
    (tmp_path / "usr/local/lib/innkeeper" / BUNDLE_NAME).write_bytes(b"an older agent")
    assert (await put_agent(host)).agent_installed


async def test_blocked_guest_agent_is_explained(tmp_path: Path) -> None:
    """Where qemu-guest-agent may run nothing, the error names the file to change and the way by hand."""
    host = GuestDirectory(tmp_path)
    host.is_blocked = True
    with pytest.raises(AgentError, match="guest-exec has been disabled") as refused:
        await put_agent(host)
    assert "/etc/sysconfig/qemu-ga" in refused.value.advice
    assert "install" in refused.value.advice


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"state": MachineState.TURNED_OFF}, "does not run"),
        ({"has_guest_agent_port": False}, "has no qemu-guest-agent port"),
    ],
)
async def test_machine_that_cannot_be_reached_is_refused(
    tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    """What stands in the way is said before anything is sent to the guest."""
    host = GuestDirectory(tmp_path, dataclasses.replace(WEB, **change))  # type: ignore[arg-type]  # of every type
    with pytest.raises(AgentError, match=sentence):
        await put_agent(host)
    assert host.commands == 0


async def test_guest_without_python_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is copied into a guest that could not run it."""
    host = GuestDirectory(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AgentError, match="no Python 3") as refused:
        await put_agent(host)
    assert "python3 package" in refused.value.advice
    assert list((tmp_path / "root").iterdir()) == []


def test_cloud_config_carries_the_same_agent() -> None:
    """A new guest installs the agent at its first boot, from its own seed."""
    text = cloud_init_user_data()
    first, _, rest = text.partition("\n")
    assert first == "#cloud-config"
    config = json.loads(rest)
    assert config["write_files"][0]["path"] == f"/root/{BUNDLE_NAME}"
    assert "install" in config["runcmd"][0][2]
