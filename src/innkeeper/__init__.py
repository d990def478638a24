"""Look after the virtual machines on Linux hosts."""

from innkeeper.client import Inn, Machine, Task, Update, connect
from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.wire.states import CancelEffect, MachineState, TaskResult, UpdateStatus, Verdict
from innkeeper.wire.version import VERSION as __version__  # noqa: N811  the name that Python's tools look for

__all__ = [
    "CancelEffect",
    "ErrorCode",
    "Inn",
    "InnkeeperError",
    "Machine",
    "MachineState",
    "Task",
    "TaskResult",
    "Update",
    "UpdateStatus",
    "Verdict",
    "__version__",
    "connect",
]
