"""Messages reach terminals and desktops of who is logged on, and command neither."""
# ruff: noqa: F722, F821  # signatures of D-Bus are no types

from __future__ import annotations

import asyncio
import os
import pwd
import struct
from pathlib import Path
from typing import Any

import pytest
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method

from innkeeper.errors import ErrorCode
from innkeeper.schedule.linux.logind import Session
from innkeeper.schedule.linux.terminals import Terminals, shown
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType
from tests.schedule.house import House
from tests.schedule.linux.logind_object import private_bus

ME = pwd.getpwuid(os.getuid()).pw_name
ENTRY = struct.Struct("hi32s4s32s256shhiii4i20s")


def entry(user: str, line: str, kind: int = 7) -> bytes:
    return ENTRY.pack(kind, 1, line.encode(), b"", user.encode(), b"", 0, 0, 0, 0, 0, 0, 0, 0, 0, b"")


@pytest.fixture
def terminal():
    """A real terminal; its name below /dev, and where what is written to it comes out."""
    ours, theirs = os.openpty()
    yield os.ttyname(theirs).removeprefix("/dev/"), ours
    os.close(ours)
    os.close(theirs)


def terminals(tmp_path: Path, *entries: bytes, sessions=()) -> Terminals:
    (tmp_path / "utmp").write_bytes(b"".join(entries))
    return Terminals(lambda: sessions, utmp=tmp_path / "utmp", runtime=tmp_path)


async def test_a_message_is_written_to_each_terminal_once(tmp_path: Path, terminal: tuple[str, int]) -> None:
    """By utmp or by logind; those of others, and what is no terminal, are passed over."""
    line, ours = terminal
    place = terminals(
        tmp_path,
        entry(ME, line),
        entry("root", line),
        entry(ME, line, kind=8),
        entry(ME, "../etc/passwd"),
        entry(ME, "null"),
        b"cut",
        sessions=[Session(id="1", user=ME, tty=line)],
    )
    assert await place.show("Night", "The house\nsleeps.", None) == 1
    text = os.read(ours, 1000).decode()
    assert "Message from Innkeeper: Night" in text
    assert "  The house\r" in text
    assert "  sleeps." in text
    assert await place.show("", "x", "somebody") == 0


def test_a_message_commands_no_terminal() -> None:
    """Escapes and controls are spaces; the one bell is ours."""
    text = shown("a\x1b]0;title\x07", "b\x1b[2J\r\x9bc").decode()
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert text.count("\a") == 1


async def test_nobody_logged_on_is_an_error(tmp_path: Path) -> None:
    """0x80041320: a message that nobody has seen is not done."""
    house = House()
    house.instances._messages = terminals(tmp_path)
    await house.tasks.launch()
    definition = TaskDefinition.new()
    definition.actions.create(ActionType.SHOW_MESSAGE).message_body = "hello"
    run = await house.ended(await house.scheduler.start(await house.register(definition)))
    assert run.result == ErrorCode.SCHED_E_USER_NOT_LOGGED_ON
    await house.tasks.close()


class Notifications(ServiceInterface):
    """A desktop that shows notifications."""

    def __init__(self) -> None:
        super().__init__("org.freedesktop.Notifications")
        self.seen: asyncio.Queue[Any] = asyncio.Queue()

    @dbus_method()
    def Notify(  # noqa: N802  # the documented name
        self,
        app: s,
        replaces: u,
        icon: s,
        title: s,
        body: s,
        actions: "as",
        hints: "a{sv}",
        expires: i,
    ) -> u:
        self.seen.put_nowait((app, title, body))
        return 1


async def test_a_desktop_shows_it_where_the_user_has_a_bus(tmp_path: Path) -> None:
    """On a real bus, at the place where systemd puts it."""
    (tmp_path / str(os.getuid())).mkdir()
    place = terminals(tmp_path, sessions=[Session(id="1", user=ME)])
    async with private_bus(tmp_path / str(os.getuid())) as address:
        bus = await MessageBus(bus_address=address).connect()
        desktop = Notifications()
        bus.export("/org/freedesktop/Notifications", desktop)
        await bus.request_name("org.freedesktop.Notifications")
        assert await place.show("Night", "-1 machine", None) == 1
        assert await asyncio.wait_for(desktop.seen.get(), 5) == ("Innkeeper", "Night", "-1 machine")
        bus.disconnect()
