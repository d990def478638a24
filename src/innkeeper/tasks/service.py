"""Start, follow, cancel and remember tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innkeeper.tasks.ports import Clock, Engine, TaskStore
from innkeeper.tasks.running import Work
from innkeeper.tasks.task import CancelEffect, LogLine, Task
from innkeeper.wire.events import Json, Publish


class Tasks:
    """Every running operation of the inn, and the history of those that ended."""

    def __init__(self, *, store: TaskStore, engine: Engine, clock: Clock, publish: Publish) -> None:
        raise NotImplementedError

    def register(self, kind: str, work: Work) -> None:
        """Say what runs for ``kind``. Before ``launch``."""
        raise NotImplementedError

    async def launch(self) -> None:
        """Take up every task that a crash left unfinished."""
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def start(
        self,
        kind: str,
        description: str,
        argument: Mapping[str, Json],
        *,
        lock: str | None = None,
        parent_id: int | None = None,
        owner: str = "innkeeper",
        cancel_effect: CancelEffect = CancelEffect.BACK_TO_START,
    ) -> Task:
        """Write the task down, then run it. Raises ``MachineBusy`` naming the task that holds ``lock``."""
        raise NotImplementedError

    async def get(self, task_id: int) -> Task:
        raise NotImplementedError

    async def list(
        self,
        *,
        live: bool | None = None,
        kind: str | None = None,
        lock: str | None = None,
        text: str | None = None,
        before_id: int | None = None,
        limit: int = 100,
    ) -> Sequence[Task]:
        raise NotImplementedError

    async def log(self, task_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[LogLine]:
        raise NotImplementedError

    async def cancel(self, task_id: int) -> None:
        """Ask for a cancel (``IVMTask::Cancel``). Raises ``TaskNotCancelable`` (0x80004005)."""
        raise NotImplementedError

    async def wait(self, task_id: int, timeout: float | None = None) -> bool:
        """Whether the task ended within ``timeout`` seconds."""
        raise NotImplementedError

    async def wait_for_completion(self, task_id: int, timeout_ms: int) -> None:
        """As ``IVMTask::WaitForCompletion``: −1 for ever, or 0 to 4,000,000; running out is no error.

        Raises ``InvalidArgument`` for any other time-out.
        """
        raise NotImplementedError
