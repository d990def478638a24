"""Look after the virtual machines on Linux hosts."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innkeeper import client as client
    from innkeeper import disks as disks
    from innkeeper import schedule as schedule
    from innkeeper.client import AsyncInn, HardDisk, Inn, Machine, Task, Update, connect, connect_async, show
    from innkeeper.errors import ErrorCode, InnkeeperError
    from innkeeper.wire.states import (
        CancelEffect,
        HardDiskType,
        MachineState,
        TaskResult,
        UpdateStatus,
        Verdict,
    )
    from innkeeper.wire.version import VERSION as __version__  # noqa: N811  Python's tools look for this name
    from innkeeper.wire.virtual_pc import ShutdownAction, StartupOption, UndoAction, UndoPointKind

__all__ = [
    "AsyncInn",
    "CancelEffect",
    "ErrorCode",
    "HardDisk",
    "HardDiskType",
    "Inn",
    "InnkeeperError",
    "Machine",
    "MachineState",
    "ShutdownAction",
    "StartupOption",
    "Task",
    "TaskResult",
    "UndoAction",
    "UndoPointKind",
    "Update",
    "UpdateStatus",
    "Verdict",
    "__version__",
    "connect",
    "connect_async",
    "show",
]

#: Where each name is: its module is imported when the name is first used.
_HOMES = {
    **dict.fromkeys(("ErrorCode", "InnkeeperError"), "innkeeper.errors"),
    **dict.fromkeys(
        ("CancelEffect", "HardDiskType", "MachineState", "TaskResult", "UpdateStatus", "Verdict"),
        "innkeeper.wire.states",
    ),
    **dict.fromkeys(
        ("ShutdownAction", "StartupOption", "UndoAction", "UndoPointKind"), "innkeeper.wire.virtual_pc"
    ),
}

#: The rooms that programs use by name; those of disks and schedules need no service.
_ROOMS = ("client", "disks", "schedule")


if not TYPE_CHECKING:  # type checkers read the imports above

    def __getattr__(name: str) -> object:
        """Load a public name, or a room, when it is first used."""
        if name in _ROOMS:
            return importlib.import_module(f"innkeeper.{name}")
        if name == "__version__":
            return importlib.import_module("innkeeper.wire.version").VERSION
        if name not in __all__:
            raise AttributeError(f"module 'innkeeper' has no attribute {name!r}")
        home = importlib.import_module(_HOMES.get(name, "innkeeper.client"))
        value = globals()[name] = getattr(home, name)
        return value

    def __dir__() -> list[str]:
        """The public names too, for those who look around."""
        return sorted({*globals(), *__all__, *_ROOMS})
