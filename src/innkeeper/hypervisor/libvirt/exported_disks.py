"""VHDs that machines reach by exports: plain bytes for QEMU, the whole chain for the guest."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

import libvirt
import structlog

from innkeeper.disks import qemu_img
from innkeeper.disks.confined.reach import Reach
from innkeeper.disks.export_files import MARK
from innkeeper.disks.facts import peek
from innkeeper.disks.kind import Kind
from innkeeper.errors import DiskError, InnkeeperError, MachineUnfit, NotSupported
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.disk_elements import EXPORTED, DiskElement
from innkeeper.hypervisor.libvirt.domains import Domains, current, persistent, redefine
from innkeeper.hypervisor.libvirt.export_bases import chain_to_export
from innkeeper.hypervisor.libvirt.reconnecting import reconnect
from innkeeper.hypervisor.libvirt.states import SavedImage
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.exports import DiskExports
from innkeeper.tasks.supervision import Loops

_log = structlog.get_logger()

#: libvirt's name for the format of a VHD that QEMU reads by itself.
VPC = "vpc"
_OFF = frozenset({MachineState.TURNED_OFF})
#: Seconds between two looks for exports that were killed, and how long their machines are woken.
_KEEP_SECONDS = 1.0
_WAKE_SECONDS = 30.0


class ExportedDisks:
    """The VHDs that one host's machines reach by exports."""

    def __init__(
        self,
        uri: HostUri,
        connection: Connection,
        domains: Domains,
        exports: DiskExports | None,
        loops: Loops | None = None,
    ) -> None:
        self._uri = uri
        self._connection = connection
        self._domains = domains
        self._exports = exports if uri.is_local and not uri.is_test else None
        self._loops = loops or Loops()
        self._keeping: asyncio.Task[None] | None = None
        #: Until when the machines on an image are woken, by its path.
        self._woken_until: dict[str, float] = {}

    async def open(self) -> None:
        """Start again what was killed meanwhile, and see from now on that nothing stays so."""
        if self._exports is not None:
            await self._exports.revive()
            self._keeping = self._loops.start("exports of disks", self._keep)

    async def close(self) -> None:
        """Stop watching the exports, which go on by themselves."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})

    # For starts, saves and merges

    @contextlib.asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[None]:
        """Keep the exports that a machine needs running while it is started."""
        needed = await self._connection.ask(lambda c: self._needed(c, name), "find the disks of", name)
        if not needed:
            yield
            return
        async with self._given().held(needed):
            yield

    def use(self, disk: DiskElement, path: str, image_format: str) -> None:
        """Point a disk at an image: at a VHD by its export, at another one directly."""
        if image_format == EXPORTED:
            disk.use_export(path, self.socket_of(path))
        else:
            disk.use_file(path, image_format)

    def refuse_direct(self, definition: Definition) -> None:
        """Refuse a definition by which QEMU itself would read a differencing VHD, as if it had no parent."""
        for disk in definition.disks():
            if disk.source_file and _is_differencing(disk) and self._uri.is_local:
                raise MachineUnfit(
                    f"The disk {disk.target} of {definition.name} is the differencing disk "
                    f"{disk.source_file}: QEMU would read it without its parent, and destroy it.",
                    machine=definition.name,
                    advice=f"Let it run by an export: innkeeper disk connect {definition.name}",
                )

    async def connect(self, name: str) -> Sequence[str]:
        """Make the definition of a machine that is off name an export for each of its VHDs."""

        def work(connect: libvirt.virConnect) -> Sequence[str]:
            domain = connect.lookupByName(name)
            self._domains.require(domain, _OFF, "be given its disks by exports")
            definition = persistent(domain)
            found = [disk for disk in definition.disks() if disk.source_file and disk.driver == VPC]
            for disk in found:
                self._refuse_unreachable(definition, disk)
                disk.use_export(disk.source_file, self.socket_of(disk.source_file))
            if found:
                redefine(connect, definition)
            return [disk.target for disk in found]

        return await self._connection.command(work, "connect the disks of", name)

    def socket_of(self, path: str) -> str:
        """The socket where the export of a VHD listens; raises ``NotSupported`` where there are none."""
        return self._given().socket_of(path)

    def create_overlay(self, path: str, base: str) -> None:
        """Make an empty overlay over an exported VHD that no QEMU runs: libvirt cannot."""
        # Nothing is opened by its name: the export need not run, and the size is the engine's to tell.
        size = str(peek(base)[1])
        new = qemu_img.new_file(Path(path))
        command = ["create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", self._backing(base), new, size]
        try:
            qemu_img.run(command, Path(path), 0, reach=Reach(writes=(Path(path).parent,)))
        except DiskError as error:
            raise DiskError(
                f"The undo disk {path} cannot be made: {error.sentence}", path=path, code=error.code
            ) from error

    # Machinery

    def _given(self) -> DiskExports:
        if self._exports is None:
            raise NotSupported(
                f"The host at {self._uri.text} cannot reach the exports of this computer's disks.",
                advice="Convert the disk for it: innkeeper disk merge-to DISK NEW --to qcow2",
            )
        return self._exports

    def _backing(self, path: str) -> str:
        source = {"type": "unix", "path": self.socket_of(path)}
        node = {"driver": "nbd", "export": f"{MARK}{path}", "server": source}
        return "json:" + json.dumps({"file": node})

    def _refuse_unreachable(self, definition: Definition, disk: DiskElement) -> None:
        if self._uri.is_system:
            raise NotSupported(
                f"The system's libvirt runs {definition.name} as another user, who may not reach "
                "the export of a disk.",
                advice=f"Convert the disk: innkeeper disk merge-to {disk.source_file} NEW --to qcow2",
            )
        # Before the definition is touched.
        self._given().require_sound(disk.source_file)

    def _needed(self, connect: libvirt.virConnect, name: str) -> Collection[str]:
        domain = connect.lookupByName(name)
        definitions = [persistent(domain), current(domain)]
        if not self._uri.is_test and self._domains.saved_image(domain) is SavedImage.WHOLE:
            definitions.append(Definition.parse(domain.managedSaveGetXMLDesc(0)))
        return {path: None for each in definitions for path in _exported(each)}

    async def _keep(self) -> None:
        """Start killed exports again, and wake the machines that have stopped for want of them."""
        while True:
            await asyncio.sleep(_KEEP_SECONDS)
            try:
                await self._revive()
            except InnkeeperError as error:
                _log.warning("exports.not_kept", error=str(error))

    async def _revive(self) -> None:
        now = time.monotonic()
        for path in await self._given().revive():
            self._woken_until[path] = now + _WAKE_SECONDS
        self._woken_until = {path: until for path, until in self._woken_until.items() if until > now}
        if self._woken_until:
            await self._wake(tuple(self._woken_until))

    async def _wake(self, paths: Collection[str]) -> None:
        await self._connection.command(lambda connect: _wake(connect, paths), "wake machines", again=True)


def _is_differencing(disk: DiskElement) -> bool:
    """Whether QEMU would be given a differencing VHD: by its format, or by a name that tells."""
    path = disk.source_file
    if disk.driver != VPC and not path.lower().endswith((".vhd", ".avhd")):
        return False
    try:
        return peek(path)[0] is Kind.DIFFERENCING
    except DiskError:
        # Not there, or not to be read: QEMU says what is wrong with it.
        return False


def _exported(definition: Definition) -> Sequence[str]:
    """The VHDs that a definition's disks stand on by exports."""
    found = []
    for disk in definition.disks():
        if disk.is_exported:
            found.append(disk.file)
            continue
        below = [path for path, kind in disk.backing() if kind == EXPORTED]
        if not below and disk.source_file and disk.driver == "qcow2":
            below = [path for path, kind in chain_to_export(disk.source_file) or () if kind == EXPORTED]
        found += below
    return found


def _wake(connect: libvirt.virConnect, paths: Collection[str]) -> None:
    for domain in connect.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_PAUSED):
        if domain.state()[1] != libvirt.VIR_DOMAIN_PAUSED_IOERROR:
            continue
        if set(_exported(current(domain))) & set(paths):
            try:
                nodes = reconnect(domain, paths)
                domain.resume()
            except libvirt.libvirtError as error:
                _log.warning("export.machine_not_woken", machine=domain.name(), error=str(error))
            else:
                _log.info("export.machine_woken", machine=domain.name(), nodes=nodes)
