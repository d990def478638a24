"""Questions that simulated guests answer, and values that they keep."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated.guests import Due, Guest
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.wire.guest_facts import Ability, GuestFacts, GuestParameter, LogonSession, WaitingUpdate

T = TypeVar("T")


def facts(guest: Guest, name: str) -> GuestFacts:
    """Facts of the guest."""
    return GuestFacts(
        computer_name=name,
        os_id="simulated",
        os_name=guest.disk.os_name,
        version="1 (simulated)",
        version_id="1.0",
        variant="server",
        kernel_release=guest.disk.kernel,
        kernel_version="#1 SMP",
        architecture="x86_64",
    )


def sessions(guest: Guest) -> Sequence[LogonSession]:
    """The users who have typed a name and a password at the login."""
    return tuple(
        LogonSession(
            user=user,
            domain="",
            since=dt.datetime.fromtimestamp(guest.memory.booted_at, dt.UTC),
            locked=guest.memory.locked,
            remote=False,
        )
        for user in guest.memory.users
    )


def scan(guest: Guest) -> Sequence[WaitingUpdate]:
    """There is always one newer."""
    installed = guest.disk.packages["base"]
    available = f"1.0-{int(installed.rpartition('-')[2]) + 1}"
    return (WaitingUpdate(name="base", installed=installed, available=available, security=None),)


def log_off(guest: Guest) -> int:
    """Everybody goes."""
    count = len(guest.memory.users)
    guest.memory.users = []
    return count


def parameters(guest: Guest) -> Mapping[str, GuestParameter]:
    """The values that the guest keeps on its disk."""
    return {
        name: GuestParameter(value=str(value), revision=int(str(revision)), by_guest=bool(by_guest))
        for name, (value, revision, by_guest) in guest.disk.parameters.items()
    }


def set_parameter(guest: Guest, name: str, value: str | None, revision: int) -> None:
    """Set a value in the guest."""
    guest.disk.parameters.pop(name, None)
    if value is not None:
        guest.disk.parameters[name] = [value, revision, False]


class FakeGuestProgram:
    """qemu-guest-agent of a simulated guest (``machines.ports.guest_program.GuestProgram``)."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self._simulation = simulation
        self._name = name

    def knows(self, ability: Ability) -> bool:
        """All of it."""
        return True

    async def version(self) -> str:
        """The agent's version."""
        return await self._ask(lambda guest, _: "qemu-guest-agent simulated")

    async def boot_id(self) -> str:
        """An identifier of this boot."""
        return await self._ask(lambda guest, _: guest.memory.boot_id)

    async def ping(self) -> None:
        """Return when it has answered."""
        await self._ask(lambda guest, _: None)

    async def facts(self) -> GuestFacts:
        """Facts of the guest."""
        return await self._ask(lambda guest, _: facts(guest, self._name))

    async def sessions(self) -> Sequence[LogonSession]:
        """The users who have typed a name and a password at the login."""
        return await self._ask(lambda guest, _: sessions(guest))

    async def log_off(self) -> int:
        """Everybody goes."""
        return await self._ask(lambda guest, _: log_off(guest))

    async def parameters(self) -> Mapping[str, GuestParameter]:
        """The values that the guest keeps on its disk."""
        return await self._ask(lambda guest, _: parameters(guest))

    async def set_parameter(self, name: str, value: str | None, *, revision: int) -> None:
        """Set a value in the guest."""
        await self._ask(lambda guest, _: set_parameter(guest, name, value, revision))

    async def set_time(self, seconds: float) -> None:
        """Simulated guests have their host's clock; that they were told is kept."""
        await self._ask(lambda guest, _: setattr(guest.memory, "clock_set_at", seconds))

    async def reboot(self) -> None:
        """Reboot the guest a little later."""
        await self._ask(lambda guest, now: guest.schedule(now + 1.0, Due.REBOOT))

    async def shut_down(self) -> None:
        """Power the guest off a little later."""
        await self._ask(lambda guest, now: guest.schedule(now + guest.pace.shut_down, Due.POWER_OFF))

    async def _ask(self, ask: Callable[[Guest, float], T]) -> T:
        def answer(machine: SimulatedMachine, now: float) -> T:
            acts.need_guest_agent(machine)
            guest = machine.guest()
            told = ask(guest, now)
            machine.write(guest)
            return told

        return await self._simulation.simulate(self._name, answer)
