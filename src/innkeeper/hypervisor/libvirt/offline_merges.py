"""Merge the undo disks of machines that are off by storage daemons of the service's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import libvirt
import structlog

from innkeeper.disks.progress import Watch
from innkeeper.errors import NotSupported
from innkeeper.hypervisor.libvirt.chain_nodes import Undescribed
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.described_chains import DescribedChains
from innkeeper.hypervisor.libvirt.domains import Domains, persistent
from innkeeper.hypervisor.libvirt.image_chain import ImageChain
from innkeeper.hypervisor.libvirt.merging import adding_up
from innkeeper.hypervisor.libvirt.offline_merge import merge_offline
from innkeeper.hypervisor.watched_thread import in_watched_thread
from innkeeper.machines.ports.progress import OnProgress
from innkeeper.servers.fence import passed

_log = structlog.get_logger(__name__)


class OfflineMerges:
    """The merges of one host's machines that are off, where the service may open their images itself."""

    def __init__(self, connection: Connection, domains: Domains, chains: DescribedChains) -> None:
        self._connection = connection
        self._domains = domains
        self._chains = chains

    async def merge(
        self, name: str, bases: Mapping[str, str], mib_per_s: int, on_progress: OnProgress | None
    ) -> bool:
        """Merge each disk's overlay into its base (target → base); the definition is left as it is.

        Returns false, with no disk changed that is not merged, where it is to be done another way: the
        machine runs, or an image is not ours to open. Raises ``DiskError`` where a merge fails.
        """
        chains = await self._connection.ask(
            lambda connect: self._described(connect, name, bases), "find the images of", name
        )
        if chains is None:
            return False
        totals: dict[str, tuple[int, int]] = {}
        with self._shown_as_merging(name):
            for target, chain in chains.items():
                report = adding_up(totals, target, on_progress)
                await passed(self._connection.fence)
                if not await _merge(name, chain, mib_per_s, report):
                    return False
        return True

    def _described(
        self, connect: libvirt.virConnect, name: str, bases: Mapping[str, str]
    ) -> Mapping[str, ImageChain] | None:
        domain = connect.lookupByName(name)
        if domain.isActive():
            return None
        definition, found = persistent(domain), {}
        for target, base in bases.items():
            disk = definition.disk(target)
            if disk.source() == base:
                # A merge by the machine itself had come so far.
                continue
            chain = self._chains.of(connect, disk, base)
            if chain is None:
                return None
            found[target] = chain
        return found

    @contextlib.contextmanager
    def _shown_as_merging(self, name: str) -> Iterator[None]:
        """Nobody starts the machine meanwhile; who tries it past us finds its images locked."""
        self._domains.merged_offline.add(name)
        try:
            yield
        finally:
            self._domains.merged_offline.discard(name)


async def _merge(name: str, chain: ImageChain, mib_per_s: int, on_progress: OnProgress | None) -> bool:
    def work(watch: Watch) -> None:
        merge_offline(chain, mib_per_s=mib_per_s, watch=watch)

    try:
        await in_watched_thread(work, on_progress)
    except (Undescribed, NotSupported) as error:
        _log.info("merge.by_machine", machine=name, why=error.sentence)
        return False
    return True
