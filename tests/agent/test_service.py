"""The agent as a process, and the host's link to it."""

from __future__ import annotations

import asyncio

import pytest

from innkeeper.channels.ports import GuestOutput, TaskStateChanged, UpdateStatus
from innkeeper.errors import AgentError
from tests.agent.rig import MACHINE, Guest, Host


async def test_greeting_names_the_guest(guest: Guest, host: Host) -> None:
    """A session begins with who answered: boot, plug-in, operating system."""
    guest.start()
    hello = (await host.session()).hello
    assert (hello.boot_id, hello.plugin_name, hello.os_name) == (
        "boot-1",
        "Innkeeper scripts updates",
        "Testix 1",
    )
    assert hello.tasks == ()
    assert host.agents.is_connected(MACHINE)


async def test_no_agent_is_an_error_with_its_reason(guest: Guest, host: Host) -> None:
    """Whoever waits for an agent that is not there is told why, and what to do."""
    with pytest.raises(AgentError, match=r"did not answer within 0.3 seconds: .*no port") as refused:
        await host.agents.connected(MACHINE, timeout=0.3)
    assert "machine prepare" in refused.value.advice


async def test_update_goes_through_its_states(guest: Guest, host: Host) -> None:
    """The host hears each state once, in order, and what the update printed."""
    guest.script("10-first", "echo doing $INNKEEPER_LABEL")
    guest.script("20-second", "test \"$INNKEEPER_CONTEXT\" = 'a context'")
    guest.start()
    agent = await host.session()
    messages = agent.messages()
    started = await agent.start_task("Security", "2026-11", b"a context")
    assert started.status is UpdateStatus.SEARCHING
    states, output = [], []
    async with asyncio.timeout(20):
        async for message in messages:
            if isinstance(message, GuestOutput):
                output.append(message.text)
            if isinstance(message, TaskStateChanged):
                states.append(message.task.status)
                if message.task.status.is_final:
                    break
    assert output == ["doing Security"]
    assert list(dict.fromkeys(states)) == [
        UpdateStatus.SEARCHING,
        UpdateStatus.APPLYING,
        UpdateStatus.SUCCESS,
    ]
