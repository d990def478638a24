"""Declare the settings of a machine, each once.

Messages, route, client, command line, pages and reference follow. To add one: its entry in
``MachineChanges``, its line in ``MachineSettings``, and its field in ``hypervisor/domain/elements.py``.
CONTRIBUTING.md has the steps.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Annotated, get_args, get_type_hints

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from innkeeper.errors import ErrorCode
from innkeeper.wire.messages import named
from innkeeper.wire.setting import (
    Changeable,
    DiskNames,
    GuidLimits,
    NumberLimits,
    Setting,
    SettingValue,
    TextLimits,
)
from innkeeper.wire.virtual_pc import (
    MAX_NOTES_LENGTH,
    MIN_MEMORY_MIB,
    ShutdownAction,
    UndoAction,
    UndoPointKind,
)

UndoActionName = Annotated[UndoAction, *named(UndoAction)]
ShutdownActionName = Annotated[ShutdownAction, *named(ShutdownAction)]
UndoPointName = Annotated[UndoPointKind, *named(UndoPointKind)]

_FIRMWARE_STRING = TextLimits(longest=63)


@with_config(ConfigDict(extra="forbid"))
class MachineChanges(TypedDict, total=False):
    """Settings of a machine that are to change; what is left out stays."""

    name: Annotated[
        str,
        Setting(
            help="The machine's name; unique, regardless of upper and lower case.",
            noun="name",
            documented="Name",
            changes=Changeable.OFF,
        ),
    ]
    notes: Annotated[
        str,
        Setting(
            help="Notes for people.",
            noun="notes",
            documented="Notes",
            limits=TextLimits(longest=MAX_NOTES_LENGTH, lines=True),
            label="Notes",
        ),
    ]
    memory_mib: Annotated[
        int,
        Setting(
            help="Memory in MiB.",
            noun="memory",
            documented="Memory",
            member="memory",
            option="--memory",
            metavar="MIB",
            limits=NumberLimits(least=MIN_MEMORY_MIB, most_words="what the host has"),
            changes=Changeable.OFF,
        ),
    ]
    vcpus: Annotated[
        int,
        Setting(
            help="Number of processors.",
            noun="number of processors",
            member="processors",
            option="--processors",
            limits=NumberLimits(least=1, most=512),
            changes=Changeable.OFF,
        ),
    ]
    bios_guid: Annotated[
        str,
        Setting(
            help="The firmware's GUID, in braces: the machine's own UUID.",
            noun="firmware's GUID",
            documented="BIOSGUID",
            option=None,
            limits=GuidLimits(),
            changes=Changeable.NEVER,
            advice="Create a machine with the UUID that is wanted, and give it these disks.",
        ),
    ]
    bios_serial_number: Annotated[
        str,
        Setting(
            help="The firmware's serial number.",
            noun="firmware's serial number",
            documented="BIOSSerialNumber",
            option="--serial-number",
            limits=_FIRMWARE_STRING,
            changes=Changeable.OFF,
            refusal=ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
            label="Serial number",
        ),
    ]
    base_board_serial_number: Annotated[
        str,
        Setting(
            help="The board's serial number.",
            noun="board's serial number",
            documented="BaseBoardSerialNumber",
            option="--board-serial-number",
            limits=_FIRMWARE_STRING,
            changes=Changeable.OFF,
            refusal=ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
        ),
    ]
    chassis_serial_number: Annotated[
        str,
        Setting(
            help="The chassis' serial number.",
            noun="chassis' serial number",
            documented="ChassisSerialNumber",
            limits=_FIRMWARE_STRING,
            changes=Changeable.OFF,
            refusal=ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
        ),
    ]
    chassis_asset_tag: Annotated[
        str,
        Setting(
            help="The chassis' asset tag.",
            noun="chassis' asset tag",
            documented="ChassisAssetTag",
            option="--asset-tag",
            limits=_FIRMWARE_STRING,
            changes=Changeable.OFF,
            refusal=ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
            label="Asset tag",
        ),
    ]
    undoable: Annotated[
        bool,
        Setting(
            help="Put undo disks under it at each start. "
            "Switching this off deletes its present undo disks, with what was written to them.",
            noun="undo disks",
            documented="Undoable",
            option="--undoable/--not-undoable",
            changes=Changeable.OFF,
            label="Undo disks at each start",
        ),
    ]
    undo_action: Annotated[
        UndoActionName,
        Setting(
            help="What happens to its undo disks when the machine is turned off.",
            noun="undo action",
            documented="UndoAction",
            label="Undo action",
        ),
    ]
    undo_exclude: Annotated[
        str,
        Setting(
            help="Disks that no undo point covers: what an update writes to them stays after a roll back.",
            noun="list of disks without undo",
            limits=DiskNames(),
            metavar="DISKS",
            label="Left out of undo points",
        ),
    ]
    undo_point: Annotated[
        UndoPointName,
        Setting(
            help="How an update run takes its undo point while the machine runs: by the policy, live, off, "
            "or with its memory, so that a roll back goes back to the running moment.",
            noun="undo point",
            label="Undo point",
        ),
    ]
    shutdown_action: Annotated[
        ShutdownActionName,
        Setting(
            help=(
                "What happens to the machine when the service ends in order, if the "
                "service's `shutdown_actions` are on."
            ),
            noun="shutdown action",
            documented="ShutdownActionOnQuit",
            member="shutdown_action_on_quit",
            label="At the service's end",
        ),
    ]
    autostart: Annotated[
        bool,
        Setting(help="Start it with its host.", noun="autostart", label="Autostart"),
    ]
    local_clock: Annotated[
        bool,
        Setting(
            help="Its hardware clock shows the host's local time, as Windows expects it, and not UTC.",
            noun="clock",
            option="--local-clock/--utc-clock",
            changes=Changeable.NEXT_START,
            label="Clock in local time",
        ),
    ]


class MachineSettings:
    """The settings of a machine that are called the same in JSON and on the client's machine."""

    name: str
    notes: str
    bios_guid: str
    bios_serial_number: str
    base_board_serial_number: str
    chassis_serial_number: str
    chassis_asset_tag: str
    undoable: bool
    undo_action: UndoActionName
    undo_exclude: str
    undo_point: UndoPointName
    autostart: bool
    local_clock: bool


class SettingsInJson(MachineSettings):
    """All settings of a machine, as messages name them."""

    memory_mib: int
    vcpus: int
    shutdown_action: ShutdownActionName


class SettingsInPython(MachineSettings):
    """All settings of a machine, as the client's machine names them."""

    memory: int
    processors: int
    shutdown_action_on_quit: ShutdownAction


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredSetting:
    """A setting with its name in JSON and its type."""

    key: str
    type: type[str] | type[int] | type[bool] | type[enum.IntEnum]
    setting: Setting

    @property
    def member(self) -> str:
        """The property of the client's machine, which is the documented one in Python's spelling."""
        return self.setting.member or self.key

    @property
    def option(self) -> str | None:
        """The option of ``machine set``; ``None`` for none."""
        option = self.setting.option
        if option is None:
            return None
        option = option or f"--{self.key.replace('_', '-')}"
        is_switch = self.type is bool and "/" not in option
        return f"{option}/--no-{option.removeprefix('--')}" if is_switch else option

    @property
    def members(self) -> tuple[enum.IntEnum, ...]:
        """The values of a closed set; empty for others."""
        return tuple(self.type) if issubclass(self.type, enum.IntEnum) else ()

    def value_words(self, value: SettingValue) -> str:
        """A value for people."""
        if isinstance(value, enum.Enum):
            return word_of(value).replace("-", " ")
        return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def word_of(member: enum.Enum) -> str:
    """A member of a closed set as people write it: ``turn-off``."""
    return member.name.lower().replace("_", "-")


def plain(value: SettingValue) -> SettingValue:
    """The value as events and JSON carry it: a member of a closed set by its documented name."""
    return value.name if isinstance(value, enum.Enum) else value


def _declared(key: str, hint: object) -> DeclaredSetting:
    kind, *notes = get_args(hint)
    (setting,) = (note for note in notes if isinstance(note, Setting))
    return DeclaredSetting(key=key, type=kind, setting=setting)


#: Every setting, by its name in JSON, in the order that people see them in.
SETTINGS: Mapping[str, DeclaredSetting] = {
    key: _declared(key, hint) for key, hint in get_type_hints(MachineChanges, include_extras=True).items()
}
