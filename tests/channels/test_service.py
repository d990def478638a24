"""Channels by their documented rules, on a clock that the test holds."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from innkeeper.channels.channel import ChannelState, MachineStanding, MemoryChannelStore, Standing
from innkeeper.channels.pipe_name import MAX_CHARS, MAX_SOCKET_PATH_BYTES, PREFIX, parse_pipe_name
from innkeeper.channels.service import MAX_CHANNELS_OF_MACHINE, Channels, Needs
from innkeeper.errors import ErrorCode, InnkeeperError, MachineNotFound
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.frames import FrameKind, encode
from innkeeper.wire.states import MachineState
from innkeeper.wire.streams import WINDOW_BYTES
from tests.channels.rig import Inn, greeting, inn_of

PIPE = rf"{PREFIX}web-1-psql"


_STATES = {
    Standing.RUNNING: MachineState.RUNNING,
    Standing.RESTING: MachineState.PAUSED,
    Standing.OFF: MachineState.TURNED_OFF,
}


class House:
    """Channels over guests in memory."""

    def __init__(self, inn: Inn, directory: Path) -> None:
        self.inn = inn
        self.guest = inn.guests["web-1"]
        self.guest.greeting = {**greeting(), "channels": 128}
        self.guest.answer = {"allowed": True}
        self.directory = directory
        self.store = MemoryChannelStore()
        self.standing = Standing.RUNNING
        self.is_there = True
        self.user_ids = {"ana": os.getuid()}
        self.channels = self.new_channels()

    def new_channels(self) -> Channels:
        """The channels of another life of the service."""
        return Channels(
            Needs(
                agents=self.inn.agents,
                look_at=self._look_at,
                store=self.store,
                clock=self.inn.clock,
                publish=self.inn.events.append,
                directory=self.directory,
                server="here",
                user_id=self.user_ids.get,
            )
        )

    async def start(self, **changed: object) -> ChannelState:
        """Open a channel, with some arguments changed, as time goes on."""
        arguments: dict[str, object] = {
            "host_endpoint_type": 0,
            "pipe_name": PIPE,
            "guest_endpoint_type": 1,
            "guest_port": "5432",
            "owner": "ana",
        }
        arguments.update(changed)
        machine = arguments.pop("machine", "web-1")
        starting = asyncio.create_task(self.channels.start(machine, **arguments))  # type: ignore[arg-type]
        for _ in range(20):
            await self.inn.clock.advance(0.5)
            if starting.done():
                break
        return await starting

    async def _look_at(self, machine: str) -> MachineStanding:
        if machine.casefold() != "web-1" or not self.is_there:
            raise MachineNotFound(f"There is no machine “{machine}”.", machine=machine)
        return MachineStanding(
            machine="web-1", key="web-1", standing=self.standing, state=_STATES[self.standing]
        )


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """An inn with the machine web-1 and no channel."""
    directory = Path(tempfile.mkdtemp(prefix="ch-", dir="/tmp"))
    async with inn_of("web-1") as inn:
        house = House(inn, directory / "pipes")
        await house.channels.open()
        try:
            yield house
        finally:
            await house.channels.close()
            shutil.rmtree(directory, ignore_errors=True)


def _silent(house: House) -> None:
    house.guest.answers = False


def _of_another_version(house: House) -> None:
    house.guest.greeting = {**greeting(), "protocol": 2}


def _of_before_channels(house: House) -> None:
    house.guest.greeting = greeting()


def _without_a_port(house: House) -> None:
    del house.inn.guests["web-1"]
    house.inn.port_error = ErrorCode.E_HANDLE


def _closed_port(house: House) -> None:
    house.guest.answer = {"allowed": False}


def _paused(house: House) -> None:
    house.standing = Standing.RESTING


def _off(house: House) -> None:
    house.standing = Standing.OFF


BAD_ARGUMENTS = [
    ({"pipe_name": None}, ErrorCode.E_POINTER),
    ({"guest_port": None}, ErrorCode.E_POINTER),
    ({"host_endpoint_type": None}, ErrorCode.E_POINTER),
    ({"guest_endpoint_type": None}, ErrorCode.E_POINTER),
    ({"host_endpoint_type": 1}, ErrorCode.E_INVALIDARG),
    ({"guest_endpoint_type": 0}, ErrorCode.E_INVALIDARG),
    ({"host_endpoint_type": 7}, ErrorCode.E_INVALIDARG),
    ({"pipe_name": ""}, ErrorCode.E_INVALIDARG),
    ({"pipe_name": PREFIX}, ErrorCode.E_INVALIDARG),
    ({"pipe_name": "web-1-psql"}, ErrorCode.E_INVALIDARG),
    ({"pipe_name": "/run/socket"}, ErrorCode.E_INVALIDARG),
    ({"pipe_name": rf"{PREFIX}a\b"}, ErrorCode.E_INVALIDARG),
    ({"pipe_name": f"{PREFIX}a\nb"}, ErrorCode.E_INVALIDARG),
    ({"pipe_name": PREFIX + "x" * (MAX_CHARS - len(PREFIX) + 1)}, ErrorCode.E_INVALIDARG),
    ({"guest_port": "psql"}, ErrorCode.E_INVALIDARG),
    ({"guest_port": ""}, ErrorCode.E_INVALIDARG),
    ({"guest_port": "0"}, ErrorCode.E_INVALIDARG),
    ({"guest_port": "65536"}, ErrorCode.E_INVALIDARG),
    ({"guest_port": "-1"}, ErrorCode.E_INVALIDARG),
    ({"guest_port": "80.5"}, ErrorCode.E_INVALIDARG),
    ({"guest_port": "٨٠"}, ErrorCode.E_INVALIDARG),
    ({"guest_port": "9" * 5000}, ErrorCode.E_INVALIDARG),
    ({"machine": "nobody"}, ErrorCode.VM_E_VM_UNKNOWN),
]


@pytest.mark.parametrize(("changed", "code"), BAD_ARGUMENTS)
async def test_bad_argument_has_its_documented_code(
    house: House, changed: dict[str, object], code: ErrorCode
) -> None:
    """Each rule of the documented call is kept, at the call, and nothing is left behind."""
    with pytest.raises(InnkeeperError) as caught:
        await house.start(**changed)
    assert caught.value.code is code
    assert caught.value.advice or code is ErrorCode.VM_E_VM_UNKNOWN
    assert house.channels.list() == []


@pytest.mark.parametrize(
    ("arrange", "code"),
    [
        (_silent, ErrorCode.ERROR_NOT_READY),
        (_of_another_version, ErrorCode.ERROR_REVISION_MISMATCH),
        (_of_before_channels, ErrorCode.ERROR_REVISION_MISMATCH),
        (_without_a_port, ErrorCode.E_HANDLE),
        (_closed_port, ErrorCode.E_ACCESSDENIED),
        (_paused, ErrorCode.VM_E_VM_NOT_RUNNING),
        (_off, ErrorCode.VM_E_VM_NOT_RUNNING),
    ],
)
async def test_guest_that_cannot_have_it_has_its_documented_code(
    house: House, arrange: Callable[[House], None], code: ErrorCode
) -> None:
    """No agent, another version, no port, a machine that does not run: told apart, at the call."""
    arrange(house)
    with pytest.raises(InnkeeperError) as caught:
        await house.start()
    assert caught.value.code is code
    assert house.channels.list() == []


async def test_agent_of_another_version_is_no_offender(house: House) -> None:
    """It is greeted again and again, and is heard as soon as it was replaced."""
    _of_another_version(house)
    await house.inn.clock.advance(120)
    assert EventKind.AGENT_QUARANTINED not in house.inn.kinds()
    house.guest.greeting = {**greeting(), "channels": 128}
    await house.inn.clock.advance(60)
    assert house.inn.agents.is_connected("web-1")


async def test_longest_and_shortest_names_and_ports_are_taken(house: House) -> None:
    """A name of exactly 256 characters, one of a single character, the first and the last port."""
    long = PREFIX + "ü" * (MAX_CHARS - len(PREFIX))
    for name, port in ((long, 65535), (f"{PREFIX}x", "1"), (f"{PREFIX}a/../b c%", " 80 ")):
        state = await house.start(pipe_name=name, guest_port=port)
        assert stat.S_ISSOCK(state.socket.stat().st_mode)
        assert state.socket.parent == house.directory
        assert len(os.fsencode(state.socket)) <= MAX_SOCKET_PATH_BYTES


async def test_name_in_use_already_exists_whatever_its_case(house: House) -> None:
    """Pipes are named without regard to case, as documented; the first stays as it was."""
    first = await house.start()
    for name in (PIPE, PIPE.upper()):
        with pytest.raises(InnkeeperError) as caught:
            await house.start(pipe_name=name)
        assert caught.value.code is ErrorCode.ERROR_ALREADY_EXISTS
    assert [state.channel for state in house.channels.list()] == [first.channel]


async def test_pipe_that_is_being_opened_is_busy(house: House) -> None:
    """Two at once cannot have one name, and nobody closes what is not open yet."""
    house.guest.answers = False
    first = asyncio.create_task(house.start())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for attempt in (house.channels.stop(PIPE), house.start()):
        with pytest.raises(InnkeeperError) as caught:
            await attempt
        assert caught.value.code is ErrorCode.ERROR_PIPE_BUSY
    with pytest.raises(InnkeeperError):
        await first


async def test_more_channels_than_a_machine_may_have_are_refused(house: House) -> None:
    """The bound is stated, and one that is closed makes room for another."""
    for number in range(MAX_CHANNELS_OF_MACHINE):
        await house.start(pipe_name=f"{PREFIX}{number}")
    with pytest.raises(InnkeeperError) as caught:
        await house.start()
    assert caught.value.code is ErrorCode.ERROR_MAX_SESSIONS_REACHED
    await house.channels.stop(f"{PREFIX}0")
    await house.start()


async def test_pipe_that_is_not_there_is_told(house: House) -> None:
    """Closing or looking at nothing is an error with its identifier."""
    with pytest.raises(InnkeeperError) as caught:
        house.channels.get(PIPE)
    assert caught.value.code is ErrorCode.ERROR_FILE_NOT_FOUND
    with pytest.raises(InnkeeperError) as caught:
        await house.channels.stop(PIPE)
    assert caught.value.code is ErrorCode.ERROR_FILE_NOT_FOUND


async def test_socket_is_its_owners_alone(house: House) -> None:
    """The service's own user needs no other's rights; another owner is let through, and nobody else."""
    state = await house.start()
    assert stat.S_IMODE(state.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(house.directory.stat().st_mode) == 0o711
    house.user_ids["eve"] = os.getuid() + 1
    state = await house.start(pipe_name=f"{PREFIX}eves", owner="eve")
    assert stat.S_IMODE(state.socket.stat().st_mode) == 0o666


async def test_channel_is_there_again_after_a_crash(house: House) -> None:
    """What was open listens again in the next life of the service, over the socket that the crash left."""
    state = await house.start()
    stale = house.directory / "stale"
    state.socket.rename(stale)
    await house.channels.close()
    stale.rename(state.socket)
    house.channels = house.new_channels()
    await house.channels.open()
    assert [each.channel for each in house.channels.list()] == [state.channel]
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, str(state.socket))


@pytest.mark.parametrize(
    "kind", [EventKind.MACHINE_STOPPED, EventKind.MACHINE_UNDEFINED, EventKind.MACHINE_CRASHED]
)
async def test_channel_ends_with_its_machines_run(house: House, kind: EventKind) -> None:
    """A machine that is turned off, or is no more, has no channels; that is told."""
    state = await house.start()
    house.standing, house.is_there = Standing.OFF, kind != EventKind.MACHINE_UNDEFINED
    house.channels.on_event(Event(kind=kind, subject="web-1", at=house.inn.clock.now()))
    await house.inn.clock.advance(2)
    async with asyncio.timeout(10):
        while house.inn.kinds()[-1] != EventKind.CHANNEL_CLOSED:
            await asyncio.sleep(0.01)
    assert house.channels.list() == []
    assert await house.store.list("here") == []
    assert not state.socket.exists()


async def test_channel_waits_while_a_task_works_at_its_machine(house: House) -> None:
    """Save, restore and a roll back leave it; a machine that the task leaves off ends it."""
    await house.start()
    house.standing = Standing.RESTING
    house.channels.on_event(Event(kind=EventKind.MACHINE_STOPPED, subject="web-1", at=house.inn.clock.now()))
    await house.inn.clock.advance(600)
    assert len(house.channels.list()) == 1
    house.standing = Standing.OFF
    house.channels.on_event(Event(kind=EventKind.TASK_ENDED, subject="7", at=house.inn.clock.now()))
    await house.inn.clock.advance(2)
    assert house.channels.list() == []


async def test_lost_event_of_a_machine_is_made_up_for(house: House) -> None:
    """Machines are looked at once a minute all the same."""
    await house.start()
    house.standing = Standing.OFF
    await house.inn.clock.advance(70)
    assert house.channels.list() == []


async def test_guest_that_sends_beyond_its_credit_loses_its_session(house: House) -> None:
    """However much a hostile guest sends to a client that does not read, the service keeps a window of it."""
    state = await house.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(client, str(state.socket))
        await _until(lambda: house.channels.list()[0].open_connections == 1)
        house.guest.send(encode(FrameKind.OPENED, 1))
        await _until(lambda: house.channels.list()[0].traffic.connections == 1)
        for _ in range(200):
            house.guest.send(encode(FrameKind.DATA, 1, bytes(65536)))
        await _until(lambda: house.channels.list()[0].traffic.cut == 1)
    await _until(lambda: house.channels.list()[0].open_connections == 0)
    traffic = house.channels.list()[0].traffic
    assert (traffic.cut, traffic.last_trouble) == (1, "DATA of stream 1 beyond its credit")
    assert traffic.bytes_from_guest <= 4 * WINDOW_BYTES
    assert EventKind.AGENT_LOST in house.inn.kinds()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_system_without_sockets_is_out_of_memory(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses is told with the documented code, and nothing is kept."""

    def refuse(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InnkeeperError) as caught:
        await house.start()
    assert caught.value.code is ErrorCode.E_OUTOFMEMORY
    assert await house.store.list("here") == []


def test_file_names_of_different_pipes_differ_and_lead_nowhere() -> None:
    """Whatever the name: one path segment, hidden from nobody, short enough, and its own."""
    names = [
        "a",
        "a b",
        "a%20b",
        "..",
        ".",
        "a/b",
        ".s.PGSQL.5432",
        "é" * 100,
        "é" * 101,
        "x" * 240,
        "x" * 241,
    ]
    files = [parse_pipe_name(PREFIX + name).file_name(60) for name in names]
    assert len(set(files)) == len(files)
    assert all("/" not in file and not file.startswith(".") and len(file) <= 60 for file in files)
    assert parse_pipe_name(f"{PREFIX}WEB").file_name(60) == "web"
