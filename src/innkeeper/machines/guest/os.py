"""Ask guests what they are, and who is logged on (``IVMGuestOS``)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from innkeeper.errors import AgentError, ErrorCode, InvalidArgument, MachineError
from innkeeper.machines.guest.program import expect_guest, featured, no_such_feature
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.guest_program import GuestProgram, TaskAgents
from innkeeper.machines.service import Machines
from innkeeper.machines.settings import refuse_active
from innkeeper.machines.values import TIME_SYNC, MachineValues
from innkeeper.wire.guest_facts import Ability, GuestFacts, LogonSession

#: A session that is there answers at once; nobody waits for one that is not.
_SESSION_SECONDS = 2.0

#: Windows' kinds of sessions (``IsUserLoggedOn``).
RAIL_SESSION, RDP_SESSION = 0, 1

#: What tells Windows from all else.
_WINDOWS = "mswindows"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OSVersion:
    """The parts of a version that the documents name."""

    major: int
    minor: int
    #: Windows' build number; elsewhere the kernel's release.
    build: str
    #: ``2`` for Windows, as documented; elsewhere the system's own identifier (``debian``).
    platform: str
    #: Windows' service pack; elsewhere empty.
    service_pack: str
    #: Windows: 1 a workstation, 2 a domain controller, 3 a server; elsewhere 0.
    product_type: int


class GuestOS:
    """The guests of all machines, asked through the task agent, else through qemu-guest-agent.

    Every question raises ``MachineNotFound``, ``WrongState`` (``VM_E_VM_NOT_RUNNING``, ``VM_E_VM_PAUSED``),
    or ``AgentError``: ``VM_E_ADDITIONS_FEATURE_NOT_AVAIL`` where no program in the guest can answer it,
    ``VM_E_TIMED_OUT`` where the answer did not come in time.
    """

    def __init__(self, machines: Machines, agents: TaskAgents) -> None:
        self._machines = machines
        self._agents = agents
        self._values = MachineValues(machines)

    # Who answers

    async def program(self, name: str, ability: Ability) -> tuple[Machine, GuestProgram]:
        """The program in the guest that can do this; the task agent before qemu-guest-agent."""
        machine = await self._machines.get(name)
        expect_guest(machine)
        agent = await self._task_agent(machine)
        if agent is not None and agent.knows(ability):
            return machine, agent
        if machine.has_guest_agent_port:
            return machine, self._machines.hosts[machine.host].guest_agents.program(machine.name)
        if agent is not None:
            raise no_such_feature(machine.name, f"its task agent is too old for {ability}")
        raise no_such_feature(machine.name, "no agent answers in it")

    async def version(self, name: str) -> str:
        """The version of the program that answers (``IntegrationComponentsVersion``).

        Raises ``AgentError`` with ``VM_E_ADDITIONS_NOT_AVAIL`` where none does.
        """
        machine = await self._machines.get(name)
        expect_guest(machine)
        agent = await self._task_agent(machine)
        if agent is not None:
            return await agent.version()
        if not machine.has_guest_agent_port:
            raise no_such_feature(machine.name, "no agent answers in it", ErrorCode.VM_E_ADDITIONS_NOT_AVAIL)
        try:
            return await self._machines.hosts[machine.host].guest_agents.program(machine.name).version()
        except AgentError as error:
            error.code = ErrorCode.VM_E_ADDITIONS_NOT_AVAIL
            raise

    async def can_shut_down(self, name: str) -> bool:
        """Whether an agent would power the guest off cleanly (``CanShutdown``); the power button is none."""
        machine = await self._machines.get(name)
        if machine.state is not MachineState.RUNNING:
            return False
        if self._agents.is_connected(machine.key):
            return True
        if not machine.has_guest_agent_port:
            return False
        try:
            await self._machines.hosts[machine.host].guest_agents.program(machine.name).ping()
        except (AgentError, MachineError):
            return False
        return True

    # What it is

    async def facts(self, name: str) -> GuestFacts:
        """Facts of the guest (``ComputerName``, ``OSName``, ``OSVersion`` …)."""
        machine, program = await self.program(name, Ability.FACTS)
        return await featured(machine.name, program.facts)

    # Who is there

    async def sessions(self, name: str) -> Sequence[LogonSession]:
        """The users who are logged on."""
        machine, program = await self.program(name, Ability.SESSIONS)
        return await featured(machine.name, program.sessions)

    async def is_user_logged_on(self, name: str, kind: int) -> bool:
        """Whether anybody is logged on in a session of this kind (``IsUserLoggedOn``): 1 for any.

        Kind 0, RAIL, is a kind of Windows' sessions alone: ``InvalidArgument``, as for every other number.
        """
        if kind != RDP_SESSION:
            raise InvalidArgument(
                f"Sessions of kind {kind} are not known here.",
                advice="1 asks for anybody's session; RAIL sessions (0) are Windows' alone.",
            )
        return bool(await self.sessions(name))

    async def is_screen_locked(self, name: str) -> bool:
        """Whether somebody's screen is locked (``ScreenLocked``).

        Raises ``AgentError`` where the guest cannot say.
        """
        sessions = await self.sessions(name)
        known = [session.locked for session in sessions if session.locked is not None]
        if sessions and not known:
            machine = await self._machines.get(name)
            raise no_such_feature(machine.name, "it does not tell whether a screen is locked")
        return any(known)

    # Its clock

    async def is_time_synchronised(self, name: str) -> bool:
        """Whether its clock is set after every start, restore and resume (``IsHostTimeSyncEnabled``)."""
        return bool(await self._values.get(name, TIME_SYNC))

    async def set_time_synchronised(self, name: str, wanted: bool) -> None:
        """Set whether the guest's clock is set. ``WrongState`` (``VM_E_PREF_VM_ACTIVE``) unless it is off."""
        machine = await self._machines.get(name)
        refuse_active(machine, "change whether its clock is set", ErrorCode.VM_E_PREF_VM_ACTIVE)
        await self._values.set(machine.name, TIME_SYNC, wanted)

    async def _task_agent(self, machine: Machine) -> GuestProgram | None:
        if not self._agents.is_connected(machine.key):
            return None
        try:
            return await self._agents.connected(machine.key, timeout=_SESSION_SECONDS)
        except AgentError:
            return None


def version_of(facts: GuestFacts) -> OSVersion:
    """The documented parts of a guest's version."""
    is_windows = facts.os_id == _WINDOWS
    numbers = [int(part) for part in re.findall(r"\d+", facts.version_id)[:3]]
    major, minor, build = (*numbers, 0, 0, 0)[:3]
    return OSVersion(
        major=major,
        minor=minor,
        build=(str(build) if build else facts.kernel_release) if is_windows else facts.kernel_release,
        platform="2" if is_windows else facts.os_id,
        service_pack=facts.version if is_windows and "service pack" in facts.version.lower() else "",
        product_type=({"client": 1, "workstation": 1}.get(facts.variant, 3)) if is_windows else 0,
    )
