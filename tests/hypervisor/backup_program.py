"""A small program for incremental backups, as others write them for libvirt."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import libvirt
import libvirt_qemu
from lxml import etree

from innkeeper.hypervisor.libvirt.domains import current

_TIMEOUT_S = 60


class LibvirtBackupProgram:
    """Backs up the disks of one machine that is on."""

    def __init__(self, connect: libvirt.virConnect, machine: str, directory: Path, sockets: Path) -> None:
        self._connect = connect
        self._machine = machine
        self._directory = directory
        self._socket = sockets / "nbd"

    @classmethod
    @contextlib.contextmanager
    def on(cls, uri: str, machine: str, directory: Path) -> Iterator[Self]:
        """A program with a connection of its own; ``directory`` is for the files that it writes."""
        sockets = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
        yield cls(_opened(uri), machine, directory, sockets)
        shutil.rmtree(sockets)

    async def begin(self, checkpoint: str, since: str = "") -> None:
        """Begin a checkpoint and a backup that somebody may read until it is ended."""
        self._socket.unlink(missing_ok=True)
        server = f"<server transport='unix' socket='{self._socket}'/>"
        scratches = {target: self._directory / f"{target}.scratch" for target in self._targets()}
        for scratch in scratches.values():
            scratch.unlink(missing_ok=True)
        disks = "".join(
            f"<disk name='{target}' type='file'><scratch file='{scratch}'/></disk>"
            for target, scratch in scratches.items()
        )
        await self._begin(
            f"<domainbackup mode='pull'>{_since(since)}{server}<disks>{disks}</disks></domainbackup>",
            checkpoint,
        )

    async def end(self) -> None:
        """End it."""
        await asyncio.to_thread(self._domain().abortJob)
        await self._ended()

    async def begin_past_libvirt(self, job: str, file: Path) -> None:
        """Have QEMU begin a slow backup that libvirt knows nothing of."""
        images = await self._qmp("query-named-block-nodes", flat=True)
        used = current(self._domain()).disk("vda").source()
        [node] = [each["node-name"] for each in images if each["drv"] == "qcow2" and each["file"] == used]
        await self._qmp(
            "drive-backup",
            **{"device": node, "job-id": job, "target": str(file), "sync": "full", "format": "qcow2"},
            speed=65536,
        )

    async def end_past_libvirt(self, job: str) -> None:
        """Cancel it."""
        await self._qmp("block-job-cancel", device=job, force=True)

    async def _qmp(self, command: str, **arguments: object) -> list[dict[str, str]]:
        line = json.dumps({"execute": command, "arguments": arguments})
        answer = json.loads(await asyncio.to_thread(libvirt_qemu.qemuMonitorCommand, self._domain(), line, 0))
        assert "return" in answer, answer
        return list(answer["return"])

    async def write(self, target: str, file: Path, checkpoint: str, since: str = "") -> Path:
        """Write a backup of one disk into a new qcow2 file, which has the increment alone."""
        disk = f"<disk name='{target}' type='file'><target file='{file}'/><driver type='qcow2'/></disk>"
        others = "".join(f"<disk name='{each}' backup='no'/>" for each in self._targets() if each != target)
        await self._begin(
            f"<domainbackup>{_since(since)}<disks>{disk}{others}</disks></domainbackup>", checkpoint
        )
        await self._ended()
        return file

    async def monitor(self, command: str) -> None:
        """Have QEMU write to the first disk as its guest would."""
        device = "/machine/peripheral/virtio-disk0/virtio-backend"
        for each in (command, "flush"):
            answer = await asyncio.to_thread(
                libvirt_qemu.qemuMonitorCommand,
                self._domain(),
                f'qemu-io -d {device} "{each}"',
                libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP,
            )
            assert "rror" not in answer, answer

    async def forget(self, checkpoint: str, *, metadata_only: bool = False) -> None:
        """Give up a checkpoint."""
        flags = libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY if metadata_only else 0
        await asyncio.to_thread(lambda: self._domain().checkpointLookupByName(checkpoint).delete(flags))

    def _domain(self) -> libvirt.virDomain:
        return self._connect.lookupByName(self._machine)

    def _targets(self) -> list[str]:
        definition = etree.fromstring(self._domain().XMLDesc().encode())
        return [str(target.get("dev")) for target in definition.iterfind("devices/disk/target")]

    async def _begin(self, backup: str, checkpoint: str) -> None:
        disks = "".join(f"<disk name='{target}' checkpoint='bitmap'/>" for target in self._targets())
        named = f"<domaincheckpoint><name>{checkpoint}</name><disks>{disks}</disks></domaincheckpoint>"
        await asyncio.to_thread(lambda: self._domain().backupBegin(backup, named))

    async def _ended(self) -> None:
        async with asyncio.timeout(_TIMEOUT_S):
            while self._domain().jobStats().get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:
                await asyncio.sleep(0.02)


@functools.cache
def _opened(uri: str) -> libvirt.virConnect:
    """One connection for all: a process may open libvirt's embedded driver a few times only."""
    return libvirt.open(uri)


def _since(checkpoint: str) -> str:
    return f"<incremental>{checkpoint}</incremental>" if checkpoint else ""
