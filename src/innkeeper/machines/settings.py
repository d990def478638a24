"""Change what a machine is called, how much it has, and what happens to it by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from innkeeper.errors import ErrorCode, InvalidArgument, NotSupported, WrongState
from innkeeper.machines.change import MetadataChanged, Scope, SettingsChanged
from innkeeper.machines.description import MachineDescription
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.naming import checked_label, checked_name, checked_subject
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.machines.undo.fitness import is_undo_disk
from innkeeper.wire.machine_settings import SETTINGS, DeclaredSetting, MachineChanges
from innkeeper.wire.setting import Changeable, SettingValue
from innkeeper.wire.virtual_pc import MIN_MEMORY_MIB

#: The most labels of a machine.
MAX_LABELS: Final = 64
#: The most findings that are ignored for a machine.
MAX_IGNORED: Final = 64

#: Settings that stand in no definition: each is changed by a call of its own.
_APART: Final = frozenset({"name", "undoable", "autostart"})
#: A setting, and its new value.
_Change = tuple[DeclaredSetting, SettingValue]
_SCOPES: Final[Mapping[Changeable, Scope]] = {
    Changeable.OFF: Scope.PERSISTENT,
    Changeable.NEXT_START: Scope.PERSISTENT,
    Changeable.ANY_TIME: Scope.BOTH,
}


class MachineSettings:
    """The settings of all machines."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    async def read(self, name: str, *, running: bool = False) -> MachineDescription:
        """A machine with its configuration, and the chains of its undo disks. Raises ``MachineNotFound``."""
        return await self._machines.describe(name, running=running, follow=is_undo_disk)

    async def change(self, name: str, wanted: MachineChanges) -> Machine:
        """Change what is wished, or nothing at all.

        Raises ``InvalidArgument`` for a value that will not do, ``NotSupported`` for what does not change,
        ``WrongState`` with the setting's documented identifier where it changes only while the machine is
        off, ``MachineBusy`` where a task holds it.
        """
        machine = await self._machines.get(name)
        host = self._machines.hosts[machine.host]
        new_name = wanted.get("name", machine.name)
        changing = [
            (SETTINGS[key], value)
            for key, value in _items(wanted)
            if key != "name" or new_name != machine.name
        ]
        await self._refuse(machine, changing, wanted)
        await self._apply(host, machine.name, changing)
        if new_name != machine.name:
            await host.definitions.rename(machine.name, new_name)
            await self._machines.announce(machine.key)
        return await host.inventory.get(new_name)

    async def add_labels(self, name: str, labels: list[str]) -> tuple[str, ...]:
        """Add labels to those that the machine has; returns all. Allowed in every state."""
        machine = await self._machines.get(name)
        wanted = tuple(dict.fromkeys((*machine.labels, *map(checked_label, labels))))
        if len(wanted) > MAX_LABELS:
            raise InvalidArgument(
                f"{machine.title} would have {len(wanted)} labels.", advice=f"{MAX_LABELS} are allowed."
            )
        return await self._label(machine, wanted)

    async def remove_labels(self, name: str, labels: list[str]) -> tuple[str, ...]:
        """Remove labels from the machine; returns those left. Raises where one of them is not there."""
        machine = await self._machines.get(name)
        for label in labels:
            if label not in machine.labels:
                raise InvalidArgument(
                    f"{machine.title} has no label “{label}”.",
                    code=ErrorCode.ERROR_NOT_FOUND,
                    advice=f"It has: {', '.join(machine.labels) or 'none'}.",
                )
        return await self._label(machine, tuple(each for each in machine.labels if each not in labels))

    async def ignored(self, name: str) -> tuple[str, ...]:
        """Return what is no fault of the machine's, as patterns of findings' subjects."""
        return (await self._machines.get(name)).ignored

    async def ignore(self, name: str, subjects: Sequence[str]) -> tuple[str, ...]:
        """Count these findings against no update of the machine any more; returns all such.

        A run that is under way sees it at its next look.
        """
        machine = await self._machines.get(name)
        wanted = tuple(dict.fromkeys((*machine.ignored, *map(checked_subject, subjects))))
        if len(wanted) > MAX_IGNORED:
            raise InvalidArgument(
                f"{len(wanted)} findings would be ignored for {machine.title}.",
                advice=f"{MAX_IGNORED} are allowed; an asterisk stands for any characters.",
            )
        return await self._note_ignored(machine, wanted)

    async def stop_ignoring(self, name: str, subject: str) -> tuple[str, ...]:
        """Count a finding again; returns what is still ignored. Raises where it was not ignored."""
        machine = await self._machines.get(name)
        if subject not in machine.ignored:
            raise InvalidArgument(
                f"“{subject}” is not ignored for {machine.title}.",
                code=ErrorCode.ERROR_NOT_FOUND,
                advice=f"Ignored are: {', '.join(machine.ignored) or 'none'}.",
            )
        return await self._note_ignored(machine, tuple(each for each in machine.ignored if each != subject))

    # Machinery

    async def _note_ignored(self, machine: Machine, ignored: tuple[str, ...]) -> tuple[str, ...]:
        host = self._machines.hosts[machine.host]
        await host.configurations.change(
            machine.name, MetadataChanged(extras={"ignored": ignored}), Scope.BOTH
        )
        return ignored

    async def _label(self, machine: Machine, labels: tuple[str, ...]) -> tuple[str, ...]:
        host = self._machines.hosts[machine.host]
        await host.configurations.change(machine.name, MetadataChanged(extras={"labels": labels}), Scope.BOTH)
        return labels

    async def _refuse(self, machine: Machine, changing: Sequence[_Change], wanted: MachineChanges) -> None:
        """Check everything before anything is changed."""
        for declared, value in changing:
            refuse_setting(declared, value)
        if wanted.get("name", machine.name) != machine.name:
            there = await self._machines.hosts[machine.host].inventory.list()
            others = [each.name for each in there if each.uuid != machine.uuid]
            checked_name(wanted["name"], others)
        off_only = [each.setting for each, _ in changing if each.setting.changes is Changeable.OFF]
        for setting in off_only:
            refuse_active(machine, f"change its {setting.noun}", setting.refusal)
        if off_only:
            await self._machines.refuse_busy(machine)
        if "undo_exclude" in wanted:
            _refuse_unknown_disks(machine, wanted["undo_exclude"])
        if "memory_mib" in wanted:
            await self._refuse_memory(machine, wanted["memory_mib"])

    async def _refuse_memory(self, machine: Machine, memory_mib: int) -> None:
        most = (await self._machines.hosts[machine.host].information.facts()).memory_mib
        if memory_mib > most:
            raise InvalidArgument(
                f"{machine.title} cannot have {memory_mib:,} MiB of memory.",
                advice=f"Give {MIN_MEMORY_MIB} to {most:,} MiB, which is what the host has.",
            )

    async def _apply(self, host: Host, name: str, changing: Sequence[_Change]) -> None:
        for scope in (Scope.PERSISTENT, Scope.BOTH):
            values = {
                declared.key: value
                for declared, value in changing
                if declared.key not in _APART and _SCOPES[declared.setting.changes] is scope
            }
            if values:
                await host.configurations.change(name, SettingsChanged(values=values), scope)
        for declared, value in changing:
            if declared.key == "undoable":
                await self._machines.set_undoable(name, bool(value))
            elif declared.key == "autostart":
                await host.configurations.set_autostart(name, bool(value))


def refuse_active(machine: Machine, command: str, code: ErrorCode) -> None:
    """Raises ``WrongState``, naming the state and what was wanted, where the machine is not off."""
    if machine.state is MachineState.TURNED_OFF:
        return
    saved = machine.state is MachineState.SAVED
    raise WrongState.of(
        machine.title,
        machine.state,
        command,
        code=code,
        advice="That is possible when it is off"
        + (", and its saved state is restored or discarded." if saved else "."),
    )


def _refuse_unknown_disks(machine: Machine, wanted: str) -> None:
    """Raises ``InvalidArgument`` where a name is no disk's: what was to be left out would be covered."""
    known = [disk.target for disk in machine.disks]
    for target in wanted.split(","):
        if target and target not in known:
            raise InvalidArgument(
                f"{machine.title} has no disk {target}.",
                advice=f"Its disks are: {', '.join(known) or 'none'}.",
            )


def refuse_setting(declared: DeclaredSetting, value: SettingValue) -> None:
    """Raises ``InvalidArgument`` for a value outside the limits, ``NotSupported`` for what never changes."""
    setting = declared.setting
    complaint = setting.limits.complaint(setting.noun, value) if setting.limits is not None else ""
    if setting.limits is not None and complaint:
        raise InvalidArgument(complaint, advice=f"Give {setting.limits.words}.")
    if setting.changes is Changeable.NEVER:
        raise NotSupported(f"A machine's {setting.noun} does not change.", advice=setting.advice)


def _items(wanted: MachineChanges) -> Iterator[tuple[str, SettingValue]]:
    """The settings that are to change, typed: to mypy the values of a ``TypedDict`` are objects."""
    for key, value in wanted.items():
        assert isinstance(value, str | int)  # as every setting's type is
        yield key, value
