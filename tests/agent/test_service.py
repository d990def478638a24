"""The agent as a process, and the host's link to it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal

import pytest

from innkeeper.agent.journal import Journal, TaskEntry
from innkeeper.agent.status import Status
from innkeeper.channels.ports import GuestOutput, TaskStateChanged, UpdateStatus
from innkeeper.errors import AgentError
from innkeeper.wire.events import EventKind
from tests.agent.rig import MACHINE, Guest, Host, appears, ended, host_of
from tests.threads import in_thread


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
    with pytest.raises(AgentError, match=r"did not answer within 3 seconds: .*no port") as refused:
        await host.agents.connected(MACHINE, timeout=3)
    assert "machine prepare" in refused.value.advice


async def test_update_goes_through_its_states(guest: Guest, host: Host) -> None:
    """The host hears each state once, in order, and what the update printed."""
    guest.script("10-first", "echo doing $INNKEEPER_LABEL")
    guest.script("20-second", "test \"$(cat $INNKEEPER_CONTEXT_FILE)\" = 'a context'")
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


async def test_known_identifier_starts_nothing(guest: Guest, host: Host) -> None:
    """Starting an update a second time runs nothing and returns its state."""
    guest.script("10-count", f"echo x >> {guest.root}/count")
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b"")
    assert (await ended(agent, "u1")).status is UpdateStatus.SUCCESS
    again = await agent.start_task("", "u1", b"")
    assert again.status is UpdateStatus.SUCCESS
    assert (guest.root / "count").read_text() == "x\n"


async def test_failing_script_fails_the_update_with_its_words(guest: Guest, host: Host) -> None:
    """A failure carries the exit code and the last words of what failed."""
    guest.script("10-break", "echo the disk is on fire; exit 9")
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert (task.status, task.text) == (
        UpdateStatus.FAILED,
        "10-break failed (exit code 9): the disk is on fire",
    )


async def test_update_outlives_the_kill_of_the_agent(guest: Guest, host: Host) -> None:
    """An update goes on while its agent is dead, and the next agent follows it to its end."""
    guest.script(
        "10-wait", f"echo x >> {guest.root}/count; while [ ! -e {guest.root}/go ]; do sleep 0.05; done"
    )
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b"")
    await appears(guest.root / "count")
    guest.kill()
    with pytest.raises(AgentError, match="lost"):
        await agent.health()
    (guest.root / "go").touch()
    guest.start()
    agent = await host.session()
    assert (await ended(agent, "u1")).status is UpdateStatus.SUCCESS
    assert (guest.root / "count").read_text() == "x\n"


async def test_update_whose_agent_was_killed_before_it_began_has_changed_nothing(
    guest: Guest, host: Host
) -> None:
    """It was written down, and nothing was started yet."""
    in_thread(_write_down, guest, Status.SEARCHING)
    guest.start()
    task = await ended(await host.session(), "u1")
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, True)


async def test_check_after_a_reboot_is_begun_where_the_agent_was_killed_before_it(
    guest: Guest, host: Host
) -> None:
    """The guest has changed, and is looked at all the same."""
    guest.script("10-nothing", "true")
    in_thread(_write_down, guest, Status.REBOOTED)
    guest.start()
    task = await ended(await host.session(), "u1")
    assert (task.status, task.unchanged) == (UpdateStatus.SUCCESS, False)


def _write_down(guest: Guest, status: Status) -> None:
    """Leave what an agent that was killed in this boot leaves of an update."""
    journal = Journal(str(guest.root / "var/lib/innkeeper/agent/journal"))
    journal.tasks["u1"] = TaskEntry("u1", "", "boot-1")
    journal.tasks["u1"].status = status
    journal.save()


async def test_update_whose_worker_died_has_failed(guest: Guest, host: Host) -> None:
    """Nobody waits for an update program that was killed."""
    guest.script("10-kill", "kill -9 $PPID")
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert (task.status, task.text) == (UpdateStatus.FAILED, "The update program has died.")


async def test_reboot_is_written_down_before_it_is_asked_for(guest: Guest, host: Host) -> None:
    """After its reboot the agent says REBOOTED, checks, and says SUCCESS."""
    called = guest.power_program("reboot")
    guest.script("10-kernel", "exit 102")
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b"")
    await appears(called)
    task = await agent.task("u1")
    assert task is not None
    assert task.status is UpdateStatus.REBOOTING
    guest.kill()
    guest.reboot(2)
    guest.start()
    agent = await host.session(other_boot_than="boot-1")
    assert agent.hello.tasks[0].status in (UpdateStatus.REBOOTED, UpdateStatus.SUCCESS)
    task = await ended(agent, "u1")
    assert task.status is UpdateStatus.SUCCESS
    assert "has rebooted" in task.text


async def test_reboot_that_did_not_happen_is_asked_for_again(guest: Guest, host: Host) -> None:
    """An agent restarted in the same boot finishes what it had written down."""
    called = guest.power_program("reboot")
    guest.script("10-kernel", "exit 102")
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b"")
    await appears(called)
    guest.kill()
    called.unlink()
    guest.start()
    await appears(called)


async def test_wish_for_no_reboot_is_kept(guest: Guest, host: Host) -> None:
    """With ``"reboot": "never"`` an update that wants one ends without it."""
    called = guest.power_program("reboot")
    guest.script("10-kernel", "exit 102")
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b'{"reboot": "never"}')
    assert (await ended(agent, "u1")).status is UpdateStatus.SUCCESS
    assert not called.exists()


async def test_guest_that_went_down_in_an_update_says_so(guest: Guest, host: Host) -> None:
    """A boot nobody asked for, in the middle of an update, is a failure."""
    guest.script("10-wait", f"touch {guest.root}/begun; sleep 600")
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b"")
    await appears(guest.root / "begun")
    guest.kill()
    guest.reboot(2)
    guest.start()
    task = await ended(await host.session(other_boot_than="boot-1"), "u1")
    assert (task.status, task.unchanged, task.text) == (
        UpdateStatus.FAILED,
        False,
        "The guest went down in the middle of the update.",
    )


async def test_rolled_back_guest_starts_the_update_again(guest: Guest, host: Host) -> None:
    """A guest whose disk was rolled back has forgotten the update, and the host may start it anew."""
    guest.script("10-nothing", "true")
    guest.start()
    agent = await host.session()
    before = (guest.root / "var").exists() and list((guest.root / "var").rglob("journal"))
    assert not before
    await agent.start_task("", "u1", b"")
    await ended(agent, "u1")
    guest.kill()
    shutil.rmtree(guest.root / "var")
    guest.reboot(2)
    guest.start()
    agent = await host.session(other_boot_than="boot-1")
    assert await agent.task("u1") is None
    await agent.start_task("", "u1", b"")
    assert (await ended(agent, "u1")).status is UpdateStatus.SUCCESS


async def test_cancel_stops_a_script(guest: Guest, host: Host) -> None:
    """A cancelled update fails, and says that the host wanted it so."""
    guest.script("10-wait", f"touch {guest.root}/began; sleep 600")
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b"")
    await appears(guest.root / "began")
    await agent.cancel_task("u1")
    assert "stopped at the host's request" in (await ended(agent, "u1")).text


async def test_context_that_asks_the_impossible_starts_nothing(guest: Guest, host: Host) -> None:
    """A context that names no package is refused with a sentence."""
    guest.start()
    agent = await host.session()
    with pytest.raises(AgentError, match="refused: The context names '--yes'"):
        await agent.start_task("", "u1", b'{"packages": ["--yes"]}')
    assert await agent.task("u1") is None


async def test_host_that_was_killed_finds_the_agent_again(guest: Guest, host: Host) -> None:
    """A host that vanished without a word makes a new session at once."""
    guest.start()
    await host.session()
    await host.agents.close()
    async with host_of(guest) as other:
        assert (await other.session()).hello.boot_id == "boot-1"


async def test_health_tells_of_failed_checks_and_reboots(guest: Guest, host: Host) -> None:
    """The health report has the guest's own checks, its listeners and its wish for a reboot."""
    guest.write("etc/innkeeper/health/required.d/web", "#!/bin/sh\necho port 80 is closed\nexit 1\n", 0o755)
    guest.write("etc/innkeeper/health/required.d/fine", "#!/bin/sh\nexit 0\n", 0o755)
    guest.write("run/reboot-required", "")
    guest.write(
        "proc/net/tcp",
        "  sl  local_address rem_address   st\n   0: 00000000:0016 00000000:0000 0A 0\n"
        "   1: 0100007F:1F90 0100007F:0016 01 0\n",
    )
    guest.write(
        "proc/net/tcp6", "  sl  local_address\n   0: 00000000000000000000000001000000:0277 0:0 0A 0\n"
    )
    guest.write("proc/self/mounts", "/dev/vda1 / ext4 rw 0 0\noverlay /merged overlay rw 0 0\n")
    guest.start()
    report = await (await host.session()).health()
    assert report.failed_checks == {"web": "port 80 is closed"}
    assert report.listeners == {"tcp:0.0.0.0:22", "tcp:::1:631"}
    assert report.mounts == {"/"}
    assert report.reboot_required
    assert (report.boot_id, report.system_state, report.failed_units) == ("boot-1", "", frozenset())


async def test_host_may_ask_for_reboot_and_power_off(guest: Guest, host: Host) -> None:
    """The guest's own programs are asked, after the answer is on its way."""
    rebooted, powered_off = guest.power_program("reboot"), guest.power_program("poweroff")
    guest.start()
    agent = await host.session()
    await agent.reboot()
    await appears(rebooted)
    await agent.shut_down()
    await appears(powered_off)


async def test_terminated_agent_leaves_its_plug_in_in_order(guest: Guest, host: Host) -> None:
    """SIGTERM ends the agent with exit code 0 and takes its socket away."""
    guest.start()
    await host.session()
    assert guest.kill(signal.SIGTERM) == 0
    assert not (guest.root / "run/innkeeper/agent.sock").exists()


async def test_kills_in_the_middle_of_transfers_lose_nothing_but_time(guest: Guest, host: Host) -> None:
    """Agent and host are killed again and again while much is under way; every time there is a session."""
    guest.script("10-talk", "while :; do echo 0123456789012345678901234567890123456789; done")
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b"\xff" * 60_000)
    for round_ in range(6):
        agent = await host.session()
        asking = asyncio.create_task(agent.start_task("", "u1", b"\xff" * 60_000))
        await asyncio.sleep(0)
        if round_ % 2:
            guest.kill()
            guest.start()
        else:
            await host.agents.close()
            await host.agents.open()
        with contextlib.suppress(AgentError):
            await asking
    task = await (await host.session()).task("u1")
    assert task is not None
    assert task.status is UpdateStatus.APPLYING
    assert EventKind.AGENT_QUARANTINED not in {event.kind for event in host.events}
