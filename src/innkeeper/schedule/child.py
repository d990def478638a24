"""Hold a child process on the event loop: its end through a pidfd, its output through a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from innkeeper.schedule import spawning

_LONGEST_LINE: Final = 64 << 10
#: A child of its child may hold the pipe open: its output is not worth waiting for any longer.
_LINGER_SECONDS: Final = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Begun:
    """A process that has just begun."""

    pid: int
    #: Its exit code, once it has ended; asked for once.
    code: Callable[[], int]
    #: Readable once it has ended.
    pidfd: int
    #: What it prints: the end of a pipe, which does not block.
    output: int


class Child:
    """A process, and the lines that it prints.

    The interpreter's own subprocesses on a loop take a thread or several wake-ups for each; here a start
    costs one turn of a thread that is there, and an end two wake-ups.
    """

    def __init__(self, begun: _Begun, on_line: Callable[[str], None]) -> None:
        self._begun = begun
        self._on_line = on_line
        self._rest = b""
        self._loop = loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = loop.create_future()
        self._drained: asyncio.Future[None] = loop.create_future()
        loop.add_reader(begun.output, self._read)
        loop.add_reader(begun.pidfd, self._end)

    @property
    def pid(self) -> int:
        """The first process of its group."""
        return self._begun.pid

    async def wait(self) -> int:
        """Its exit code, once it has ended and its output is read; 128 + n for a signal n."""
        code = await asyncio.shield(self._ended)
        if not self._drained.done():
            await asyncio.wait([self._drained], timeout=_LINGER_SECONDS)
            self._close_pipe()
        return code if code >= 0 else 128 - code

    async def ends_within(self, seconds: float) -> bool:
        """Whether it ended in time."""
        await asyncio.wait([self._ended], timeout=seconds)
        return self._ended.done()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its whole group. Does nothing where it has gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._begun.pid, number)

    def _end(self) -> None:
        self._loop.remove_reader(self._begun.pidfd)
        os.close(self._begun.pidfd)
        self._ended.set_result(self._begun.code())

    def _read(self) -> None:
        try:
            data = os.read(self._begun.output, _LONGEST_LINE)
        except BlockingIOError:
            return
        if data:
            self._take(data)
        else:
            self._close_pipe()

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest[:_LONGEST_LINE])
            self._rest = self._rest[_LONGEST_LINE:]
        for line in lines:
            self._on_line(line.decode(errors="replace").rstrip("\r"))

    def _close_pipe(self) -> None:
        if self._drained.done():
            return
        if self._rest:
            self._on_line(self._rest.decode(errors="replace").rstrip("\r"))
        self._loop.remove_reader(self._begun.output)
        os.close(self._begun.output)
        self._drained.set_result(None)


async def spawn(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    on_start: Callable[[], None],
    *,
    sign: bytes | None,
    cwd: str,
    env: Mapping[str, str],
    **options: object,
) -> Child:
    """Start a process in a session of its own; ``on_start`` is called, in any thread, once it runs.

    ``sign`` is a file that it makes by itself before, where this computer can do that and it is to run as
    the service's own user. Raises ``OSError``. Where the caller is cancelled meanwhile, it is ended again.
    """
    signed = sign if not options and spawning.library() is not None else None

    def begin() -> _Begun:
        begun = _begin(argv, signed, cwd=cwd, env=env, **options)
        on_start()
        return begun

    beginning = asyncio.get_running_loop().run_in_executor(_SPAWNERS, begin)
    try:
        begun = await asyncio.shield(beginning)
    except asyncio.CancelledError:
        Child(await beginning, on_line).signal(signal.SIGKILL)
        raise
    return Child(begun, on_line)


def _begin(
    argv: Sequence[str], sign: bytes | None, *, cwd: str, env: Mapping[str, str], **options: object
) -> _Begun:
    output, writing = os.pipe2(os.O_CLOEXEC)
    try:
        os.set_blocking(output, False)
        if sign is None:
            pid, code = _by_the_interpreter(argv, writing, cwd=cwd, env=env, **options)
        else:
            pid, code = _by_the_library(argv, writing, cwd, env, sign)
        return _Begun(pid=pid, code=code, pidfd=_pidfd(pid, code), output=output)
    except BaseException:
        os.close(output)
        raise
    finally:
        os.close(writing)


def _by_the_interpreter(
    argv: Sequence[str], output: int, **options: object
) -> tuple[int, Callable[[], int]]:
    process = subprocess.Popen(  # type: ignore[call-overload]  # its options are those of Popen
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )
    return process.pid, process.wait


def _by_the_library(
    argv: Sequence[str], output: int, directory: str, environment: Mapping[str, str], sign: bytes
) -> tuple[int, Callable[[], int]]:
    pid = spawning.spawn(argv, output=output, directory=directory, environment=environment, sign=sign)
    return pid, lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _pidfd(pid: int, code: Callable[[], int]) -> int:
    """What tells of its end; where there is none to be had, it is ended: nobody could stop it later."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.killpg(pid, signal.SIGKILL)
        code()
        raise


#: A start waits for the new program's file: not on the loop, and not behind more than a few others.
_SPAWNERS: Final = ThreadPoolExecutor(4, thread_name_prefix="innkeeper-spawn")
