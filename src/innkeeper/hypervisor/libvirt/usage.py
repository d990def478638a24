"""Use of a libvirt host's machines: one bulk call for all of them, or one for a single machine."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import libvirt

from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.usage import Usage

_WANTED = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_BLOCK
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
)
#: Machines that are on; one in the middle of a long job is answered for with what is known.
_HOW = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
_NANO = 1_000_000_000
_KIB = 1024

Stats = Mapping[str, int]


class LibvirtUsage:
    """The use of one host's machines (``machines.ports.usage_meter.UsageMeter``)."""

    def __init__(self, uri: HostUri, connection: Connection) -> None:
        self._uri = uri
        self._connection = connection

    async def read(self) -> Sequence[Usage]:
        """The use of every machine that is on."""
        return await self._connection.measure(self._read_all, "read what the machines use")

    async def written_bytes(self, machine: str) -> int | None:
        """What this machine has written: its QEMU alone is asked."""

        def work(connect: libvirt.virConnect) -> int | None:
            domain = connect.lookupByName(machine)
            if self._uri.is_test or not domain.isActive():
                return None
            wanted, how = libvirt.VIR_DOMAIN_STATS_BLOCK, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
            told = connect.domainListGetStats([domain], wanted, how)
            return _sum(told[0][1], "block", "wr.bytes") if told and _counts_disks(told[0][1]) else None

        return await self._connection.command(work, "read what was written by", machine, final=False)

    def _read_all(self, connect: libvirt.virConnect) -> Sequence[Usage]:
        if self._uri.is_test:  # this driver has no bulk statistics
            active = connect.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            return [_made_up(domain) for domain in active]
        return [
            self._usage(domain.name(), stats)
            for domain, stats in connect.getAllDomainStats(_WANTED, _HOW)
            # Without these a job is under way: no reading is better than a wrong one.
            if "cpu.time" in stats and _counts_disks(stats)
        ]

    def _usage(self, name: str, stats: Stats) -> Usage:
        sees_network = "net.0.rx.bytes" in stats
        return Usage(
            machine=name,
            vcpus=stats.get("vcpu.current", 1),
            cpu_seconds=stats["cpu.time"] / _NANO,
            memory_bytes=stats.get("balloon.rss", stats.get("balloon.current", 0)) * _KIB,
            disk_read_bytes=_sum(stats, "block", "rd.bytes"),
            disk_written_bytes=_sum(stats, "block", "wr.bytes"),
            network_received_bytes=_sum(stats, "net", "rx.bytes") if sees_network else None,
            network_sent_bytes=_sum(stats, "net", "tx.bytes") if sees_network else None,
            started_at=self._started_at(name),
        )

    def _started_at(self, name: str) -> dt.datetime | None:
        """When QEMU wrote down its process number."""
        for directory in self._run_directories():
            with contextlib.suppress(OSError):
                written = (directory / f"{name}.pid").stat().st_mtime
                return dt.datetime.fromtimestamp(written, dt.UTC)
        return None

    def _run_directories(self) -> Iterator[Path]:
        if self._uri.root is not None:
            yield self._uri.root / "run/qemu"
        elif self._uri.is_local:
            yield Path("/run/libvirt/qemu")


def _counts_disks(stats: Stats) -> bool:
    """Whether the disks were read; while a job holds the machine they are named, and nothing is counted."""
    return stats.get("block.count") == 0 or any(name.endswith(".wr.bytes") for name in stats)


def _sum(stats: Stats, group: str, what: str) -> int:
    return sum(stats.get(f"{group}.{number}.{what}", 0) for number in range(stats.get(f"{group}.count", 0)))


def _made_up(domain: libvirt.virDomain) -> Usage:
    """The use of one machine by the test driver."""
    _, _, memory_kib, vcpus, cpu_ns = domain.info()
    return Usage(
        machine=domain.name(),
        vcpus=vcpus,
        cpu_seconds=cpu_ns / _NANO,
        memory_bytes=memory_kib * _KIB,
        disk_read_bytes=0,
        disk_written_bytes=0,
        network_received_bytes=None,
        network_sent_bytes=None,
        started_at=None,
    )
