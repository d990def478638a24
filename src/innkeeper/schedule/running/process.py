"""Run a program for an action: in a group of its own, as its user, and never through a shell."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pwd
import secrets
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

from innkeeper.errors import ErrorCode, NotPermitted, ScheduleError
from innkeeper.schedule.running.child import Child, spawn

#: How long a program that was asked to stop may take before it is killed.
GRACE_SECONDS = 10.0
_SYSTEMD = Path("/run/systemd/system")
#: What a program is given of the world, whoever started the service.
_SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

OnLine = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What to run."""

    argv: Sequence[str]
    directory: str | None = None
    #: As whom; the service's own user where ``None``.
    user: str | None = None
    #: 0 (highest) to 10 (lowest), as documented; what other programs have is 4 to 6.
    priority: int = 5


class Running:
    """A program that has been started, and all that it has started itself."""

    def __init__(self, child: Child, scope: str = "") -> None:
        self._child = child
        self._scope = scope

    @property
    def pid(self) -> int:
        """``EnginePID``: the group's first process."""
        return self._child.pid

    async def wait(self) -> int:
        """Return the exit code once the process has ended and all output is read; 128 + n for a signal n."""
        return await self._child.wait()

    async def stop(self, *, kill: bool) -> None:
        """Ask the group to end, and where it does not in time, and ``kill`` allows it, end it.

        Where it has a scope, all that is in the scope is asked and ended, whatever group it has made.
        """
        await self._signal(signal.SIGTERM)
        # What stands still hears nothing until it goes on.
        await self._signal(signal.SIGCONT)
        if not await self._child.ends_within(GRACE_SECONDS) and kill:
            await self._signal(signal.SIGKILL)

    async def pause(self) -> None:
        """Stop the process (SIGSTOP)."""
        await self._signal(signal.SIGSTOP)

    async def resume(self) -> None:
        """Continue the process (SIGCONT)."""
        await self._signal(signal.SIGCONT)

    async def _signal(self, number: signal.Signals) -> None:
        self._child.signal(number)
        if self._scope:
            command = ("systemctl", "kill", f"--signal={number.name}", "--", self._scope)
            asking = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
            await asking.wait()


async def start(
    program: Program,
    on_line: OnLine,
    on_start: Callable[[], None] = lambda: None,
    sign: bytes | None = None,
) -> Running:
    """Start a program; each line it prints goes to ``on_line``; ``on_start`` is called once it runs.

    It makes the file ``sign`` by itself before, where that can be (see ``child.spawn``).

    Raises ``ScheduleError`` where there is no such program or account, ``NotPermitted`` where the service
    may not run programs as that user.
    """
    argv, options, scope = await _options_of(program)
    try:
        child = await spawn(argv, on_line, on_start, sign=sign, **options)
    except OSError as problem:
        raise ScheduleError(
            f"{program.argv[0]} cannot be started: {problem.strerror}.",
            code=_code(problem),
            advice="See that the program and its directory are there, and that the user may run it.",
            node="Command",
            value=program.argv[0],
        ) from problem
    if program.priority not in _USUAL:
        _prioritise(child.pid, program.priority, on_line)
    return Running(child, scope)


async def read_file(path: str, *, user: str | None, most_bytes: int) -> bytes:
    """Read a file as a user may. Raises ``ScheduleError`` where they may not, or it is not there."""
    if user is None or pwd.getpwnam(user).pw_uid == os.geteuid():
        return await asyncio.to_thread(_read, path, most_bytes)
    _, options, _ = await _options_of(Program(argv=(), user=user))
    reading = await asyncio.create_subprocess_exec(
        *("head", f"--bytes={most_bytes}", "--", path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        **{**options, "cwd": "/"},  # type: ignore[arg-type]  # its options are those of Popen
    )
    data, message = await reading.communicate()
    if reading.returncode:
        raise _unread(path, message.decode(errors="replace").strip().rpartition(": ")[2])
    return data


def _read(path: str, most_bytes: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(most_bytes)
    except OSError as problem:
        raise _unread(path, problem.strerror or "") from problem


def _unread(path: str, words: str) -> ScheduleError:
    return ScheduleError(
        f"{path} cannot be read: {words}.",
        code=ErrorCode.ERROR_FILE_NOT_FOUND,
        advice="Name a file that is there and that the task's user may read.",
        node="File",
        value=path,
    )


#: Priorities with which other programs run too.
_USUAL = frozenset({4, 5, 6})
#: How nice a program of each priority is.
_NICENESS = {0: -15, 1: -10, 2: -5, 3: -5, 7: 5, 8: 5, 9: 10, 10: 19}
_LOWEST = 10


def _prioritise(pid: int, priority: int, on_line: OnLine) -> None:
    """Give a program its priority; for the disk the kernel takes the same. What it forks has it too."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, _NICENESS[priority])
        if priority == _LOWEST:
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    except ProcessLookupError:
        return  # it has ended
    except PermissionError:
        on_line(f"innkeeper: priority {priority} takes root; the program runs as others do")


class _Options(TypedDict, total=False):
    """What a program is started with."""

    cwd: str
    env: dict[str, str]
    user: int
    group: int
    extra_groups: list[int]


async def _options_of(program: Program) -> tuple[list[str], _Options, str]:
    """What starting needs, looked up once where it is always the same."""
    if program.directory is not None:
        return await asyncio.to_thread(_options, program)
    if not _own:
        _own.append(await asyncio.to_thread(_options, Program(argv=())))
    start, options, scope = _own[0]
    if scope or program.user not in (None, options["env"]["USER"]):
        return await asyncio.to_thread(_options, program)
    return [*start, *program.argv], options, scope


#: How a program of the service's own account is started, in its home: once it has been looked up.
_own: list[tuple[list[str], _Options, str]] = []


def _options(program: Program) -> tuple[list[str], _Options, str]:
    """Look up all that starting needs: the account, its home, systemd. Blocks."""
    account = _account(program.user)
    options: _Options = {
        "cwd": program.directory or _home(account),
        "env": _environment(account),
    }
    is_other = account.pw_uid != os.geteuid()
    if has_scopes():
        scope = f"innkeeper-{secrets.token_hex(8)}.scope"
        become = _becoming(account) if is_other else []
        return [*_scoped(scope), *become, *program.argv], options, scope
    if is_other:
        options["user"], options["group"] = account.pw_uid, account.pw_gid
        options["extra_groups"] = os.getgrouplist(account.pw_name, account.pw_gid)
    return list(program.argv), options, ""


def _account(name: str | None) -> pwd.struct_passwd:
    if name is None:
        return pwd.getpwuid(os.geteuid())
    try:
        account = pwd.getpwnam(name)
    except KeyError as problem:
        raise ScheduleError(
            f"There is no account {name!r} on this computer.",
            code=ErrorCode.ERROR_NONE_MAPPED,
            node="UserId",
            value=name,
        ) from problem
    if account.pw_uid != os.geteuid() and os.geteuid() != 0:
        raise NotPermitted(
            f"The service cannot run programs as {name}: it is not root.",
            advice="Let the task run as the service's own user, or run the service as root.",
        )
    return account


def _home(account: pwd.struct_passwd) -> str:
    return account.pw_dir if Path(account.pw_dir).is_dir() else "/"


def _environment(account: pwd.struct_passwd) -> dict[str, str]:
    return {
        "PATH": _SAFE_PATH,
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "LANG": os.environ.get("LANG", "C.UTF-8"),
    }


def has_scopes() -> bool:
    """Whether programs get scopes: where systemd runs, root can ask for them. Blocks for a moment."""
    return os.geteuid() == 0 and _SYSTEMD.is_dir()


def _scoped(scope: str) -> list[str]:
    """What gives a program a scope of its own, so that its whole tree is one. It becomes the program."""
    return ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={scope}", "--"]


def _becoming(account: pwd.struct_passwd) -> list[str]:
    """What becomes a user with all their groups: only root can ask systemd for a scope, so it comes after."""
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups", "--"]


def _code(problem: OSError) -> ErrorCode:
    if isinstance(problem, FileNotFoundError | NotADirectoryError):
        return ErrorCode.ERROR_FILE_NOT_FOUND
    return ErrorCode.E_ACCESSDENIED if isinstance(problem, PermissionError) else ErrorCode.E_FAIL
