"""Run a program for an action: in a group of its own, as its user, and never through a shell."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pwd
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

from innkeeper.errors import ErrorCode, NotPermitted, ScheduleError
from innkeeper.schedule.child import Child, spawn

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


class Running:
    """A program that has been started, and all that it has started itself."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        """``EnginePID``: the group's first process."""
        return self._child.pid

    async def wait(self) -> int:
        """Its exit code, once it has ended and all its output is read; 128 + n for a signal n."""
        return await self._child.wait()

    async def stop(self, *, kill: bool) -> None:
        """Ask the group to end, and where it does not in time, and ``kill`` allows it, end it."""
        self._child.signal(signal.SIGTERM)
        if not await self._child.ends_within(GRACE_SECONDS) and kill:
            self._child.signal(signal.SIGKILL)


async def start(program: Program, on_line: OnLine, on_start: Callable[[], None] = lambda: None) -> Running:
    """Start a program; each line it prints goes to ``on_line``; ``on_start`` is called once it runs.

    Raises ``ScheduleError`` where there is no such program or account, ``NotPermitted`` where the service
    may not run programs as that user.
    """
    argv, options = await _options_of(program)
    try:
        child = await spawn(argv, on_line, on_start, **options)
    except OSError as problem:
        raise ScheduleError(
            f"{program.argv[0]} cannot be started: {problem.strerror}.",
            code=_code(problem),
            advice="See that the program and its directory are there, and that the user may run it.",
            node="Command",
            value=program.argv[0],
        ) from problem
    return Running(child)


class _Options(TypedDict, total=False):
    """What a program is started with."""

    cwd: str
    env: dict[str, str]
    user: int
    group: int
    extra_groups: list[int]


async def _options_of(program: Program) -> tuple[list[str], _Options]:
    """What starting needs, looked up once where it is always the same."""
    if program.user is not None or program.directory is not None:
        return await asyncio.to_thread(_options, program)
    if not _own:
        scope, options = await asyncio.to_thread(_options, Program(argv=()))
        _own.append((scope, options))
    scope, options = _own[0]
    return [*scope, *program.argv], options


#: How a program of the service's own account is started, in its home: once it has been looked up.
_own: list[tuple[list[str], _Options]] = []


def _options(program: Program) -> tuple[list[str], _Options]:
    """Look up all that starting needs: the account, its home, systemd. Blocks."""
    account = _account(program.user)
    options: _Options = {
        "cwd": program.directory or _home(account),
        "env": _environment(account),
    }
    if account.pw_uid != os.geteuid():
        options["user"], options["group"] = account.pw_uid, account.pw_gid
        options["extra_groups"] = os.getgrouplist(account.pw_name, account.pw_gid)
    return [*_scope(), *program.argv], options


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


def _scope() -> list[str]:
    """Where systemd runs and root asks, the program gets a scope, so that its whole tree is one."""
    if os.geteuid() == 0 and _SYSTEMD.is_dir():
        return ["systemd-run", "--scope", "--quiet", "--collect", "--"]
    return []


def _code(problem: OSError) -> ErrorCode:
    if isinstance(problem, FileNotFoundError | NotADirectoryError):
        return ErrorCode.ERROR_FILE_NOT_FOUND
    return ErrorCode.E_ACCESSDENIED if isinstance(problem, PermissionError) else ErrorCode.E_FAIL
