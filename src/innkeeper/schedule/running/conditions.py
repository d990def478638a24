"""Conditions of starts, and of running instances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import TriggerType
from innkeeper.schedule.model.settings import TaskSettings
from innkeeper.schedule.ports import Conditions
from innkeeper.tasks.ports import Clock

#: How often a running instance's conditions are looked at.
_LOOK_SECONDS: Final = 10.0
ON_BATTERIES: Final = "the computer runs on batteries"
NOT_IDLE: Final = "the computer is not idle"


def asks(settings: TaskSettings) -> bool:
    """Whether the task has any condition on the computer's state."""
    return (
        settings.disallow_start_if_on_batteries
        or settings.run_only_if_network_available
        or settings.run_only_if_idle
    )


def unmet(settings: TaskSettings, conditions: Conditions) -> str:
    """Return why the task may not start now; empty where it may. What cannot be known is no obstacle.

    Blocks: the answers come from files.
    """
    if settings.disallow_start_if_on_batteries and conditions.on_batteries():
        return ON_BATTERIES
    if settings.run_only_if_network_available:
        if conditions.has_network() is False:
            return "there is no network"
        wanted = settings.network_settings
        if conditions.has_this_network(wanted.name, wanted.id) is False:
            return f"the network {wanted.name or wanted.id} is not there"
    if settings.run_only_if_idle and conditions.is_idle() is False:
        return NOT_IDLE
    return ""


class Vigil:
    """Checks at intervals whether running instances may go on."""

    def __init__(self, conditions: Conditions, clock: Clock) -> None:
        self._conditions = conditions
        self._clock = clock
        #: Whether this computer has batteries at all; asked once.
        self._has_batteries: bool | None = None

    async def wants(self, definition: TaskDefinition, trigger: int) -> bool:
        """Whether an instance has to be checked; most need not."""
        settings = definition.settings
        if settings.idle_settings.stop_on_idle_end and follows_idleness(definition, trigger):
            return True
        if not settings.stop_if_going_on_batteries:
            return False
        if self._has_batteries is None:
            self._has_batteries = await asyncio.to_thread(self._conditions.on_batteries) is not None
        return self._has_batteries

    async def keep(self, definition: TaskDefinition, trigger: int, stop: Callable[[str], None]) -> None:
        """Call ``stop`` with the reason once a running instance may not go on."""
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            reason = await asyncio.to_thread(self._forbids, definition, trigger)
            if reason:
                stop(reason)
                return

    async def until_idle(self) -> None:
        """Return once the computer is idle again (``RestartOnIdle``)."""
        while await asyncio.to_thread(self._conditions.is_idle) is False:
            await self._clock.sleep(_LOOK_SECONDS)

    def _forbids(self, definition: TaskDefinition, trigger: int) -> str:
        settings = definition.settings
        if settings.stop_if_going_on_batteries and self._conditions.on_batteries():
            return ON_BATTERIES
        ends_with_idleness = settings.idle_settings.stop_on_idle_end and follows_idleness(definition, trigger)
        return NOT_IDLE if ends_with_idleness and self._conditions.is_busy() else ""


def follows_idleness(definition: TaskDefinition, trigger: int) -> bool:
    """Whether an instance was started because the computer is idle."""
    if definition.settings.run_only_if_idle:
        return True
    if not 1 <= trigger <= definition.triggers.count:
        return False
    return definition.triggers[trigger].type is TriggerType.IDLE
