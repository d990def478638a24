"""A host behind a daemon: what goes over the wire, and what happens when the daemon dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from innkeeper.errors import ErrorCode, HypervisorError, MachineUnfit
from innkeeper.hypervisor.libvirt import lanes, libvirt_host, overlays, undo_disks
from innkeeper.hypervisor.libvirt.agent_ports import LibvirtAgentPorts
from innkeeper.hypervisor.libvirt.disk_elements import DiskElement
from innkeeper.hypervisor.libvirt.link import Link
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.wire.events import Event, EventKind
from tests.guests import tiny
from tests.guests.firmware import firmware_is_missing, make_tpms_by_this_user, with_firmware
from tests.guests.machines import EMULATED, TinyMachine, define_tiny_machine, forget, tiny_definition
from tests.guests.tiny import TinyGuest
from tests.hypervisor import storages, undo_definitions
from tests.hypervisor.daemons import KINDS, Daemon
from tests.hypervisor.storages import Stored
from tests.hypervisor.test_described_chains import described_chains
from tests.hypervisor.undo_round_trips import NAME, End, Mixed, keep, roll_back, round_trip

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(shutil.which("libvirtd") is None, reason="libvirtd is not installed"),
    pytest.mark.skipif(os.geteuid() == 0, reason="root's libvirtd is the system's"),
]


#: Runs a test over libvirtd, and over virtqemud.
over_both = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def kind() -> type[Daemon]:
    """The kind of daemon: libvirtd, where a test does not say another."""
    return Daemon


@pytest.fixture
def daemon(kind: type[Daemon], monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon in a directory of its own."""
    home = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
    daemon = kind(home)
    for name, value in daemon.environment.items():
        monkeypatch.setenv(name, value)
    daemon.start()
    yield daemon
    daemon.kill()
    shutil.rmtree(home)


@pytest.fixture
async def host(daemon: Daemon, tmp_path: Path) -> AsyncIterator[tuple[Host, list[Event]]]:
    """A connection to the daemon, and what it publishes."""
    events: list[Event] = []
    hypervisor = libvirt_host(name="far", uri=daemon.uri, publish=events.append, state_directory=tmp_path)
    await hypervisor.connection.open()
    await happened(events, EventKind.HOST_CONNECTED)
    yield hypervisor, events
    await hypervisor.connection.close()


@pytest.fixture
async def machine(
    host: tuple[Host, list[Event]], echo_guest: TinyGuest, tmp_path: Path
) -> AsyncIterator[TinyMachine]:
    """A machine of the daemon's."""
    yield await define_tiny_machine(host[0], echo_guest, tmp_path, "far-1")
    await forget(host[0], "far-1")


async def happened(events: list[Event], kind: str) -> None:
    """Wait for an event."""
    async with asyncio.timeout(180):
        while kind not in [event.kind for event in events]:
            await asyncio.sleep(0.05)


async def test_a_host_keeps_its_id_when_its_daemon_makes_up_another_uuid(
    daemon: Daemon, host: tuple[Host, list[Event]], tmp_path: Path
) -> None:
    """Without firmware that has a UUID, libvirtd makes one up at each start."""
    hypervisor, events = host
    first, made_up = hypervisor.id, hypervisor.identity.now
    events.clear()
    daemon.kill()
    await happened(events, EventKind.HOST_LOST)
    daemon.start()
    await happened(events, EventKind.HOST_CONNECTED)
    assert hypervisor.id == first
    assert hypervisor.identity.now != made_up
    # The same daemon by another address.
    address = daemon.uri.replace("/run/libvirt/", "/run/../run/libvirt/")
    other = libvirt_host(name="near", uri=address, publish=lambda _event: None, state_directory=tmp_path)
    await other.connection.open()
    assert other.identity.is_of(hypervisor.identity)
    await other.connection.close()


@over_both
async def test_a_connection_that_is_lost_comes_back(
    daemon: Daemon, host: tuple[Host, list[Event]], machine: TinyMachine
) -> None:
    """Callers are told at once, the machine runs on, and events arrive again."""
    hypervisor, events = host
    await hypervisor.lifecycle.start("far-1")
    events.clear()
    daemon.kill()
    await happened(events, EventKind.HOST_LOST)
    with pytest.raises(HypervisorError) as caught:
        await hypervisor.inventory.get("far-1")
    assert caught.value.code is ErrorCode.ERROR_ONLY_IF_CONNECTED
    daemon.start()
    await happened(events, EventKind.HOST_CONNECTED)
    assert (await hypervisor.inventory.get("far-1")).state is MachineState.RUNNING
    await hypervisor.lifecycle.pause("far-1")
    await happened(events, EventKind.MACHINE_PAUSED)


@over_both
async def test_the_whole_way_works_over_the_wire(
    host: tuple[Host, list[Event]], machine: TinyMachine, tmp_path: Path
) -> None:
    """Save, try on an overlay, speak to the guest through libvirt, merge."""
    hypervisor, _ = host
    overlay, bases = {"vda": str(tmp_path / "undo")}, {"vda": str(machine.disk)}
    await hypervisor.lifecycle.start("far-1")
    ports = hypervisor.agent_ports
    assert isinstance(ports, LibvirtAgentPorts)
    pipe = await ports.open_stream("far-1")
    async with asyncio.timeout(180):
        await pipe.write(b"write before")
        assert await pipe.read() == b"written"
    await pipe.close()
    await hypervisor.saved_states.save("far-1")
    await hypervisor.saved_states.restore_keeping("far-1", overlay)
    await hypervisor.lifecycle.turn_off("far-1")
    assert (await hypervisor.inventory.get("far-1")).state is MachineState.SAVED
    await hypervisor.saved_states.restore_keeping("far-1", overlay)
    await hypervisor.undo_disks.merge("far-1", bases)
    assert (await hypervisor.inventory.get("far-1")).disks[0].path == str(machine.disk)
    await hypervisor.disks.delete(overlay["vda"])
    assert await hypervisor.disks.free_bytes(str(tmp_path)) > 0


@pytest.mark.parametrize("end", [undo_definitions.keep, undo_definitions.roll_back])
async def test_no_element_of_a_disk_is_lost_over_the_wire(
    host: tuple[Host, list[Event]],
    machine: TinyMachine,
    tmp_path: Path,
    end: Callable[[Host, TinyMachine], Awaitable[None]],
) -> None:
    """What the disk carries is there after an undo point, kept or rolled back, as before it."""
    hypervisor, _ = host
    for element in ("metadata_cache", "startup_policy", "identity"):
        await undo_definitions.redefine(hypervisor, machine.name, element)
    before = await undo_definitions.canonical(hypervisor, machine.name)
    overlay = tmp_path / "far-1.vda.innkeeper-1.qcow2"
    await undo_definitions.live(hypervisor, machine, lambda: end(hypervisor, machine), overlay)
    assert await undo_definitions.canonical(hypervisor, machine.name) == before


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice a silent daemon within seconds."""
    monkeypatch.setattr(lanes, "KEEPALIVE", lanes.Keepalive(interval_seconds=1, tries=1))
    monkeypatch.setattr(lanes, "_OPEN_TIMEOUT_S", 1.0)


@over_both
async def test_a_daemon_that_falls_silent_under_load_is_lost_and_found(
    impatient: None, daemon: Daemon, host: tuple[Host, list[Event]], machine: TinyMachine
) -> None:
    """Many callers wait when the wire is cut: the process lives, and each is told."""
    hypervisor, events = host
    done = asyncio.Event()
    outcomes: list[str] = []

    async def ask_and_ask() -> None:
        while not done.is_set():
            try:
                await asyncio.gather(hypervisor.inventory.list(), hypervisor.usage.read())
                outcomes.append("")
            except HypervisorError as error:
                outcomes.append(error.code.name)
                await asyncio.sleep(0.01)

    asking = [asyncio.ensure_future(ask_and_ask()) for _ in range(12)]
    for _ in range(3):
        events.clear()
        daemon.stop()
        await happened(events, EventKind.HOST_LOST)
        daemon.go_on()
        await happened(events, EventKind.HOST_CONNECTED)
    done.set()
    await asyncio.gather(*asking)
    assert set(outcomes) == {"", ErrorCode.ERROR_ONLY_IF_CONNECTED.name}
    assert [each.name for each in await hypervisor.inventory.list()] == ["far-1"]


async def test_a_silent_daemon_holds_up_no_start(
    impatient: None, daemon: Daemon, host: tuple[Host, list[Event]], tmp_path: Path
) -> None:
    """The service opens its hosts, is told why one is away, and has it as soon as it answers."""
    daemon.stop()
    events: list[Event] = []
    late = libvirt_host(name="late", uri=daemon.uri, publish=events.append, state_directory=tmp_path)
    await late.connection.open()
    with pytest.raises(HypervisorError, match="does not answer"):
        await late.inventory.list()
    daemon.go_on()
    await happened(events, EventKind.HOST_CONNECTED)
    assert await late.inventory.list() == []
    await late.connection.close()


@over_both
async def test_a_save_whose_wire_is_cut_is_found_saved(
    daemon: Daemon, host: tuple[Host, list[Event]], machine: TinyMachine
) -> None:
    """The daemon dies in the middle, and what became of the machine is looked at before anything is said."""
    hypervisor, events = host
    await hypervisor.lifecycle.start("far-1")
    events.clear()
    saving = asyncio.ensure_future(hypervisor.saved_states.save("far-1"))
    await asyncio.sleep(0.05)
    daemon.kill()
    await happened(events, EventKind.HOST_LOST)
    daemon.start()
    await saving
    assert (await hypervisor.inventory.get("far-1")).state is MachineState.SAVED


_VOLUME = (
    f"<domain type='{EMULATED}'>"
    """<name>far-2</name><memory unit='MiB'>32</memory>
  <os><type arch='x86_64'>hvm</type></os><devices>
  <disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='far' volume='v.qcow2'/>
    <target dev='vda' bus='virtio'/></disk></devices></domain>"""
)


def _qemu(program: str, *arguments: str | Path) -> None:
    subprocess.run([program, *arguments], check=True, capture_output=True)


async def test_a_volume_is_merged_without_a_start(
    daemon: Daemon, host: tuple[Host, list[Event]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libvirt tells where the volume is, and the definition is as before."""
    hypervisor, _ = host
    overlay = str(tmp_path / "undo.qcow2")
    _qemu("qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "v.qcow2", "8M")
    with contextlib.closing(libvirt.open(daemon.uri)) as connect:
        pool = f"<pool type='dir'><name>far</name><target><path>{tmp_path}</path></target></pool>"
        connect.storagePoolCreateXML(pool).refresh()
        await hypervisor.definitions.define(_VOLUME)
        before = await undo_definitions.canonical(hypervisor, "far-2")
        monkeypatch.delattr(overlays, "begin_without_processor")
        monkeypatch.delattr(undo_disks, "begin_without_processor")
        await hypervisor.undo_disks.add("far-2", {"vda": overlay})
        _qemu("qemu-io", "-f", "qcow2", "-c", "write -P 5 1M 1M", overlay)
        await hypervisor.undo_disks.merge("far-2", {"vda": "far/v.qcow2"})
    _qemu("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 5 1M 1M", tmp_path / "v.qcow2")
    assert await undo_definitions.canonical(hypervisor, "far-2") == before
    await hypervisor.definitions.undefine("far-2")


@pytest.mark.parametrize("private", ["no", "yes"])
async def test_a_passphrase_is_asked_of_libvirt(
    daemon: Daemon, host: tuple[Host, list[Event]], tmp_path: Path, private: str
) -> None:
    """One that is private is not told: libvirt itself merges then, for it hands the passphrase to QEMU."""
    key = "5d0e5a36-6b5d-4f9b-8a0a-55b5c5f5d9a1"
    for name in ("base", "undo"):
        _qemu("qemu-img", "create", "-q", "-f", "qcow2", tmp_path / name, "1M")
    encryption = f"<encryption format='luks'><secret type='passphrase' uuid='{key}'/></encryption>"
    disk = DiskElement(etree.fromstring(
        f"<disk type='file'><driver type='qcow2'/><source file='{tmp_path}/undo'>{encryption}</source>"
        f"<backingStore type='file'><format type='qcow2'/><source file='{tmp_path}/base'>{encryption}"
        "</source><backingStore/></backingStore></disk>"
    ))  # fmt: skip
    with contextlib.closing(libvirt.open(daemon.uri)) as connect:
        secret = f"<secret ephemeral='no' private='{private}'><uuid>{key}</uuid></secret>"
        connect.secretDefineXML(secret).setValue(b"nobody's")
        chains = described_chains(HostUri.parse(daemon.uri), tmp_path)
        chain = await asyncio.to_thread(chains.of, connect, disk, f"{tmp_path}/base")
    assert (None if chain is None else [node.secret for node in chain.nodes]) == (
        [b"nobody's"] * 2 if private == "no" else None
    )


@pytest.fixture
async def pooled(host: tuple[Host, list[Event]], tmp_path: Path) -> AsyncIterator[Mixed]:
    """A machine with two volumes of a pool, an encrypted image and a network disk, off."""
    hypervisor, link = host[0], host[0].connection
    assert isinstance(link, Link)

    def make(connect: libvirt.virConnect) -> list[Stored]:
        secret = storages.passphrase(connect, tmp_path)
        return [
            *storages.volumes(connect, tmp_path, ["vda", "vdb"]),
            storages.encrypted_disk(tmp_path, "vdc", secret),
        ]

    disks = await link.libvirt.command(make, "make the storages of", NAME)
    await hypervisor.definitions.define(storages.machine_xml(NAME, disks))
    yield Mixed(hypervisor, disks)
    await forget(hypervisor, NAME)


@pytest.mark.parametrize(("running", "end", "written"), [(False, keep, True), (True, roll_back, False)])
async def test_volumes_and_encrypted_disks_are_kept_or_rolled_back_together(
    pooled: Mixed, running: bool, end: End, written: bool
) -> None:
    """Volumes stay volumes, and the overlay over an encrypted image is encrypted with the same secret."""
    await round_trip(pooled, running, end, written)


async def test_a_clone_in_a_storage_pool_keeps_its_base_from_being_maintained(
    daemon: Daemon, host: tuple[Host, list[Event]], machine: TinyMachine, tmp_path: Path
) -> None:
    """It lies in another folder, and no definition names it."""

    def clone_in_a_pool() -> Path:
        folder = tmp_path / "pool"
        folder.mkdir()
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(machine.disk)]
        subprocess.run([*command, str(folder / "clone.qcow2")], check=True)
        with contextlib.closing(libvirt.open(daemon.uri)) as connect:
            connect.storagePoolCreateXML(
                f"<pool type='dir'><name>people</name><target><path>{folder}</path></target></pool>"
            )
        return folder / "clone.qcow2"

    clone = await asyncio.to_thread(clone_in_a_pool)
    users = await host[0].disks.users(str(machine.disk))
    assert [(user.machine, user.image) for user in users] == [("far-1", str(machine.disk)), ("", str(clone))]
    with pytest.raises(MachineUnfit, match=r"is the base of the image .*/pool/clone\.qcow2"):
        await plan_undo_point(host[0], await host[0].inventory.get("far-1"), 1, UndoRules())


@pytest.mark.skipif(bool(firmware_is_missing()), reason=firmware_is_missing() or "here")
async def test_state_files_are_made_where_they_are_looked_for(
    host: tuple[Host, list[Event]], tiny_guest: TinyGuest, tmp_path: Path
) -> None:
    """UEFI variables and TPM of a user's daemon: none before the first start, then both."""
    hypervisor, _ = host
    await make_tpms_by_this_user()
    machine = TinyMachine(name="uefi", disk=tmp_path / "uefi.qcow2", console=tmp_path / "uefi.console")
    await asyncio.to_thread(tiny.data_disk, machine.disk, format="qcow2")
    await hypervisor.definitions.define(with_firmware(tiny_definition(machine, tiny_guest, "qcow2", "")))
    variables, tpm, *_ = map(Path, await hypervisor.state_files.find("uefi"))
    assert (variables.exists(), tpm.parent.exists()) == (False, False)
    await hypervisor.lifecycle.start("uefi", paused=True)
    assert list(map(str, (variables, tpm))) == list(await hypervisor.state_files.find("uefi"))[:2]
    assert (variables.exists(), tpm.exists()) == (True, True)
    await forget(hypervisor, "uefi")
