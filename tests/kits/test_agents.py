"""Who answers for a guest: its task agent wherever one is, else a kit through qemu-guest-agent."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

import pytest

from innkeeper.channels.kits.agents import KitAgents
from innkeeper.channels.kits.ports import CommandEnd
from innkeeper.channels.kits.session import KitSession
from innkeeper.channels.ports import GuestAgent, StreamListener
from innkeeper.errors import AgentError
from innkeeper.tasks.clock import SystemClock
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.states import GuestWay
from tests.kits.rig import KIT_DIRECTORY, MACHINE, LocalCommands

_NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)


class NoAgents:
    """The task agents of guests that have none (``GuestAgents``)."""

    is_there = False

    async def connected(
        self, machine: str, *, timeout: float, other_boot_than: str = "", told: float | None = None
    ) -> GuestAgent:
        await asyncio.sleep(min(timeout, 0.1))
        raise AgentError("The task agent did not answer.", machine=machine, advice="Wait.")

    def is_connected(self, machine: str) -> bool:
        return self.is_there

    def way(self, machine: str) -> GuestWay | None:
        return GuestWay.TASK_AGENT if self.is_there else None

    def silence(self, machine: str) -> AgentError | None:
        return None

    def limits(self, machine: str) -> tuple[str, ...]:
        return ()

    def heartbeat(self, machine: str) -> int | None:
        return None


class House:
    """One running machine, whose guest has qemu-guest-agent."""

    def __init__(self, root: Path) -> None:
        (root / "proc/sys/kernel/random").mkdir(parents=True)
        self.boot("boot-1", root)
        self.commands = LocalCommands(root, dict(os.environ))
        self.inner = NoAgents()
        self.events: list[Event] = []
        self.runs = True
        self.agents = KitAgents(
            self.inner,
            find=self._find,
            running=self._running,
            clock=SystemClock(),
            publish=self.events.append,
        )

    def boot(self, name: str, root: Path) -> None:
        """Give the guest another boot."""
        (root / "proc/sys/kernel/random/boot_id").write_text(f"{name}\n")

    async def _find(self, key: str) -> LocalCommands | None:
        return self.commands if self.runs else None

    async def _running(self) -> Collection[str]:
        return [MACHINE] if self.runs else []

    async def session(self, timeout: float = 20) -> KitSession:
        """A session by the kit."""
        agent = await self.agents.connected(MACHINE, timeout=timeout)
        assert isinstance(agent, KitSession)
        return agent


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A house that does not look around by itself."""
    return House(tmp_path)


async def test_a_guest_without_an_agent_answers_by_its_kit(house: House) -> None:
    """The kit is put into the guest, readable by root alone, and said to be the way."""
    agent = await house.session()
    assert agent.hello.boot_id == "boot-1"
    assert house.agents.way(MACHINE) is GuestWay.QEMU_GUEST_AGENT
    assert any("channels" in sentence for sentence in house.agents.limits(MACHINE))
    directory = house.commands.root / KIT_DIRECTORY
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (await agent.facts()).architecture == os.uname().machine
    [connected] = house.events
    assert connected.kind is EventKind.AGENT_CONNECTED


async def test_a_kit_that_a_roll_back_has_taken_away_is_put_there_again(house: House) -> None:
    """Whoever asks notices nothing of it."""
    agent = await house.session()
    for file in (house.commands.root / KIT_DIRECTORY).glob("linux-*"):
        file.unlink()
    assert (await agent.health()).boot_id == "boot-1"


async def test_another_boot_is_another_session(house: House) -> None:
    """Who waits for a reboot is not given the guest that is about to go down."""
    first = await house.session()
    with pytest.raises(AgentError):
        await house.agents.connected(MACHINE, timeout=0.5, other_boot_than=first.hello.boot_id)
    house.boot("boot-2", house.commands.root)
    again = await house.agents.connected(MACHINE, timeout=20, other_boot_than=first.hello.boot_id)
    assert again.hello.boot_id == "boot-2"


async def test_what_a_configuration_blocks_is_named_with_the_line_to_change(house: House) -> None:
    """As RHEL and its kin deliver it."""
    house.commands.blocked = {"guest-exec", "guest-file-open"}
    with pytest.raises(AgentError) as caught:
        await house.session(timeout=0.5)
    assert "may not do what an update takes: guest-exec, guest-file-open" in caught.value.sentence
    assert "FILTER_RPC_ARGS" in caught.value.advice
    assert house.agents.silence(MACHINE) is not None
    assert house.agents.way(MACHINE) is None


async def test_mere_silence_is_no_reason_to_tell(house: House) -> None:
    """Libvirt's words for it say no more than that nobody answers."""
    house.commands.is_silent = True
    with pytest.raises(AgentError) as caught:
        await house.session(timeout=0.5)
    assert caught.value.sentence == "The task agent did not answer."
    assert house.agents.silence(MACHINE) is None


async def test_a_guest_that_has_a_task_agent_is_left_to_it(house: House) -> None:
    """It may be about to come back, and what it has begun, only it knows."""
    agent = house.commands.root / "usr/local/lib/innkeeper/innkeeper-agent.pyz"
    agent.parent.mkdir(parents=True)
    agent.write_text("")
    house.commands.has_agent_port = True
    with pytest.raises(AgentError, match="is installed in the guest of web-1, and does not answer"):
        await house.session(timeout=0.5)
    house.commands.verbs.clear()
    with pytest.raises(AgentError):
        await house.session(timeout=3)
    assert house.commands.verbs == []


async def test_an_agent_without_a_port_is_no_way(house: House) -> None:
    """Nothing of what it says could be heard."""
    agent = house.commands.root / "usr/local/lib/innkeeper/innkeeper-agent.pyz"
    agent.parent.mkdir(parents=True)
    agent.write_text("")
    assert (await house.session()).hello.boot_id == "boot-1"


async def test_windows_is_not_given_the_kit_of_linux(house: House) -> None:
    """Nor is anything else that has no such shell."""
    house.commands.os_id = "freebsd"
    with pytest.raises(AgentError, match="freebsd in web-1 cannot be updated through qemu-guest-agent"):
        await house.session(timeout=0.5)


async def test_channels_are_refused_with_the_better_agent(house: House) -> None:
    """What qemu-guest-agent cannot carry is said so."""
    agent = await house.session()
    for refused in (agent.may_reach(22), agent.parameters(), agent.log_off()):
        with pytest.raises(AgentError) as caught:
            await refused
        assert caught.value.way_out == "innkeeper machine prepare web-1"
    with pytest.raises(AgentError, match="reached through qemu-guest-agent alone"):
        agent.open_stream(22, cast("StreamListener", None))


@pytest.mark.parametrize(
    "printed",
    ["[]", "no", '{"health": 7}', '{"health": {}}', '{"error": "no"}', "[" * 100_000, '"' + "x" * 5_000_000],
)
async def test_nothing_that_a_guest_prints_is_believed(house: House, printed: str) -> None:
    """A lie is an error of this question, whatever its size."""
    agent = await house.session()
    [kit] = (house.commands.root / KIT_DIRECTORY).glob("linux-*")
    (house.commands.root / "said").write_text(printed)
    kit.write_text(f"cat {house.commands.root}/said\n")
    with pytest.raises(AgentError):
        await agent.health()


async def test_machines_are_looked_at_by_themselves(house: House) -> None:
    """So it is known who answers before anybody asks, and when it does no more; nothing is put into them."""
    await house.agents.open()
    try:
        async with asyncio.timeout(20):
            while not house.agents.is_connected(MACHINE):
                await asyncio.sleep(0.05)
            assert house.agents.way(MACHINE) is GuestWay.QEMU_GUEST_AGENT
            assert any("channels" in sentence for sentence in house.agents.limits(MACHINE))
            assert (house.commands.verbs, (house.commands.root / KIT_DIRECTORY).exists()) == ([], False)
            house.runs = False
            while house.agents.is_connected(MACHINE):
                await asyncio.sleep(0.05)
        assert [event.kind for event in house.events] == [EventKind.AGENT_CONNECTED, EventKind.AGENT_LOST]
    finally:
        await house.agents.close()


# Guests that answer slowly, or half


class SlowCommands(LocalCommands):
    """qemu-guest-agent of a guest in which no program ends until it may."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, dict(os.environ))
        self.may_end = asyncio.Event()
        #: How many programs have been begun.
        self.begun = 0

    async def run(self, argv: Sequence[str], *, stdin: bytes, timeout: float) -> CommandEnd:
        self.begun += 1
        await self.may_end.wait()
        return await super().run(argv, stdin=stdin, timeout=timeout)


async def test_a_greeting_outlasts_nobodys_time_out_and_is_not_begun_twice(house: House) -> None:
    """Whoever asks again finds the same greeting under way, and at last its answer."""
    slow = house.commands = SlowCommands(house.commands.root)
    async with asyncio.timeout(20):
        for _ in range(3):
            with pytest.raises(AgentError):
                await house.agents.connected(MACHINE, timeout=0.1)
    assert slow.begun == 1
    slow.may_end.set()
    assert (await house.session()).hello.boot_id == "boot-1"
    assert slow.verbs == ["hello", "hello"]  # the first one has found no kit there


async def test_a_guest_that_is_known_and_greets_nobody_is_lost_once(house: House) -> None:
    """Its agent answers, and its kit does not: nobody is told again and again that it came and went."""
    await house.session()
    [kit] = (house.commands.root / KIT_DIRECTORY).glob("linux-*")
    kit.write_text("echo no\n")
    await house.agents.open()
    try:
        for _ in range(3):
            with pytest.raises(AgentError):
                await house.agents.connected(MACHINE, timeout=0.5)
            house.agents.on_event(Event(kind=EventKind.MACHINE_RESUMED, subject=MACHINE, at=_NOW))
            await asyncio.sleep(1)
        assert [event.kind for event in house.events] == [EventKind.AGENT_CONNECTED, EventKind.AGENT_LOST]
        kit.unlink()
        house.agents.on_event(Event(kind=EventKind.MACHINE_RESUMED, subject=MACHINE, at=_NOW))
        async with asyncio.timeout(20):
            while not house.agents.is_connected(MACHINE):
                await asyncio.sleep(0.05)
    finally:
        await house.agents.close()
    assert [event.kind for event in house.events][2:] == [EventKind.AGENT_CONNECTED]


# What lies in the guest from before


async def test_half_a_kit_is_none(house: House) -> None:
    """A full disk, or a service that was killed, leaves one; nobody runs it."""

    class Short(LocalCommands):
        async def write_file(self, path: str, data: bytes) -> None:
            await super().write_file(path, data[:5000])

    house.commands = Short(house.commands.root, dict(os.environ))
    with pytest.raises(AgentError, match="could not be put into the guest of web-1: it did not arrive whole"):
        await house.session(timeout=0.5)
    assert list((house.commands.root / KIT_DIRECTORY).glob("*.new")) == []
    assert list((house.commands.root / KIT_DIRECTORY).glob("linux-*")) == []


async def test_kits_of_former_releases_are_cleared_away(house: House) -> None:
    """And what never arrived whole; but none that another service may just have put."""
    directory = house.commands.root / KIT_DIRECTORY
    directory.mkdir(parents=True)
    names = (
        "linux-0123456789abcdef.sh",
        "linux-fedcba9876543210.sh.1234abcd.new",
        "linux-0000000000000000.sh",
    )
    for name in names:
        (directory / name).write_text("exit 0\n")
    for name in names[:2]:
        os.utime(directory / name, (0, 0))
    await house.session()
    left = {path.name for path in directory.glob("linux-*")}
    assert (len(left), left & set(names)) == (2, {names[2]})
