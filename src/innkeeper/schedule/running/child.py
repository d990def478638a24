"""Child processes on the event loop: output through a pipe, end by pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from innkeeper.schedule.running import spawning

_LONGEST_LINE: Final = 64 << 10
#: A child of its child may hold the pipe open: its output is not worth waiting for any longer.
_LINGER_SECONDS: Final = 1.0
#: Most programs that end sooner have closed their output by that: a pidfd is not worth its calls.
_SHORT_SECONDS: Final = 0.05
#: Between two looks at a process for which no pidfd is to be had.
_LOOK_SECONDS: Final = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Begun:
    """A process that has just begun."""

    pid: int
    #: Its exit code, once it has ended: asked for until there is one.
    code: Callable[[], int | None]
    #: What it prints: the end of a pipe, which does not block.
    output: int


class Child:
    """A process, and the lines that it prints.

    The interpreter's own subprocesses on a loop take a thread or several wake-ups for each; here a start
    costs one turn of a thread that is there, and the end of a short program one wake-up.
    """

    def __init__(self, begun: _Begun, on_line: Callable[[str], None]) -> None:
        self._begun = begun
        self._on_line = on_line
        self._rest = b""
        self._loop = loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = loop.create_future()
        self._drained: asyncio.Future[None] = loop.create_future()
        self._pidfd: int | None = None
        loop.add_reader(begun.output, self._read)
        self._watching = loop.call_later(_SHORT_SECONDS, self._watch)

    @property
    def pid(self) -> int:
        """The first process of its group."""
        return self._begun.pid

    async def wait(self) -> int:
        """Return the exit code, once the process has ended and its output is read; 128 + n for a signal n."""
        code = await asyncio.shield(self._ended)
        if not self._drained.done():
            await asyncio.wait([self._drained], timeout=_LINGER_SECONDS)
            self._close_pipe()
        return code if code >= 0 else 128 - code

    async def ends_within(self, seconds: float) -> bool:
        """Whether the process ends within the time."""
        await asyncio.wait([self._ended], timeout=seconds)
        return self._ended.done()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group. Does nothing where it has gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._begun.pid, number)

    def _look(self) -> bool:
        """Whether the process has ended."""
        if self._ended.done():
            return True
        code = self._begun.code()
        if code is None:
            return False
        self._watching.cancel()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._ended.set_result(code)
        return True

    def _watch(self) -> None:
        """Watch for the process's end, though others may hold its output open."""
        self._watching.cancel()
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:  # too many files are open
            if not self._look():
                self._watching = self._loop.call_later(_LOOK_SECONDS, self._watch)
        else:
            self._loop.add_reader(self._pidfd, self._look)

    def _read(self) -> None:
        try:
            data = os.read(self._begun.output, _LONGEST_LINE)
        except BlockingIOError:
            return
        if data:
            self._take(data)
            return
        self._close_pipe()
        # A process closes its files just before it has ended.
        if self._pidfd is None and not self._look():
            self._watch()

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
    signed = sign if not options and spawning.c_library() is not None else None

    def begin() -> _Begun:
        begun = _begin(argv, signed, cwd=cwd, env=env, **options)
        on_start()
        return begun

    beginning = _SPAWNERS.submit(begin)
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
        return _Begun(pid=pid, code=code, output=output)
    except BaseException:
        os.close(output)
        raise
    finally:
        os.close(writing)


def _by_the_interpreter(
    argv: Sequence[str], output: int, **options: object
) -> tuple[int, Callable[[], int | None]]:
    process = subprocess.Popen(  # type: ignore[call-overload]  # its options are those of Popen
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )
    return process.pid, process.poll


def _by_the_library(
    argv: Sequence[str], output: int, directory: str, environment: Mapping[str, str], sign: bytes
) -> tuple[int, Callable[[], int | None]]:
    pid = spawning.spawn(argv, output=output, directory=directory, environment=environment, sign=sign)

    def code() -> int | None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None

    return pid, code


#: How a program is started, and where to say so.
_Asked = tuple[Callable[[], _Begun], asyncio.Future[_Begun]]


class _Spawners:
    """Threads that start programs, since opening a program's file can block.

    An executor of the library's costs a quarter of a short program, for what is not needed here.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads: list[threading.Thread] = []
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()

    def submit(self, begin: Callable[[], _Begun]) -> asyncio.Future[_Begun]:
        """Start a program in a thread; the future is the running loop's."""
        begun: asyncio.Future[_Begun] = asyncio.get_running_loop().create_future()
        self._asked.put((begin, begun))
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._serve, name="innkeeper-spawn", daemon=True)
            self._threads.append(thread)
            thread.start()
        return begun

    def _serve(self) -> None:
        while True:
            begin, begun = self._asked.get()
            settle: Callable[[], None]
            try:
                settle = functools.partial(begun.set_result, begin())
            except Exception as problem:  # it is for who asked
                settle = functools.partial(begun.set_exception, problem)
            with contextlib.suppress(RuntimeError):  # the loop has gone, and nobody waits
                begun.get_loop().call_soon_threadsafe(settle)


#: Not behind more than a few others whose files are slow to come.
_SPAWNERS: Final = _Spawners(4)
