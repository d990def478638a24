"""Freeze a guest's file systems, and see that they are thawed.

A guest's agent runs hooks before it freezes, answers nothing meanwhile, and freezes whenever they end, though
nobody waits for it any more. So the thaw is owed from before the freeze is asked for: it is noted in the
definition that the machine runs with, and whoever finds the note asks until the guest says that it is thawed.
See docs/decisions/0120-a-thaw-is-owed-before-the-freeze-is-asked-for.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable
from typing import Final

from innkeeper.errors import AgentError, AgentSilent, ErrorCode, MachineUnfit
from innkeeper.machines.change import MetadataChanged, Scope
from innkeeper.machines.machine import OFF, Machine
from innkeeper.machines.ports.host import Host
from innkeeper.tasks.ports import Clock

#: Between two thaws: so long is a guest frozen at most once its hooks have ended.
_AGAIN_SECONDS: Final = 1.0
#: So long after which a guest that has not said that it is thawed is told of.
_TELL_SECONDS: Final = 60.0

Say = Callable[[str], None]


def _nothing() -> None:
    """Go on: nobody gives up."""


class Freeze:
    """The freeze of one guest, from before it is asked for until the guest says that it is thawed."""

    def __init__(
        self, host: Host, machine: str, clock: Clock, *, say: Say, give_up: Callable[[], None] = _nothing
    ) -> None:
        """``give_up`` is called between tries, and raises to end them: the thaw is owed all the same."""
        self._host = host
        self._machine = machine
        self._clock = clock
        self._say = say
        self._give_up = give_up
        self._is_held = self._was_cut = False

    @property
    def is_held(self) -> bool:
        """Whether the guest is frozen at this moment, as far as is known."""
        return self._is_held

    @property
    def was_cut(self) -> bool:
        """Whether somebody else has thawed the guest in the middle."""
        return self._was_cut

    @contextlib.asynccontextmanager
    async def held(self, *, freeze_seconds: float, hook_seconds: float) -> AsyncIterator[Freeze]:
        """Freeze the guest, for ``freeze_seconds`` at most. One that cannot be frozen goes on as it is.

        Raises ``MachineUnfit`` where it is frozen already, and not by us.
        """
        if not await self._is_thawed_before(freeze_seconds):
            yield self
            return
        await _note(self._host, self._machine, int(self._clock.now().timestamp()))
        try:
            await self._ask(hook_seconds)
            watch = asyncio.ensure_future(self._thaw_after(freeze_seconds))
            try:
                yield self
            finally:
                watch.cancel()
                # What has ended it would end the thaw below too, and is told by that.
                await asyncio.gather(watch, return_exceptions=True)
        finally:
            # Whatever has happened: the guest is not left frozen.
            await asyncio.shield(self.thaw())

    async def thaw(self) -> None:
        """Ask until the guest says that it is thawed, or runs no more; then no thaw is owed any more."""
        began, has_told = self._clock.monotonic(), False
        while (machine := await self._host.inventory.get(self._machine)).state not in OFF:
            if await self._is_thawed():
                break
            self._is_held = False
            if not has_told and self._clock.monotonic() - began >= _TELL_SECONDS:
                has_told = True
                self._say(may_be_frozen(machine))
            self._give_up()
            await self._clock.sleep(_AGAIN_SECONDS)
        self._is_held = False
        if machine.freezing_since:
            await _note(self._host, self._machine, 0)

    async def _ask(self, hook_seconds: float) -> None:
        """Freeze the guest. Where that fails it is seen to be thawed first."""
        try:
            self._is_held = await self._host.guest_agents.freeze(self._machine, hook_seconds=hook_seconds) > 0
        except AgentError as error:
            why = error.sentence
            if isinstance(error, AgentSilent):
                why = f"its qemu-guest-agent has not done so within {hook_seconds:g} seconds"
            self._say(f"{self._machine} could not be frozen ({why}). It is waited for until it is thawed.")
            await self.thaw()

    async def _thaw_after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        await self.thaw()

    async def _is_thawed(self) -> bool:
        """Whether the guest, asked to thaw, says that it is thawed."""
        has_thawed = False
        try:
            has_thawed = await self._may_thaw()
            return not await self._host.guest_agents.is_frozen(self._machine)
        except AgentSilent:
            return False
        except AgentError:
            # An agent that knows no such question, but thaws.
            return has_thawed

    async def _may_thaw(self) -> bool:
        """Ask the guest to thaw; returns whether its agent does that at all. Raises ``AgentSilent``."""
        try:
            thawed = await self._host.guest_agents.thaw(self._machine)
        except AgentSilent:
            raise
        except AgentError:
            # Forbidden, as freezing may be: what the guest says of its state counts all the same.
            return False
        self._was_cut |= self._is_held and not thawed
        return True

    async def _is_thawed_before(self, seconds: float) -> bool:
        """Whether the guest can be asked for a freeze: its agent answers, and it is not frozen."""
        if not (await self._host.inventory.get(self._machine)).has_guest_agent_port:
            return False
        give_up = self._clock.monotonic() + seconds
        try:
            while await self._host.guest_agents.is_frozen(self._machine):
                if self._clock.monotonic() >= give_up:
                    raise _frozen_by_others(self._machine)
                await self._clock.sleep(_AGAIN_SECONDS)
        except AgentError:
            return False
        return True


def may_be_frozen(machine: Machine) -> str:
    """The sentence for a machine whose thaw is owed."""
    since = dt.datetime.fromtimestamp(machine.freezing_since, dt.UTC)
    return (
        f"The file systems of {machine.title} are frozen, or will be at any moment: its qemu-guest-agent was "
        f"asked for that at {since:%Y-%m-%d %H:%M:%S} UTC, and has not said since that they are thawed."
    )


def refuse_frozen(machine: Machine) -> None:
    """Raises ``MachineUnfit`` where the machine's thaw is owed: nothing in it can be updated."""
    if machine.freezing_since and machine.state not in OFF:
        raise MachineUnfit(
            may_be_frozen(machine),
            machine=machine.title,
            code=ErrorCode.ERROR_BUSY,
            advice="Innkeeper asks it to thaw them every second. See in the guest which hook does not end "
            "(/etc/qemu/fsfreeze-hook.d). Where nothing answers any more: "
            f"innkeeper machine reset {machine.title}",
            way_out=f"innkeeper machine reset {machine.title}",
        )


def _frozen_by_others(name: str) -> MachineUnfit:
    return MachineUnfit(
        f"The file systems of {name} are frozen, and not by Innkeeper.",
        machine=name,
        code=ErrorCode.ERROR_BUSY,
        advice="See whether a backup of it is running; it thaws them at its end. Where none is: "
        f"virsh domfsthaw {name}",
        way_out=f"virsh domfsthaw {name}",
    )


async def _note(host: Host, name: str, since: int) -> None:
    """Note the thaw that is owed in the definition that the machine runs with: gone with its QEMU."""
    await host.configurations.change(name, MetadataChanged(extras={"freezing_since": since}), Scope.RUNNING)
