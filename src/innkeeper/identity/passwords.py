"""Hash passwords (argon2id), in few threads: many wrong ones at once must cost the others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.identity.password_policy import LONGEST, PasswordPolicy

T = TypeVar("T")

#: Threads that hash at once, each with its 32 MiB; and how many checks may wait for one.
_THREADS = 2
_MAX_WAITING = 64


class Passwords:
    """Hashes and checks passwords, off the event loop."""

    def __init__(
        self, hasher: argon2.PasswordHasher | None = None, policy: PasswordPolicy | None = None
    ) -> None:
        self._policy = policy or PasswordPolicy()
        self._hasher = hasher or argon2.PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="innkeeper-password")
        self._waiting = 0
        self._nobodys = ""

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str, user: str = "") -> str:
        """What is kept of ``user``'s new password. Raises ``InvalidArgument`` for one that will not do."""
        self._policy.check(password, user)
        return await self._in_thread(lambda: self._hasher.hash(password))

    async def matches(self, password: str, kept: str | None) -> bool:
        """Whether a password matches its hash; never without a hash (``None``), and in the same time."""
        if len(password) > LONGEST:
            return False
        return await self._in_thread(lambda: self._matches(password, kept))

    def _matches(self, password: str, kept: str | None) -> bool:
        # Made at the first check of all, not at the first for nobody: that one would take twice as long.
        self._nobodys = self._nobodys or self._hasher.hash("nobody's password")
        try:
            return self._hasher.verify(kept or self._nobodys, password) and kept is not None
        except (argon2.exceptions.VerifyMismatchError, argon2.exceptions.InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= _MAX_WAITING:
            raise ServiceError(
                "Too many people log in at this moment.",
                code=ErrorCode.SCHED_E_SERVICE_TOO_BUSY,
                advice="Try again in a few seconds.",
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
