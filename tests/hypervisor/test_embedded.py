"""What the contract cannot say of every hypervisor: real guests, real QEMU, real files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.errors import AgentError, DiskError, ErrorCode, InnkeeperError, MachineUnfit
from innkeeper.hypervisor.libvirt.agent_ports import LibvirtAgentPorts
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.wire.byte_pipe import BytePipe
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event, EventKind
from tests.guests.machines import EMULATED, TinyMachine
from tests.guests.tiny import TinyGuest

pytestmark = pytest.mark.qemu

DefineMachine = Callable[..., Awaitable[TinyMachine]]


async def say(pipe: BytePipe, words: bytes) -> bytes:
    """Send words to the program in the guest; returns its answer."""
    async with asyncio.timeout(180):
        await pipe.write(words)
        return await pipe.read()


async def test_a_guest_is_spoken_to_tried_on_and_put_back(
    embedded_hypervisor: Host,
    define_machine: DefineMachine,
    echo_guest: TinyGuest,
    tmp_path: Path,
) -> None:
    """What it wrote on its overlay is gone with it, and its memory is as it was saved."""
    host = embedded_hypervisor
    machine = await define_machine("tried", guest=echo_guest)
    await host.lifecycle.start("tried")
    pipe = await host.agent_ports.open("tried")
    assert await say(pipe, b"write before") == b"written"
    await pipe.close()
    await host.saved_states.save("tried")
    overlays = {"vda": str(tmp_path / "undo")}
    await host.saved_states.restore_keeping("tried", overlays)
    pipe = await host.agent_ports.open("tried")
    assert await say(pipe, b"write meanwhile") == b"written"
    await pipe.close()
    await host.lifecycle.turn_off("tried")
    await host.undo_disks.drop("tried", {"vda": str(machine.disk)})
    await host.lifecycle.start("tried")
    pipe = await host.agent_ports.open("tried")
    assert await say(pipe, b"read") == b"before"
    await pipe.close()


async def test_a_second_try_begins_on_a_fresh_overlay(
    embedded_hypervisor: Host, define_machine: DefineMachine, tmp_path: Path
) -> None:
    """Saved memory must not meet a disk that was written since."""
    host = embedded_hypervisor
    await define_machine("again")
    await host.lifecycle.start("again")
    await host.saved_states.save("again")
    overlay = tmp_path / "undo"
    await host.saved_states.restore_keeping("again", {"vda": str(overlay)})
    await host.lifecycle.turn_off("again")
    write = ["qemu-io", "-f", "qcow2", "-c", "write -P 0xaa 1M 64K", str(overlay)]
    await asyncio.to_thread(subprocess.run, write, check=True, capture_output=True)
    await host.saved_states.restore_keeping("again", {"vda": str(overlay)})
    look = ["qemu-io", "-r", "-U", "-f", "qcow2", "-c", "read -P 0xaa 1M 64K", str(overlay)]
    seen = await asyncio.to_thread(subprocess.run, look, check=False, capture_output=True, text=True)
    assert "Pattern verification failed" in seen.stdout


async def test_a_merge_takes_the_kept_saved_state_with_it(
    embedded_hypervisor: Host, define_machine: DefineMachine, tmp_path: Path
) -> None:
    """Memory that was saved on the bases is a danger once they change."""
    host = embedded_hypervisor
    machine = await define_machine("merged")
    await host.lifecycle.start("merged")
    await host.saved_states.save("merged")
    await host.saved_states.restore_keeping("merged", {"vda": str(tmp_path / "undo")})
    await host.undo_disks.merge("merged", {"vda": str(machine.disk)})
    await host.lifecycle.turn_off("merged")
    assert (await host.inventory.get("merged")).state is MachineState.TURNED_OFF


async def test_a_save_that_is_cancelled_leaves_the_machine_running(
    embedded_hypervisor: Host, define_machine: DefineMachine, state_directory: Path
) -> None:
    """And nothing that could be taken for a saved state."""
    host = embedded_hypervisor
    machine = await define_machine("kept")
    await host.lifecycle.start("kept")
    await console_says(machine, "guest is up")
    # A cancel may come too late: the machine is wholly saved then. One of a few has to come in time.
    for delay_s in (0.2, 0.1, 0.05, 0.3, 0.02):
        saving = asyncio.ensure_future(host.saved_states.save("kept"))
        await asyncio.sleep(delay_s)
        saving.cancel()
        await asyncio.wait({saving})
        state = (await host.inventory.get("kept")).state
        assert state in (MachineState.RUNNING, MachineState.SAVED)
        if state is MachineState.RUNNING:
            assert saving.cancelled()
            break
        await host.lifecycle.start("kept")
    assert state is MachineState.RUNNING
    assert not list(state_directory.rglob("kept.save"))


async def test_the_host_is_served_while_one_machine_is_saved(
    embedded_hypervisor: Host, define_machine: DefineMachine
) -> None:
    """A save blocks most calls on its own machine, and none on the others'."""
    host = embedded_hypervisor
    machine = await define_machine("slow")
    await define_machine("other")
    await host.lifecycle.start("slow")
    await console_says(machine, "guest is up")
    saving = await _stopped_in_a_save(host, "slow")
    async with asyncio.timeout(10):
        assert {each.name: each.state for each in await host.inventory.list()}["slow"] is MachineState.SAVING
        assert await host.definitions.read("slow")
        await host.lifecycle.start("other")
        await host.lifecycle.pause("other")
    assert not saving.done()
    os.kill(_qemu_of("slow"), signal.SIGCONT)
    await saving


async def _stopped_in_a_save(host: Host, name: str) -> asyncio.Future[None]:
    """A save that is under way and goes no further: its QEMU is stopped as soon as its file is there."""
    qemu, file = _qemu_of(name), HostUri.parse(host.uri).saved_image(name)
    assert file is not None
    saving = asyncio.ensure_future(host.saved_states.save(name))

    def stop() -> None:
        while not file.exists():
            assert not saving.done()
            time.sleep(0.0005)
        os.kill(qemu, signal.SIGSTOP)

    await asyncio.to_thread(stop)
    return saving


def _qemu_of(name: str) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"guest={name},".encode() in (process / "cmdline").read_bytes():
                return int(process.name)
    raise ProcessLookupError(name)


async def test_a_disk_that_is_named_already_is_no_half_made_overlay(
    embedded_hypervisor: Host, define_machine: DefineMachine, tmp_path: Path
) -> None:
    """What a crash left half made is made anew; what a program has open is left alone."""
    host = embedded_hypervisor
    machine = await define_machine("crashed")
    overlay = tmp_path / "undo"
    overlay.write_bytes(bytes(65536))
    await host.undo_disks.add("crashed", {"vda": str(overlay)})
    assert list(await host.disks.backing_chain(str(overlay))) == [str(overlay), str(machine.disk)]
    await host.undo_disks.drop("crashed", {"vda": str(machine.disk)})
    with subprocess.Popen(
        ["qemu-io", "-f", "qcow2", str(overlay)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"length\n")
        holder.stdin.flush()
        await asyncio.to_thread(holder.stdout.readline)
        with pytest.raises(DiskError) as caught:
            await host.undo_disks.add("crashed", {"vda": str(overlay)})
        holder.stdin.close()
    assert caught.value.code is ErrorCode.ERROR_SHARING_VIOLATION
    assert overlay.exists()


async def test_a_raw_disk_comes_back_as_raw(
    embedded_hypervisor: Host, define_machine: DefineMachine, tmp_path: Path
) -> None:
    """The format of a base is never guessed: a guest may write a qcow2 header to a raw disk."""
    host = embedded_hypervisor
    machine = await define_machine("raw", disk_format="raw")
    overlay = str(tmp_path / "undo")
    await host.undo_disks.add("raw", {"vda": overlay})
    await host.undo_disks.drop("raw", {"vda": str(machine.disk)})
    assert (await host.inventory.get("raw")).disks[0].format == "raw"
    await host.disks.delete(overlay)
    lie = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", "-u", "lie", "1M"]
    await asyncio.to_thread(subprocess.run, lie, check=True, cwd=tmp_path)
    with machine.disk.open("r+b") as disk:
        disk.write((tmp_path / "lie").read_bytes())
    assert list(await host.disks.backing_chain(str(machine.disk))) == [str(machine.disk)]


async def test_an_unknown_disk_is_refused_before_anything_is_made(
    embedded_hypervisor: Host, define_machine: DefineMachine, tmp_path: Path
) -> None:
    """All overlays or none."""
    await define_machine("plain")
    overlays = {"vda": str(tmp_path / "one"), "vdb": str(tmp_path / "two")}
    with pytest.raises(MachineUnfit):
        await embedded_hypervisor.undo_disks.add("plain", overlays)
    assert not list(tmp_path.glob("one"))


async def test_a_base_that_is_full_of_nothing_is_said(embedded_hypervisor: Host, tmp_path: Path) -> None:
    """A chain that cannot be read names its image."""
    with pytest.raises(DiskError) as caught:
        await embedded_hypervisor.disks.backing_chain(str(tmp_path / "gone"))
    assert caught.value.code is ErrorCode.ERROR_FILE_NOT_FOUND


async def test_the_guest_agent_freezes_runs_and_writes(
    embedded_hypervisor: Host, define_machine: DefineMachine
) -> None:
    """Through a real qemu-guest-agent, with bytes of every value."""
    host = embedded_hypervisor
    await define_machine("agent")
    await host.lifecycle.start("agent")
    await agent_answers(host, "agent")
    assert await host.guest_agents.freeze("agent") == 1
    assert await host.guest_agents.thaw("agent") == 1
    assert await host.guest_agents.thaw("agent") == 0
    data = bytes(range(256)) * 1000
    await host.guest_agents.write_file("agent", "/data/bytes", data)
    answer = await host.guest_agents.run("agent", ["/bin/cat", "/data/bytes"], timeout=20)
    assert (answer.exit_code, answer.stdout) == (0, data)
    assert (await host.guest_agents.run("agent", ["/bin/sh", "-c", "exit 7"], timeout=20)).exit_code == 7
    with pytest.raises(AgentError) as caught:
        await host.guest_agents.run("agent", ["/bin/sleep", "60"], timeout=0.5)
    assert caught.value.code is ErrorCode.VM_E_TIMED_OUT
    with pytest.raises(AgentError):
        await host.guest_agents.write_file("agent", "/no/such/directory", b"")


async def test_a_guest_without_an_agent_is_said(
    embedded_hypervisor: Host, define_machine: DefineMachine
) -> None:
    """Whether it is off, has no port, or nobody listens."""
    host = embedded_hypervisor
    await define_machine("mute", agent_port=False, guest_agent_port=False)
    with pytest.raises(AgentError):
        await host.agent_ports.open("mute")
    await host.lifecycle.start("mute", paused=True)
    for call in (
        host.agent_ports.open("mute"),
        host.guest_agents.freeze("mute"),
        host.guest_agents.run("mute", ["/x"], timeout=1),
    ):
        with pytest.raises(AgentError) as caught:
            await call
        assert caught.value.machine == "mute"


@pytest.mark.parametrize("through_libvirt", [False, True])
async def test_a_port_that_is_plugged_in_carries_bytes(
    embedded_hypervisor: Host,
    define_machine: DefineMachine,
    echo_guest: TinyGuest,
    hypervisor_events: list[Event],
    through_libvirt: bool,
) -> None:
    """Live, in a guest that had none; through the socket or through libvirt, with both directions busy."""
    host = embedded_hypervisor
    await define_machine("ported", guest=echo_guest, agent_port=False)
    await host.lifecycle.start("ported")
    await host.agent_ports.attach("ported")
    assert [e.subject for e in hypervisor_events if e.kind == EventKind.MACHINE_AGENT_PORT_CHANGED][
        -1
    ] == "ported"
    ports = host.agent_ports
    assert isinstance(ports, LibvirtAgentPorts)
    pipe = await (ports.open_stream("ported") if through_libvirt else ports.open("ported"))
    data = b"x" + os.urandom(1 << 20)
    sending = asyncio.ensure_future(pipe.write(data))
    received = b""
    async with asyncio.timeout(180):
        while len(received) < len(data):
            received += await pipe.read()
    await sending
    assert received == data
    await host.lifecycle.turn_off("ported")
    assert await asyncio.wait_for(pipe.read(), 10) == b""
    await pipe.close()


async def test_a_guest_is_asked_to_power_off_by_its_button(
    embedded_hypervisor: Host, define_machine: DefineMachine
) -> None:
    """Where no agent answers; the call returns at once, and the state follows."""
    host = embedded_hypervisor
    machine = await define_machine("button", guest_agent_port=False)
    await host.lifecycle.start("button")
    await console_says(machine, "guest is up")
    async with asyncio.timeout(180):
        while (await host.inventory.get("button")).state is not MachineState.TURNED_OFF:
            # A press before the guest's acpid is there is nobody's.
            await host.lifecycle.shut_down("button")
            await asyncio.sleep(1)
    await host.lifecycle.shut_down("button")


async def test_an_nmi_reaches_the_guests_kernel(
    embedded_hypervisor: Host, define_machine: DefineMachine
) -> None:
    """It reports the interrupt on its console, and goes on."""
    machine = await define_machine("interrupted")
    await embedded_hypervisor.lifecycle.start("interrupted")
    await console_says(machine, "guest is up")
    await embedded_hypervisor.lifecycle.act("interrupted", Command.INJECT_NMI)
    await console_says(machine, "NMI received")
    assert (await embedded_hypervisor.inventory.get("interrupted")).state is MachineState.RUNNING


async def test_events_tell_a_machines_life_in_order(
    embedded_hypervisor: Host, define_machine: DefineMachine, hypervisor_events: list[Event]
) -> None:
    """Under its name, with the host and the reason."""
    host = embedded_hypervisor
    await define_machine("told")
    await host.lifecycle.start("told")
    await host.saved_states.save("told")
    await host.lifecycle.start("told")
    await host.lifecycle.turn_off("told")
    async with asyncio.timeout(10):
        while EventKind.MACHINE_STOPPED not in [e.kind for e in hypervisor_events if e.subject == "told"]:
            await asyncio.sleep(0.05)
    wanted = {EventKind.MACHINE_STARTED, EventKind.MACHINE_SAVED, EventKind.MACHINE_STOPPED}
    told = [(e.kind, e.data["reason"]) for e in hypervisor_events if e.subject == "told" and e.kind in wanted]
    assert told == [
        (EventKind.MACHINE_STARTED, "booted"),
        (EventKind.MACHINE_SAVED, "saved"),
        (EventKind.MACHINE_STARTED, "restored"),
        (EventKind.MACHINE_STOPPED, "turned_off"),
    ]


async def test_a_saved_machine_is_merged_and_goes_on(
    embedded_hypervisor: Host, define_machine: DefineMachine, tmp_path: Path
) -> None:
    """As documented: its saved memory then stands on the merged disk."""
    host = embedded_hypervisor
    machine = await define_machine("standing")
    await host.undo_disks.add("standing", {"vda": str(tmp_path / "undo")})
    await host.lifecycle.start("standing")
    await host.saved_states.save("standing")
    await host.undo_disks.merge("standing", {"vda": str(machine.disk)})
    merged = await host.inventory.get("standing")
    assert merged.state is MachineState.SAVED
    assert [disk.path for disk in merged.disks] == [str(machine.disk)]
    await host.lifecycle.start("standing")
    running = await host.inventory.get("standing")
    assert running.state is MachineState.RUNNING
    assert [disk.path for disk in running.disks] == [str(machine.disk)]


async def agent_answers(host: Host, name: str) -> None:
    """Wait for qemu-guest-agent."""
    async with asyncio.timeout(180):
        while True:
            try:
                await host.guest_agents.run(name, ["/bin/true"], timeout=10)
            except InnkeeperError:
                await asyncio.sleep(0.2)
            else:
                return


async def console_says(machine: TinyMachine, words: str) -> None:
    """Wait for words on the guest's serial port."""
    async with asyncio.timeout(180):
        while words not in await asyncio.to_thread(machine.console.read_text):
            await asyncio.sleep(0.1)


#: libvirt before 9.1 writes this quotation mark into an attribute as it is, and its own text is no XML then.
_UNREADABLE = (
    f"<domain type='{EMULATED}'>"
    """
  <name>unreadable</name><memory unit='MiB'>64</memory>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <os><type>hvm</type></os>
  <devices>
    <disk type='vhostuser' device='disk'>
      <driver name='qemu' type='raw'/><source type='unix' path="/tmp/a'b.sock"/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>"""
)


async def test_a_machine_that_cannot_be_read_hides_no_other(
    embedded_hypervisor: Host, define_machine: DefineMachine
) -> None:
    """The rest of the host's machines are listed."""
    host = embedded_hypervisor
    await define_machine("beside")
    with contextlib.suppress(InnkeeperError):
        await host.definitions.define(_UNREADABLE)
    try:
        assert "beside" in [machine.name for machine in await host.inventory.list()]
        assert (await host.inventory.get("beside")).name == "beside"
    finally:
        await host.definitions.undefine("unreadable")
