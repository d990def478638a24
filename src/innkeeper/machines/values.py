"""Configuration values and activation values of machines, by key paths."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from innkeeper.errors import ErrorCode, InvalidArgument, WrongState
from innkeeper.machines.change import Scope, SettingsChanged, ValueSet
from innkeeper.machines.configuration import Configuration, Value
from innkeeper.machines.description import MachineDescription
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.machines.settings import refuse_active
from innkeeper.wire.virtual_pc import UndoAction

_PART = r"[A-Za-z0-9_.-]+(\[@id=[A-Za-z0-9_.-]+\])?"
_KEY: Final = re.compile(rf"{_PART}(/{_PART})*\Z")
_LONGEST_KEY: Final = 255
_LONGEST_VALUE: Final = 65_536

#: Whether a guest's clock is set after every start, restore and resume.
TIME_SYNC: Final = "integration/microsoft/host_time_sync/enabled"
#: What the documented keys are when nobody has set them.
DEFAULTS: Mapping[str, Value] = {
    "hardware/bios/time_sync_at_boot": True,
    TIME_SYNC: True,
    "ui_options/auto_app_publish": True,
    "ui_options/seconds_to_save": 300,
    "integration/microsoft/heartbeat/time": 60,
    "integration/microsoft/heartbeat/rate": 10,
    "integration/microsoft/heartbeat/failure_interval": 10,
    "integration/microsoft/heartbeat/failure_attempts": 12,
}
_MEMORY: Final = "hardware/memory/ram_size"
_UNDO_ACTION: Final = "settings/undo_drives/default_action"
_SECONDS_TO_SAVE: Final = "ui_options/seconds_to_save"

_RUNNING = frozenset({MachineState.RUNNING, MachineState.PAUSED})


class MachineValues:
    """The values of all machines (``GetConfigurationValue``, ``GetActivationValue`` and theirs).

    A few keys are the machine's own settings: ``hardware/memory/ram_size`` and
    ``settings/undo_drives/default_action``. All others are kept as they come.
    """

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    async def all(self, name: str, *, activation: bool = False) -> Mapping[str, Value]:
        """Every value of the machine, by key."""
        made = (await self._described(name, activation)).configuration
        return dict(sorted({**DEFAULTS, **_mapped(made), **made.extras.values}.items()))

    async def get(self, name: str, key: str, *, activation: bool = False) -> Value:
        """One value. Raises ``InvalidArgument`` (E_INVALIDARG, or VM_E_PREF_NOT_FOUND)."""
        _checked(key)
        known = await self.all(name, activation=activation)
        if key not in known:
            raise _unknown(name, key)
        return known[key]

    async def set(self, name: str, key: str, value: Value, *, activation: bool = False) -> None:
        """Set one value. An activation value lasts until the machine is off; it must run."""
        _checked(key)
        refuse_value(value)
        machine, host = await self._find(name, activation)
        own = None if activation else _OWN.get(key)
        if own is not None:
            await own(host, machine, value)
            return
        if key == _SECONDS_TO_SAVE and isinstance(value, int):
            value = _seconds_to_save(value)
        scope = Scope.RUNNING if activation else Scope.PERSISTENT
        await host.configurations.change(machine.name, ValueSet(key=key, value=value), scope)

    async def remove(self, name: str, key: str, *, activation: bool = False) -> None:
        """Remove one value. Raises as ``get`` does."""
        _checked(key)
        described = await self._described(name, activation)
        if key not in described.configuration.extras.values:
            raise _unknown(name, key)
        machine = described.machine
        host = self._machines.hosts[machine.host]
        scope = Scope.RUNNING if activation else Scope.PERSISTENT
        await host.configurations.change(machine.name, ValueSet(key=key, value=None), scope)

    async def _described(self, name: str, activation: bool) -> MachineDescription:
        described = await self._machines.describe(name, running=activation)
        _refuse_off(described.machine, activation)
        return described

    async def _find(self, name: str, activation: bool) -> tuple[Machine, Host]:
        machine = await self._machines.get(name)
        _refuse_off(machine, activation)
        return machine, self._machines.hosts[machine.host]


def _refuse_off(machine: Machine, activation: bool) -> None:
    if activation and machine.state not in _RUNNING:
        raise WrongState.of(
            machine.title,
            machine.state,
            "have activation values",
            code=ErrorCode.VM_E_PREF_NOT_FOUND,
            advice="Start it, or use its configuration values.",
        )


def checked_key(key: str) -> str:
    """A key path. Raises ``InvalidArgument``."""
    return _checked(key)


def _checked(key: str) -> str:
    if len(key) > _LONGEST_KEY or _KEY.match(key) is None:
        raise InvalidArgument(
            f"“{key[:80]}” is not a key.",
            advice="A key is a path such as settings/undo_drives/default_action, "
            "its parts with an identifier where they need one: location[@id=0].",
        )
    return key


def refuse_value(value: Value) -> None:
    """Raises ``InvalidArgument`` for a value that is too long, or that no definition can keep."""
    if isinstance(value, str | bytes) and len(value) > _LONGEST_VALUE:
        raise InvalidArgument(
            f"The value has {len(value):,} characters.", advice=f"{_LONGEST_VALUE:,} are kept."
        )
    if isinstance(value, str) and any(each < " " and each not in "\t\n\r" for each in value):
        raise InvalidArgument("The value holds a control character.", advice="Give it as raw bytes.")


def _unknown(name: str, key: str) -> InvalidArgument:
    return InvalidArgument(
        f"{name} has no value “{key}”.",
        code=ErrorCode.VM_E_PREF_NOT_FOUND,
        advice=f"innkeeper machine values {name} lists what it has.",
    )


def _mapped(made: Configuration) -> dict[str, Value]:
    return {_MEMORY: made.settings["memory_mib"], _UNDO_ACTION: int(made.extras.undo_action)}


def _seconds_to_save(seconds: int) -> int:
    """0 never; up to 20 is 20; and there is a largest."""
    if seconds <= 0:
        return 0
    return min(max(seconds, 20), 4_294_968)


async def _set_memory(host: Host, machine: Machine, value: Value) -> None:
    refuse_active(machine, "change its memory", ErrorCode.VM_E_PREF_VM_ACTIVE)
    await host.configurations.change(machine.name, SettingsChanged(values={"memory_mib": _integer(value)}))


async def _set_undo_action(host: Host, machine: Machine, value: Value) -> None:
    number = _integer(value)
    if number not in list(UndoAction):
        raise InvalidArgument(f"There is no undo action {number}.", advice="0 discards, 1 keeps, 2 commits.")
    await host.configurations.change(
        machine.name, SettingsChanged(values={"undo_action": UndoAction(number)}), Scope.BOTH
    )


def _integer(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidArgument("This value is an integer, and not below 0.")
    return value


_OWN: Mapping[str, Callable[[Host, Machine, Value], Awaitable[None]]] = {
    _MEMORY: _set_memory,
    _UNDO_ACTION: _set_undo_action,
}
