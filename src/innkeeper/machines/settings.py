"""Change what a machine is called, how much it has, and what happens to it by itself."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Final

from innkeeper.errors import ErrorCode, InvalidArgument, NotSupported, WrongState
from innkeeper.machines.change import Hardware, MetadataChanged, Scope
from innkeeper.machines.configuration import Configuration
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.naming import checked_label, checked_name
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.wire.virtual_pc import (
    MAX_NOTES_LENGTH,
    MIN_MEMORY_MIB,
    BiosField,
    ShutdownAction,
    UndoAction,
)

#: The most processors that a machine may be given.
MAX_VCPUS: Final = 512
#: The longest string of a firmware's tables, in characters.
MAX_BIOS_LENGTH: Final = 63
#: The most labels of a machine.
MAX_LABELS: Final = 64


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MachineChanges:
    """What is to be changed about a machine; what is ``None`` stays."""

    name: str | None = None
    notes: str | None = None
    memory_mib: int | None = None
    vcpus: int | None = None
    bios: Mapping[BiosField, str] = dataclasses.field(default_factory=dict)
    undoable: bool | None = None
    undo_action: UndoAction | None = None
    shutdown_action: ShutdownAction | None = None
    autostart: bool | None = None


class MachineSettings:
    """The settings of all machines."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    async def read(self, name: str, *, running: bool = False) -> tuple[Machine, Configuration]:
        """A machine, and how it is made. Raises ``MachineNotFound``."""
        machine = await self._machines.get(name)
        host = self._machines.hosts[machine.host]
        return machine, await host.configurations.read(machine.name, running=running)

    async def change(self, name: str, wanted: MachineChanges) -> Machine:
        """Change what is wished, or nothing at all.

        Raises ``WrongState`` (VM_E_PREF_VM_ACTIVE for name, memory and undoable, VM_E_VM_RUNNING_OR_SAVED
        for the firmware's strings) where the machine is not off, ``InvalidArgument`` for a value that will
        not do, ``MachineBusy`` where a task holds it.
        """
        machine = await self._machines.get(name)
        host = self._machines.hosts[machine.host]
        await self._refuse(machine, wanted)
        await self._apply(host, machine.name, wanted)
        if wanted.name is not None and wanted.name != machine.name:
            await host.definitions.rename(machine.name, wanted.name)
        return await host.inventory.get(wanted.name or machine.name)

    async def add_labels(self, name: str, labels: list[str]) -> tuple[str, ...]:
        """Add labels to those that the machine has; returns all. Allowed in every state."""
        machine = await self._machines.get(name)
        wanted = tuple(dict.fromkeys((*machine.labels, *map(checked_label, labels))))
        if len(wanted) > MAX_LABELS:
            raise InvalidArgument(
                f"{machine.name} would have {len(wanted)} labels.", advice=f"{MAX_LABELS} are allowed."
            )
        return await self._label(machine, wanted)

    async def remove_labels(self, name: str, labels: list[str]) -> tuple[str, ...]:
        """Take labels from the machine; returns what it still has. Raises where it has one of them not."""
        machine = await self._machines.get(name)
        for label in labels:
            if label not in machine.labels:
                raise InvalidArgument(
                    f"{machine.name} has no label “{label}”.",
                    code=ErrorCode.ERROR_NOT_FOUND,
                    advice=f"It has: {', '.join(machine.labels) or 'none'}.",
                )
        return await self._label(machine, tuple(each for each in machine.labels if each not in labels))

    # Machinery

    async def _label(self, machine: Machine, labels: tuple[str, ...]) -> tuple[str, ...]:
        host = self._machines.hosts[machine.host]
        await host.configurations.change(machine.name, MetadataChanged(extras={"labels": labels}), Scope.BOTH)
        return labels

    async def _refuse(self, machine: Machine, wanted: MachineChanges) -> None:
        """Look at everything before anything is touched."""
        _refuse_values(wanted)
        if wanted.name is not None and wanted.name != machine.name:
            others = [each.name for each in await self._machines.list() if each.name != machine.name]
            checked_name(wanted.name, others)
        active = [
            word
            for word, wish in (
                ("name", wanted.name if wanted.name != machine.name else None),
                ("memory", wanted.memory_mib),
                ("processors", wanted.vcpus),
                ("undo disks", wanted.undoable),
            )
            if wish is not None
        ]
        if active:
            refuse_active(machine, f"change its {active[0]}", ErrorCode.VM_E_PREF_VM_ACTIVE)
        if wanted.bios:
            refuse_active(machine, "change its firmware's strings", ErrorCode.VM_E_VM_RUNNING_OR_SAVED)
        if active or wanted.bios:
            await self._machines.refuse_busy(machine.name)
        if wanted.memory_mib is not None:
            await self._refuse_memory(machine, wanted.memory_mib)

    async def _refuse_memory(self, machine: Machine, memory_mib: int) -> None:
        most = (await self._machines.hosts[machine.host].information.facts()).memory_mib
        if not MIN_MEMORY_MIB <= memory_mib <= most:
            raise InvalidArgument(
                f"{machine.name} cannot have {memory_mib:,} MiB of memory.",
                advice=f"Give {MIN_MEMORY_MIB} to {most:,} MiB, which is what the host has.",
            )

    async def _apply(self, host: Host, name: str, wanted: MachineChanges) -> None:
        if wanted.memory_mib is not None or wanted.vcpus is not None or wanted.bios:
            hardware = Hardware(memory_mib=wanted.memory_mib, vcpus=wanted.vcpus, bios=wanted.bios)
            await host.configurations.change(name, hardware)
        extras = {
            field: value
            for field in ("undo_action", "shutdown_action")
            if (value := getattr(wanted, field)) is not None
        }
        if wanted.notes is not None or extras:
            await host.configurations.change(
                name, MetadataChanged(notes=wanted.notes, extras=extras), Scope.BOTH
            )
        if wanted.undoable is not None:
            await self._machines.set_undoable(name, wanted.undoable)
        if wanted.autostart is not None:
            await host.configurations.set_autostart(name, wanted.autostart)


def refuse_active(machine: Machine, command: str, code: ErrorCode) -> None:
    """Raises ``WrongState``, naming the state and what was wanted, where the machine is not off."""
    if machine.state is MachineState.TURNED_OFF:
        return
    state = machine.state.name.lower().replace("_", " ")
    raise WrongState(
        f"{machine.name} is {state} and cannot {command}.",
        machine=machine.name,
        state=machine.state.name,
        command=command,
        code=code,
        advice="That is possible when it is turned off"
        + (", and its saved state is restored or discarded." if state == "saved" else "."),
    )


def _refuse_values(wanted: MachineChanges) -> None:
    if wanted.notes is not None and len(wanted.notes) > MAX_NOTES_LENGTH:
        raise InvalidArgument(
            f"The notes have {len(wanted.notes):,} characters.",
            advice=f"At most {MAX_NOTES_LENGTH:,} are kept.",
        )
    if wanted.notes is not None and any(_unwritable(each) for each in wanted.notes):
        raise InvalidArgument("The notes hold a control character that no definition can keep.")
    if wanted.vcpus is not None and not 1 <= wanted.vcpus <= MAX_VCPUS:
        raise InvalidArgument(
            f"A machine cannot have {wanted.vcpus} processors.", advice=f"Give 1 to {MAX_VCPUS}."
        )
    for field, value in wanted.bios.items():
        _refuse_bios(field, value)


def _refuse_bios(field: BiosField, value: str) -> None:
    if field is BiosField.GUID:
        try:
            uuid.UUID(value)
        except ValueError as exc:
            raise InvalidArgument(f"“{value[:60]}” is no GUID.") from exc
        raise NotSupported(
            "The firmware's GUID is the machine's own UUID, which libvirt never changes.",
            advice="Create a machine with the UUID that is wanted, and give it these disks.",
        )
    if len(value) > MAX_BIOS_LENGTH or not value.isprintable():
        raise InvalidArgument(
            f"The string for {field.replace('_', ' ')} will not do.",
            advice=f"Give at most {MAX_BIOS_LENGTH} printable characters.",
        )


def _unwritable(character: str) -> bool:
    """XML 1.0 has no way to write it."""
    return (character < " " and character not in "\t\n\r") or "\ud800" <= character <= "\udfff"
