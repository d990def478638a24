"""Messages to people who are logged on: on their terminals and desktops."""

from __future__ import annotations

import asyncio
import os
import pwd
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from innkeeper.errors import InnkeeperError
from innkeeper.schedule.linux.logind import Session
from innkeeper.schedule.running import process
from innkeeper.schedule.running.process import Program

_UTMP: Final = Path("/run/utmp")
_DEVICES: Final = Path("/dev")
_RUNTIME: Final = Path("/run/user")
#: One entry of utmp(5): type, pid, line, id, user, host, exit, session, time, address.
_ENTRY: Final = struct.Struct("hi32s4s32s256shhiii4i20s")
_USER_PROCESS: Final = 7
_LONGEST: Final = 4000
#: How long a desktop may take to show it.
_TIMEOUT_SECONDS: Final = 5.0


class Terminals:
    """The terminals and desktops of who is logged on (``Messages``)."""

    def __init__(
        self,
        sessions: Callable[[], Iterable[Session]] = tuple,
        *,
        utmp: Path = _UTMP,
        devices: Path = _DEVICES,
        runtime: Path = _RUNTIME,
    ) -> None:
        """``sessions`` are those of logind."""
        self._sessions = sessions
        self._utmp = utmp
        self._devices = devices
        self._runtime = runtime

    async def show(self, title: str, body: str, user: str | None) -> int:
        """Show a message to a user, or to everybody; returns on how many terminals and desktops."""
        places = {(each.user, each.tty) for each in self._sessions() if each.tty}
        places |= set(await asyncio.to_thread(self._logged_on))
        wanted = [(name, line) for name, line in sorted(places) if user in (None, name)]
        words = shown(title, body)
        written = [await asyncio.to_thread(self._write, name, line, words) for name, line in wanted]
        users = {each.user for each in self._sessions()} | {name for name, _ in places}
        notified = [await self._notify(name, title, body) for name in sorted(users) if user in (None, name)]
        return sum(written) + sum(notified)

    def _logged_on(self) -> list[tuple[str, str]]:
        """Return who is on which terminal, by utmp."""
        try:
            data = self._utmp.read_bytes()
        except OSError:
            return []
        found = []
        for place in range(0, len(data) - _ENTRY.size + 1, _ENTRY.size):
            kind, _, line, _, name, *_ = _ENTRY.unpack_from(data, place)
            if kind == _USER_PROCESS:
                found.append((_text(name), _text(line)))
        return found

    def _write(self, user: str, line: str, words: bytes) -> bool:
        """Write to a terminal of the user. One that would block, or is none, is passed over."""
        path = self._devices / line
        if not line or ".." in line or line.startswith("/"):
            return False
        try:
            file = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if not os.isatty(file) or os.fstat(file).st_uid != pwd.getpwnam(user).pw_uid:
                return False
            os.write(file, words)
        except (OSError, KeyError):
            return False
        finally:
            os.close(file)
        return True

    async def _notify(self, user: str, title: str, body: str) -> bool:
        """Show the message on the user's desktop, where it has a bus and shows notifications."""
        bus = await asyncio.to_thread(self._bus, user)
        if bus is None:
            return False
        call = ["org.freedesktop.Notifications", "/org/freedesktop/Notifications"]
        call += ["org.freedesktop.Notifications", "Notify", "susssasa{sv}i"]
        values = ["Innkeeper", "0", "", _clean(title) or "Innkeeper", _clean(body), "0", "0", "-1"]
        program = Program(
            argv=["busctl", f"--address=unix:path={bus}", "call", "--", *call, *values], user=user
        )
        try:
            running = await process.start(program, lambda line: None)
            return await asyncio.wait_for(running.wait(), _TIMEOUT_SECONDS) == 0
        except (InnkeeperError, TimeoutError):
            return False

    def _bus(self, user: str) -> Path | None:
        try:
            path = self._runtime / str(pwd.getpwnam(user).pw_uid) / "bus"
            return path if path.is_socket() else None
        except (KeyError, OSError):
            return None


def shown(title: str, body: str) -> bytes:
    """Return what a terminal is sent: the bell, a frame, and none of the message's control characters."""
    head = f"Message from Innkeeper: {_clean(title)}" if title else "Message from Innkeeper"
    lines = [head, "", *_clean(body).splitlines()]
    return ("\r\n\a" + "".join(f"  {line}\r\n" for line in lines) + "\r\n").encode(errors="replace")


def _clean(text: str) -> str:
    """The text without what could command a terminal."""
    return "".join(letter if letter == "\n" or letter.isprintable() else " " for letter in text[:_LONGEST])


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="replace")
