"""Set the clock of a guest that goes on from memory: it stood still as long as the memory was kept."""

from __future__ import annotations

from innkeeper.channels.ports import GuestAgent
from innkeeper.errors import AgentError
from innkeeper.machines.values import TIME_SYNC
from innkeeper.tasks.task import LogLevel
from innkeeper.tasks.waiting import until
from innkeeper.updates.outcome import Stop
from innkeeper.updates.phase import Run

#: qemu-guest-agent is tried for so long where the task agent could not do it, and so often.
_SECONDS, _AGAIN_SECONDS = 20.0, 1.0


async def set_clock(run: Run, *, by_agent: bool) -> None:
    """Set the guest's clock, by its task agent or else by qemu-guest-agent; log where nobody could.

    A machine whose clock is not to be set (``IsHostTimeSyncEnabled``) keeps its own.
    """
    values = (await run.hypervisor.configurations.read(run.machine)).extras.values
    if not values.get(TIME_SYNC, True):
        return
    if by_agent and await _set_by_agent(run):
        return
    failures: list[AgentError] = []

    async def is_set() -> bool:
        try:
            program = run.hypervisor.guest_agents.program(run.machine)
            await program.set_time(run.clock.now().timestamp())
        except AgentError as error:
            failures.append(error)
            return False
        return True

    if not await until(run.clock, is_set, every=_AGAIN_SECONDS, seconds=_SECONDS):
        run.task.log(
            "Nobody in the guest could set its clock, so it may trust no certificate and no source: "
            f"{failures[-1].sentence}",
            LogLevel.WARNING,
        )


async def _set_by_agent(run: Run) -> bool:
    async def set_time(agent: GuestAgent) -> None:
        await agent.set_time(run.clock.now().timestamp())

    try:
        await run.ask(set_time)
    except (AgentError, Stop):
        return False
    return True
