"""Opens and closes the connection to a libvirt host."""

from __future__ import annotations

import asyncio

from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.stale_starts import clear_stale_starts
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.hypervisor.libvirt.watch import Watch


class Link:
    """The connection to one host (``machines.ports.connection.HostConnection``)."""

    def __init__(self, uri: HostUri, connection: Connection, watch: Watch, exported: ExportedDisks) -> None:
        self._uri = uri
        self._watch = watch
        self._exported = exported
        #: libvirt's connection, for programs that measure it.
        self.libvirt = connection

    async def open(self) -> None:
        """Connect, publish events from now on, and remove what cut-off starts and saves have left."""
        self._watch.use_loop()
        if self._uri.root is not None:
            await asyncio.to_thread(clear_stale_starts, self._uri.root)
        await self.libvirt.open()
        await self._exported.open()

    async def let_go(self) -> None:
        """Disconnect from a host that another server looks after now."""
        await self._exported.close()
        await self.libvirt.let_go()

    async def close(self) -> None:
        """Disconnect. The host's machines go on."""
        await self._exported.close()
        await self.libvirt.close()
