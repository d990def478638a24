"""Under the service, operations on disks are durable tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.work import WORKS
from innkeeper.errors import ErrorCode, TaskNotCancelable
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.memory_engine import MemoryEngine, MemoryJournal, StepMoment
from innkeeper.tasks.memory_store import MemoryTaskStore
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import CancelEffect, Task, TaskResult
from innkeeper.wire.events import Json

SIZE = 8 << 20
