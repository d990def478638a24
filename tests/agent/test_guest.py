"""What a guest says of itself, and keeps, through the real agent and the real link to it."""

from __future__ import annotations

import asyncio
import json
import os
import struct

import pytest

from innkeeper.errors import AgentError
from innkeeper.wire.guest_facts import Ability, GuestParameter
from tests.agent.rig import MACHINE, Guest, Host


async def test_a_guest_says_what_it_is(guest: Guest, host: Host) -> None:
    """By its os-release and its kernel."""
    guest.write(
        "etc/os-release", 'PRETTY_NAME="Testix 1.2"\nID=testix\nVERSION_ID="1.2"\nVERSION="1.2 (x)"\n#A=b\n'
    )
    guest.start()
    agent = await host.session()
    facts = await agent.facts()
    assert (facts.os_id, facts.os_name, facts.version, facts.version_id) == (
        "testix",
        "Testix 1.2",
        "1.2 (x)",
        "1.2",
    )
    assert facts.kernel_release == os.uname().release
    # Scripts cannot be tried before they act.
    assert all(agent.knows(ability) for ability in Ability if ability is not Ability.PREPARE)
    assert await agent.version()
    await agent.ping()
    assert await agent.boot_id() == "boot-1"


async def test_who_is_logged_on_is_read_from_the_accounts_of_logins(guest: Guest, host: Host) -> None:
    """Where no logind is; a login whose process is gone is none."""
    records = [(7, os.getpid(), "ana"), (7, 2_000_000_000, "gone"), (2, 0, "reboot")]
    utmp = guest.root / "run/utmp"
    utmp.parent.mkdir(exist_ok=True)
    utmp.write_bytes(b"".join(map(_record, records)) + b"half a record")
    guest.write(f"proc/{os.getpid()}/stat", "")
    guest.start()
    (session,) = await (await host.session()).sessions()
    assert (session.user, session.locked, session.remote) == ("ana", None, True)
    assert session.since is not None
    assert int(session.since.timestamp()) == 1_700_000_000


def _record(login: tuple[int, int, str]) -> bytes:
    kind, process, user = login
    head = struct.pack("=hxxi32s4s32s256s", kind, process, b"pts/0", b"ts/0", user.encode(), b"10.0.0.1")
    return head + struct.pack("=hhiii16s20s", 0, 0, 0, 1_700_000_000, 0, b"", b"")


async def test_nobody_is_logged_off_where_nobody_is_on(guest: Guest, host: Host) -> None:
    """The count says so."""
    guest.start()
    assert await (await host.session()).log_off() == 0


async def test_parameters_go_both_ways_and_outlive_the_agent(guest: Guest, host: Host) -> None:
    """The host sets, a program of the guest reads and sets; each knows who set last."""
    guest.start()
    agent = await host.session()
    await agent.set_parameter("colour", "green", revision=3)
    assert await guest.run("param", "get", "colour") == (0, "green\n")
    assert (await guest.run("param", "set", "colour", "blue ü"))[0] == 0
    assert (await guest.run("param", "set", "own", "1"))[0] == 0
    assert await agent.parameters() == {
        "colour": GuestParameter(value="blue ü", revision=3, by_guest=True),
        "own": GuestParameter(value="1", revision=0, by_guest=True),
    }
    await agent.set_parameter("own", None, revision=1)
    guest.kill()
    async with asyncio.timeout(20):
        while host.agents.is_connected(MACHINE):
            await asyncio.sleep(0.05)
    guest.start()
    agent = await host.session()
    assert list(await agent.parameters()) == ["colour"]
    assert await guest.run("param", "list") == (0, "colour=blue ü\n")


@pytest.mark.parametrize(
    ("name", "value"), [("", "x"), ("a\\b", "x"), ("n" * 256, "x"), ("v", "x" * 4097), ("v", "a\0b")]
)
async def test_a_parameter_out_of_bounds_is_refused_by_the_agent_too(
    guest: Guest, host: Host, name: str, value: str
) -> None:
    """Whatever a host may send."""
    guest.start()
    agent = await host.session()
    with pytest.raises(AgentError, match="refused"):
        await agent.set_parameter(name, value, revision=1)
    assert await agent.parameters() == {}


async def test_a_guest_keeps_no_more_than_its_bounds(guest: Guest, host: Host) -> None:
    """In all 65,536 characters; the seventeenth value of 4,096 is one too many."""
    guest.start()
    agent = await host.session()
    for number in range(16):
        await agent.set_parameter(str(number), "x" * 4096, revision=1)
    with pytest.raises(AgentError, match="no more than"):
        await agent.set_parameter("17", "x", revision=1)
    assert len(await agent.parameters()) == 16


async def test_a_broken_file_of_parameters_is_as_good_as_none(guest: Guest, host: Host) -> None:
    """The agent starts, and the host sends what it has set again."""
    guest.write("var/lib/innkeeper/parameters", json.dumps({"a": 1}))
    guest.start()
    agent = await host.session()
    assert await agent.parameters() == {}


async def test_a_clock_that_may_not_be_set_is_refused_with_its_reason(guest: Guest, host: Host) -> None:
    """The agent of a test is not root, and goes on."""
    if os.geteuid() == 0:
        pytest.skip("root's agent would set this computer's clock")
    guest.start()
    agent = await host.session()
    with pytest.raises(AgentError, match="clock"):
        await agent.set_time(0)
    await agent.ping()


async def test_a_heart_that_beats_is_heard(guest: Guest, host: Host) -> None:
    """All of it while the agent answers; nothing before it ever has."""
    assert host.agents.heartbeat(MACHINE) is None
    guest.start()
    await host.session()
    assert host.agents.heartbeat(MACHINE) == 100
    async with asyncio.timeout(20):
        while host.agents.heartbeat(MACHINE) != 100:
            await asyncio.sleep(0.05)
