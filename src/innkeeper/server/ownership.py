"""Lock on a state directory: one service at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from innkeeper.errors import ErrorCode, InvalidArgument, ServiceError


@contextlib.contextmanager
def owned(state_dir: Path) -> Iterator[None]:
    """Lock the directory, creating it where missing. The lock ends with the process.

    Raises ``ServiceError`` naming the process that owns it already.
    """
    lock = _opened(state_dir)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _taken(state_dir, os.pread(lock, 32, 0).decode().strip()) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def _opened(state_dir: Path) -> int:
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(state_dir / "service.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidArgument(
            f"The state directory {state_dir} cannot be used: {error.strerror}.",
            code=ErrorCode.ERROR_PATH_NOT_FOUND,
            advice="Name one that you may write to, with --state-dir or INNKEEPER_STATE_DIR.",
        ) from error


def _taken(state_dir: Path, pid: str) -> ServiceError:
    return ServiceError(
        f"The state directory {state_dir} is in use by another Innkeeper "
        f"service, process {pid or 'unknown'}.",
        code=ErrorCode.ERROR_SHARING_VIOLATION,
        advice=f"Use that one, stop it (kill {pid or 'PID'}), or name another directory with --state-dir.",
    )
