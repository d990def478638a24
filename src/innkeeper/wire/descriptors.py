"""What a process does when it can open no file and no connection any more: it says so once, and goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import threading
import time

import structlog

_log = structlog.get_logger(__name__)

_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE})
#: What was said is not said again in this time, while it lasts or where it comes back.
_QUIET_SECONDS = 60.0
#: Between two tries to accept, where not even one who waits can be turned away.
_PAUSE_SECONDS = 0.5
#: How much of what a caller has sent already is taken before they are turned away.
_HEAD_BYTES = 65536


def is_shortage(error: BaseException) -> bool:
    """Return whether an error came of a limit on open files, be it behind errors of ours."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        if isinstance(at, OSError) and at.errno in _SHORTAGES:
            return True
        seen.add(id(at))
        at = at.__cause__ or at.__context__
    return False


class _Told:
    """When the shortage was last told of."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._at = -_QUIET_SECONDS

    def tell(self) -> None:
        """Log what is wrong and what to do, unless that was done shortly before."""
        now = time.monotonic()
        with self._guard:
            is_news, self._at = now - self._at >= _QUIET_SECONDS, now
        if is_news:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            _log.error(
                "out_of_descriptors",
                limit=limit,
                advice="Callers are turned away, and work waits, until files are closed. Raise the limit "
                "(LimitNOFILE= of the unit, ulimit -n), or see who holds so many connections: ss -x, ss -t",
            )


_told = _Told()


def tell_shortage() -> None:
    """Log that no more files can be opened, once for as long as that lasts."""
    _told.tell()


class Door(socket.socket):
    """A listening socket that turns callers away while no descriptor is left for them.

    The interpreter's loop would log a line for each caller whom it tries to accept, a hundred at a time.
    """

    def __init__(self, listening: socket.socket, farewell: bytes = b"") -> None:
        """``farewell`` is what they are told; the given socket stays its owner's."""
        super().__init__(fileno=os.dup(listening.fileno()))
        self._farewell = farewell
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._pause_until = 0.0

    def accept(self) -> tuple[socket.socket, object]:
        """Return the next caller, or raise ``BlockingIOError`` where there is none, or none that can stay."""
        if time.monotonic() < self._pause_until:
            # The loop has been told, and comes back when it has waited.
            raise BlockingIOError(errno.EAGAIN, "no descriptors")
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise
            tell_shortage()
            if not self._turn_away():
                self._pause_until = time.monotonic() + _PAUSE_SECONDS
                raise
            raise BlockingIOError(errno.EAGAIN, "turned away") from error

    def close(self) -> None:
        """Stop listening."""
        super().close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _turn_away(self) -> bool:
        """Admit a caller by the descriptor that is kept for that, only to say no; whether there was one."""
        if self._spare is None:
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        if self._spare is None:
            return False
        os.close(self._spare)
        self._spare = None
        with contextlib.suppress(OSError):
            caller, _ = super().accept()
            with caller, contextlib.suppress(OSError):
                caller.setblocking(False)
                if self._farewell:
                    caller.send(self._farewell)
                    # What was not read when a socket closes takes back what was sent.
                    caller.recv(_HEAD_BYTES)
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return True
