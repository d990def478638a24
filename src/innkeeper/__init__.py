"""Look after the virtual machines on Linux hosts."""

from __future__ import annotations

import importlib
from types import ModuleType

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
from innkeeper.wire.version import VERSION as __version__  # noqa: N811  the name that Python's tools look for
from innkeeper.wire.virtual_pc import ShutdownAction, StartupOption, UndoAction

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
    "Update",
    "UpdateStatus",
    "Verdict",
    "__version__",
    "connect",
    "connect_async",
    "show",
]

#: The rooms that programs use without a service; loaded at their first use.
_LIBRARIES = ("disks", "schedule")


def __getattr__(name: str) -> ModuleType:
    """Load ``innkeeper.disks`` and ``innkeeper.schedule`` when they are first named."""
    if name in _LIBRARIES:
        return importlib.import_module(f"innkeeper.{name}")
    raise AttributeError(f"module 'innkeeper' has no attribute {name!r}")
