"""Sessions are heard from logind on a real bus: who comes, goes and locks, and whether anybody is there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
from pathlib import Path
from typing import Any

from innkeeper.schedule.linux.logind import Logind
from innkeeper.schedule.model.enumerations import SessionStateChange as Change
from innkeeper.schedule.running.occasions import LoggedOn
from innkeeper.tasks.clock import FakeClock
from tests.schedule.linux.logind_object import FakeLogind, SessionObject, private_bus

UID = os.getuid()
ME = pwd.getpwuid(UID).pw_name


class Heard:
    """What the source has told of, to wait for."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    async def tell(self, occasion) -> None:
        self.queue.put_nowait(occasion)

    async def next(self):
        """The next occasion: ``logon`` or a change, and whose."""
        occasion = await asyncio.wait_for(self.queue.get(), 5)
        return ("logon" if isinstance(occasion, LoggedOn) else occasion.change), occasion.user


@contextlib.asynccontextmanager
async def listening(directory, *sessions: SessionObject):
    async with private_bus(directory) as address:
        logind = await FakeLogind.at(address)
        for session in sessions:
            logind.log_on(session)
        source = Logind(clock=FakeClock(), boot_id=lambda: "b1", address=address)
        heard = Heard()
        running = asyncio.create_task(source.run(heard.tell))
        try:
            await met(lambda: source.missing == "")
            yield source, logind, heard
        finally:
            running.cancel()
            await asyncio.wait([running])
            logind.bus.disconnect()


async def met(condition) -> None:
    deadline = asyncio.get_running_loop().time() + 5
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.005)


async def test_who_is_logged_on_already_is_told_with_a_key_of_the_session(tmp_path: Path) -> None:
    """So that a restart of the service starts nothing twice."""
    async with listening(tmp_path, SessionObject("7", UID, ME)) as (source, _, heard):
        occasion = await heard.queue.get()
        assert (occasion.key, occasion.user) == ("logon:b1:7", ME)
        assert await heard.next() == (Change.CONSOLE_CONNECT, ME)
        assert [session.tty for session in source.sessions] == ["pts/0"]


async def test_a_session_comes_locks_unlocks_leaves_and_ends(tmp_path: Path) -> None:
    """Each change is told once, as remote where the session is."""
    async with listening(tmp_path) as (source, logind, heard):
        session = logind.log_on(SessionObject("8", UID, ME, remote=True))
        assert [await heard.next(), await heard.next()] == [("logon", ME), (Change.REMOTE_CONNECT, ME)]
        logind.change(session, locked=True)
        assert await heard.next() == (Change.SESSION_LOCK, ME)
        session.Lock()
        logind.change(session, locked=False)
        assert await heard.next() == (Change.SESSION_UNLOCK, ME)
        logind.change(session, active=False)
        assert await heard.next() == (Change.REMOTE_DISCONNECT, ME)
        logind.change(session, active=True)
        assert await heard.next() == (Change.REMOTE_CONNECT, ME)
        logind.log_off(session)
        assert await heard.next() == (Change.REMOTE_DISCONNECT, ME)
        assert source.sessions == ()


async def test_greeters_are_no_people(tmp_path: Path) -> None:
    """A login screen is a session, and nobody has logged on."""
    async with listening(tmp_path, SessionObject("c1", UID, "gdm", kind="greeter")) as (
        source,
        logind,
        heard,
    ):
        logind.log_on(SessionObject("9", UID, ME))
        assert await heard.next() == ("logon", ME)
        assert len(source.sessions) == 1


async def test_the_idle_hint_is_followed(tmp_path: Path) -> None:
    """It says whether anybody does anything."""
    async with listening(tmp_path) as (source, logind, _):
        assert source.is_idle is False
        logind.set_idle(True)
        await met(lambda: source.is_idle is True)


async def test_a_logind_that_goes_is_missing(tmp_path: Path) -> None:
    """And what was known of it is not believed any more."""
    async with listening(tmp_path, SessionObject("7", UID, ME)) as (source, logind, _):
        logind.bus.disconnect()
        await met(lambda: "does not answer" in source.missing)
        assert (source.sessions, source.is_idle) == ((), None)


async def test_no_bus_is_said(tmp_path: Path) -> None:
    """A computer without systemd-logind says so."""
    source = Logind(clock=FakeClock(), boot_id=lambda: "", address=f"unix:path={tmp_path}/none")
    await source.run(Heard().tell)
    assert "system bus" in source.missing
    async with private_bus(tmp_path) as address:
        empty = Logind(clock=FakeClock(), boot_id=lambda: "", address=address)
        await empty.run(Heard().tell)
        assert "does not answer" in empty.missing
