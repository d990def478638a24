"""Prepare machines for the night: put the task agent into their guests, as tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from innkeeper.channels.ports import GuestAgents
from innkeeper.machines.guest.prepare import prepare
from innkeeper.machines.service import Machines, lock_of
from innkeeper.tasks.running import RunningTask
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import CancelEffect, Task
from innkeeper.wire.events import Json

_KIND: Final = "machine_prepare"
#: An agent that was just installed says its first word within this; under emulation that takes a while.
_FIRST_WORD_SECONDS: Final = 120.0


class Preparations:
    """The work behind ``innkeeper machine prepare``."""

    def __init__(self, *, tasks: Tasks, machines: Machines, agents: GuestAgents) -> None:
        self._tasks = tasks
        self._machines = machines
        self._agents = agents
        tasks.register(_KIND, self._work)

    async def start(self, name: str, *, owner: str, force: bool = False) -> Task:
        """Install the agent through qemu-guest-agent, and wait for its first word.

        Raises ``MachineNotFound`` or ``MachineBusy``; ``force`` installs it anew where it is there.
        """
        machine = await self._machines.get(name)
        return await self._tasks.start(
            _KIND,
            f"Prepare {machine.title}",
            {"machine": machine.key, "force": force},
            lock=lock_of(machine.key),
            about=machine.title,
            host=machine.host_id,
            owner=owner,
            cancel_effect=CancelEffect.NONE,
        )

    async def _work(self, running: RunningTask, argument: Mapping[str, Json]) -> None:
        reference, force = str(argument["machine"]), argument["force"] is True

        async def install() -> Json:
            machine = await self._machines.get(reference)
            done = await prepare(self._machines.hosts[machine.host], machine.name, force=force)
            if done.port_attached:
                running.log("The agent's port was added to the machine.")
            running.log(
                "The agent is installed." if done.agent_installed else "The agent is already installed."
            )
            return None

        async def listen() -> Json:
            key = (await self._machines.get(reference)).key
            agent = await self._agents.connected(key, timeout=_FIRST_WORD_SECONDS)
            running.log(
                f"The agent answers from {agent.hello.os_name}, with plug-in “{agent.hello.plugin_name}”."
            )
            return None

        running.report("Installing the task agent", number=1, count=2)
        await running.step("install", install)
        running.report("Waiting for the agent to answer", number=2, count=2)
        await running.step("listen", listen)
