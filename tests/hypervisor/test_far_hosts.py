"""Hosts on other computers, over TLS and SSH: what is done with their files goes through libvirt."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from innkeeper.errors import DiskError, ErrorCode, HypervisorError, MachineUnfit
from innkeeper.hypervisor.libvirt import libvirt_host
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.ports.image_files import Hindrance
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPlan
from innkeeper.wire.events import Event, EventKind
from tests.guests.machines import EMULATED
from tests.hypervisor.daemons import FarDaemon, SshServer, a_home, slow_wire, until_it_answers, what_ssh_needs
from tests.hypervisor.undo_definitions import canonical

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(shutil.which("libvirtd") is None, reason="libvirtd is not installed"),
    pytest.mark.skipif(os.geteuid() == 0, reason="root's libvirtd is the system's"),
]
_MIB = 1 << 20
_NAME = "far-1"
_MACHINE = """<domain type='{kind}'><name>{name}</name><memory unit='MiB'>32</memory>
  <os><type arch='x86_64'>hvm</type></os><devices>
  <disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{disk}'/>
    <target dev='vda' bus='virtio'/></disk></devices></domain>"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The directory of the daemon's files."""
    with a_home() as path:
        yield path


@pytest.fixture(scope="module")
async def daemon(home: Path) -> AsyncIterator[FarDaemon]:
    """A daemon with a certificate, whose folder for disks nobody sees from here."""
    before = dict(os.environ)
    daemon = FarDaemon(home)
    os.environ.update(daemon.environment)
    daemon.start()
    try:
        await until_it_answers(daemon.uri)
        yield daemon
    finally:
        daemon.end()
        os.environ.clear()
        os.environ.update(before)


async def _opened(uri: str, directory: Path) -> Host:
    events: list[Event] = []
    host = libvirt_host(name="far", uri=uri, publish=events.append, state_directory=directory)
    await host.connection.open()
    async with asyncio.timeout(60):
        while EventKind.HOST_CONNECTED not in [event.kind for event in events]:
            await asyncio.sleep(0.05)
    return host


@pytest.fixture
async def far(daemon: FarDaemon, tmp_path: Path) -> AsyncIterator[Host]:
    """A connection by TLS."""
    host = await _opened(daemon.uri, tmp_path)
    yield host
    await host.connection.close()


@pytest.fixture(params=["raw", "qcow2"])
async def disk(request: pytest.FixtureRequest, far: Host, daemon: FarDaemon) -> AsyncIterator[Path]:
    """The disk of a machine that is off, as the test sees it; 5s are at its beginning."""
    path, named = daemon.inside / f"{_NAME}.{request.param}", daemon.disks / f"{_NAME}.{request.param}"
    await asyncio.to_thread(daemon.run, "qemu-img", "create", "-q", "-f", request.param, named, "8M")
    await asyncio.to_thread(daemon.run, "qemu-io", "-f", request.param, "-c", "write -P 5 0 1M", named)
    definition = _MACHINE.format(kind=EMULATED, name=_NAME, format=request.param, disk=named)
    await far.definitions.define(definition)
    yield path
    await far.lifecycle.turn_off(_NAME)
    await far.definitions.undefine(_NAME)
    for left in daemon.inside.iterdir():
        left.unlink()


async def _planned(far: Host) -> UndoPlan:
    return await plan_undo_point(far, await far.inventory.get(_NAME), 7, UndoRules())


def _overlay(daemon: FarDaemon, plan: UndoPlan) -> Path:
    return daemon.inside / Path(plan.overlays["vda"]).name


@pytest.mark.parametrize("kept", [True, False])
async def test_a_machine_that_is_off_is_kept_or_rolled_back(
    far: Host, daemon: FarDaemon, disk: Path, kept: bool
) -> None:
    """The files are out of sight: libvirt there makes the overlay, merges and deletes it."""
    before = await canonical(far, _NAME)
    plan = await _planned(far)
    for _ in range(2):
        await far.undo_disks.add(_NAME, plan.overlays)
    assert _overlay(daemon, plan).exists()
    assert await far.disks.backing_chain(plan.overlays["vda"]) == [plan.overlays["vda"], plan.bases["vda"]]
    await asyncio.to_thread(
        daemon.run, "qemu-io", "-f", "qcow2", "-c", "write -P 9 0 1M", plan.overlays["vda"]
    )
    await (far.undo_disks.merge if kept else far.undo_disks.drop)(_NAME, plan.bases)
    expected = 9 if kept else 5
    image_format = disk.suffix.removeprefix(".")
    await asyncio.to_thread(
        daemon.run, "qemu-io", "-r", "-f", image_format, "-c", f"read -P {expected} 0 1M", plan.bases["vda"]
    )
    assert await canonical(far, _NAME) == before
    await far.disks.delete_undo_disk(plan.overlays["vda"], plan.bases["vda"])
    assert [path.name for path in daemon.inside.iterdir()] == [disk.name]


@pytest.mark.parametrize("kept", [True, False])
async def test_a_running_machine_is_kept_or_rolled_back(
    far: Host, daemon: FarDaemon, disk: Path, kept: bool
) -> None:
    """It goes onto its overlay as it runs, and comes off it again."""
    before = await canonical(far, _NAME)
    await far.lifecycle.start(_NAME, paused=True)
    plan = await _planned(far)
    await far.undo_disks.add(_NAME, plan.overlays)
    assert _overlay(daemon, plan).exists()
    if kept:
        await far.undo_disks.merge(_NAME, plan.bases)
    await far.lifecycle.turn_off(_NAME)
    if not kept:
        await far.undo_disks.drop(_NAME, plan.bases)
    assert await canonical(far, _NAME) == before
    assert (await far.inventory.get(_NAME)).state is MachineState.TURNED_OFF


async def test_what_is_known_of_files_comes_from_libvirt(far: Host, daemon: FarDaemon, disk: Path) -> None:
    """Size, time, format, digest and neighbours are those of the file there; nothing here has its name."""
    named = str(daemon.disks / disk.name)
    assert not Path(named).exists()
    identity = await far.files.identity(named)
    assert identity is not None
    about = disk.stat()
    assert (identity.size_bytes, identity.mtime_ns) == (about.st_size, about.st_mtime_ns)
    assert await far.files.checksum(named) == f"sha256:{hashlib.sha256(disk.read_bytes()).hexdigest()}"
    image_format = disk.suffix.removeprefix(".")
    assert await far.files.virtual_size(named, image_format) == 8 * _MIB
    assert await far.files.find(str(daemon.disks), "far-") == [named]
    look = far.files.image_hindrance
    assert await look(named, image_format, is_device=False, is_idle=True) is None
    assert await look(f"{named}x", "raw", is_device=False, is_idle=True) is Hindrance.MISSING
    if image_format == "raw":
        assert await look(named, "qcow2", is_device=False, is_idle=True) is Hindrance.OTHER_FORMAT
    assert await far.files.folder_hindrance(str(daemon.disks), "x") is None
    assert await far.files.folder_hindrance(f"{daemon.disks}/none", "x") is Hindrance.MISSING
    assert await far.files.identity(f"{daemon.disks}/none/x") is None


_VARIABLES = """<os><type arch='x86_64' machine='q35'>hvm</type>
  <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
  <nvram>/var/tmp/far_VARS.fd</nvram></os>"""
_AUTOMATIC = "<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os>"
_TPM = """<os><type arch='x86_64'>hvm</type></os>
  <devices><tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm></devices>"""


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (_VARIABLES, "UEFI variables of stateful are kept in /var/tmp/far_VARS.fd, on the other computer"),
        (_AUTOMATIC, "UEFI variables of stateful are kept in a folder of libvirt's, on the other computer"),
        (_TPM, "TPM of stateful keeps its state in .*, on the other computer"),
    ],
)
async def test_firmware_and_tpms_of_another_computer_are_refused_by_name(
    far: Host, daemon: FarDaemon, parts: str, words: str
) -> None:
    """With the way out: a server of Innkeeper there."""
    await far.definitions.define(
        f"<domain type='{EMULATED}'><name>stateful</name><memory unit='MiB'>32</memory>"
        f"<features><acpi/></features>{parts}</domain>"
    )
    try:
        with pytest.raises(MachineUnfit, match=words) as refused:
            await far.state_files.find("stateful")
        assert "Run a server of Innkeeper on that computer" in refused.value.advice
    finally:
        await far.definitions.undefine("stateful")


async def test_a_file_of_somebody_else_is_not_taken_for_an_undo_disk(
    far: Host, daemon: FarDaemon, disk: Path
) -> None:
    """Neither planned over nor deleted."""
    plan = await _planned(far)
    overlay = _overlay(daemon, plan)
    await asyncio.to_thread(daemon.run, "qemu-img", "create", "-q", "-f", "qcow2", plan.overlays["vda"], "8M")
    with pytest.raises(DiskError):
        await far.disks.delete_undo_disk(plan.overlays["vda"], plan.bases["vda"])
    assert overlay.exists()
    with pytest.raises(MachineUnfit, match="is there already"):
        await _planned(far)


async def test_a_clone_beside_the_disk_keeps_it_from_being_maintained(
    far: Host, daemon: FarDaemon, disk: Path
) -> None:
    """libvirt there sees that another image stands on it."""
    named, image_format = daemon.disks / disk.name, disk.suffix.removeprefix(".")
    clone: list[str | Path] = [
        "create",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-F",
        image_format,
        "-b",
        named,
        daemon.disks / "clone.qcow2",
    ]
    await asyncio.to_thread(daemon.run, "qemu-img", *clone, "8M")
    with pytest.raises(MachineUnfit, match=r"is the base of the image .*clone\.qcow2"):
        await _planned(far)


async def test_a_slow_wire_that_is_cut_is_lost_and_found(
    far: Host, daemon: FarDaemon, tmp_path: Path
) -> None:
    """Every byte comes late; then the wire is cut, callers are told, and it is opened again."""
    async with slow_wire(daemon.port) as wire:
        host = await _opened(daemon.tls_uri(wire.port), tmp_path)
        wire.delay_s = 0.1
        assert list(await host.inventory.list()) == list(await far.inventory.list())
        wire.cut()
        outcomes = []
        async with asyncio.timeout(60):
            while "" not in outcomes:
                try:
                    await host.inventory.list()
                    outcomes.append("")
                except HypervisorError as error:
                    outcomes.append(error.code.name)
                    await asyncio.sleep(0.05)
        assert set(outcomes) <= {"", ErrorCode.ERROR_ONLY_IF_CONNECTED.name}
        await host.connection.close()


@pytest.mark.skipif(bool(what_ssh_needs()), reason=f"missing: {what_ssh_needs()}")
async def test_a_host_is_reached_by_ssh(
    far: Host, daemon: FarDaemon, disk: Path, home: Path, tmp_path: Path
) -> None:
    """By a command of one's own for ssh, through an sshd of this user's own."""
    server = SshServer(home, daemon.environment)
    await asyncio.to_thread(server.start)
    try:
        host = await _opened(server.uri(daemon), tmp_path)
        assert (await host.inventory.get(_NAME)).state is MachineState.TURNED_OFF
        plan = await _planned(host)
        await host.undo_disks.add(_NAME, plan.overlays)
        await host.undo_disks.drop(_NAME, plan.bases)
        assert (await host.inventory.get(_NAME)).disks[0].path == plan.bases["vda"]
        await host.connection.close()
    finally:
        await asyncio.to_thread(server.end)
