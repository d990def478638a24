"""Compare undo points on every storage with the same steps done by hand with ``virsh`` and ``qemu-img``.

Run as ``python -m benchmarks.undo_points``. A machine of a libvirtd of our own has one disk on each storage
in turn. Each figure is the median of ``ROUNDS`` rounds, ours and by hand in turn: the undo point, keeping
``WRITTEN_MIB`` of changes, and rolling them back; with the machine off, and, a third of the rounds, with a
QEMU that runs. Ours is all of an undo point without the task around it; by hand is what a person types who
makes no mistake.
``BLOCK_DEVICE=/dev/loop0``, of at least 96 MiB and writable for this user, adds a block device; ``LUKS=1``
an encrypted disk, with one round: each of its steps derives keys for seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import libvirt
import libvirt_qemu
from lxml import etree
from rich.console import Console
from rich.table import Table

from innkeeper.hypervisor.domain.template import domain_type
from innkeeper.hypervisor.libvirt import libvirt_host
from innkeeper.machines.machine import DiskKind
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.point import UndoDisk, UndoPlan, UndoPoint
from innkeeper.tasks.clock import SystemClock
from innkeeper.wire.states import Accelerator

ROUNDS = int(os.environ.get("ROUNDS", "3"))
WRITTEN_MIB = int(os.environ.get("WRITTEN_MIB", "32"))
BLOCK_DEVICE = os.environ.get("BLOCK_DEVICE", "")
LUKS = bool(os.environ.get("LUKS"))
RESULTS = Path("build/bench/undo_points.json")

#: The type of domains whose processor never runs.
EMULATED = domain_type(Accelerator.TCG)
_NAME = "bench"
_KEY = "5d0e5a36-6b5d-4f9b-8a0a-55b5c5f5d9a1"
_WORDS = "of nobody"
_ENCRYPTION = f"<encryption format='luks'><secret type='passphrase' uuid='{_KEY}'/></encryption>"
_SIZE = "96M"
_WAIT_SECONDS = 30

Json = Mapping[str, object]
Row = dict[str, str | float]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """One kind of storage with a disk on it."""

    name: str
    #: The disk's ``<source>`` with what is in it, and its ``type``.
    source: str
    type: str
    format: str
    #: How the definition, and how ``qemu-img`` name the disk's image.
    base: str
    backing: str
    kind: DiskKind = DiskKind.FILE
    resolved: str = ""
    encrypted: bool = False

    def definition(self) -> str:
        """A machine with this disk and no system: its QEMU runs all the same."""
        return (
            f"<domain type='{EMULATED}'><name>{_NAME}</name><memory unit='MiB'>32</memory>"
            "<os><type arch='x86_64'>hvm</type></os><devices><controller type='usb' model='none'/>"
            f"<disk type='{self.type}' device='disk'><driver name='qemu' type='{self.format}'/>{self.source}"
            "<target dev='vda' bus='virtio'/></disk><memballoon model='none'/></devices></domain>"
        )


class Bench:
    """A libvirtd of our own, a machine on it, and both ways of doing it."""

    def __init__(self, directory: Path, host: Host, connect: libvirt.virConnect, storage: Storage) -> None:
        self._directory, self._host, self._connect, self._storage = directory, host, connect, storage
        self._overlay = directory / "undo.qcow2"
        disk = UndoDisk(
            target="vda", base=storage.base, overlay=str(self._overlay), kind=storage.kind,
            resolved=storage.resolved,
        )  # fmt: skip
        plan = UndoPlan(machine=_NAME, disks=(disk,))
        self._point = UndoPoint(host, plan, clock=SystemClock())
        connect.defineXML(storage.definition())
        self._before = directory / "before.xml"
        self._before.write_text(connect.lookupByName(_NAME).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

    async def rounds(self, *, running: bool) -> Iterator[Row]:
        """Measure each step in both ways."""
        ours: dict[str, list[float]] = {}
        by_hand: dict[str, list[float]] = {}
        for _ in range(_rounds(self._storage, running=running)):
            for keep in (True, False):
                await self._round(ours, self._ours(running=running, keep=keep), running=running, keep=keep)
                await self._round(
                    by_hand, self._by_hand(running=running, keep=keep), running=running, keep=keep
                )
        state = "running" if running else "off"
        return iter([_row(self._storage.name, state, step, ours[step], by_hand[step]) for step in ours])

    async def _round(
        self, times: dict[str, list[float]], ways: tuple[Step, Step], *, running: bool, keep: bool
    ) -> None:
        if running:
            self._connect.lookupByName(_NAME).create()
        take, end = ways
        times.setdefault("undo point", []).append(await _timed(take))
        await asyncio.to_thread(self._write, running)
        times.setdefault("keep" if keep else "roll back", []).append(await _timed(end))
        if running:
            self._connect.lookupByName(_NAME).destroy()
        if self._overlay.exists():
            raise RuntimeError(f"{self._overlay} was left")
        disk = self._connect.lookupByName(_NAME).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        if str(self._overlay) in disk:
            raise RuntimeError("the machine was left on its undo disk")

    # Ours

    def _ours(self, *, running: bool, keep: bool) -> tuple[Step, Step]:
        async def take() -> None:
            await self._point.take(freeze_seconds=5)

        async def end() -> None:
            if keep:
                await self._point.merge()
            else:
                if running:
                    await self._host.lifecycle.turn_off(_NAME)
                await self._point.drop()
            await self._point.delete_files()
            if running and not keep:
                await self._host.lifecycle.start(_NAME)

        return take, end

    # By hand

    def _by_hand(self, *, running: bool, keep: bool) -> tuple[Step, Step]:
        take = self._snapshot if running else self._edit
        end = {
            (True, True): self._blockcommit,
            (True, False): self._destroy_and_start,
            (False, True): self._commit,
            (False, False): self._define_before,
        }[running, keep]
        return _in_thread(take), _in_thread(end)

    def _snapshot(self) -> None:
        request = self._directory / "snapshot.xml"
        inside = _ENCRYPTION if self._storage.encrypted else ""
        request.write_text(
            f"<domainsnapshot><disks><disk name='vda' snapshot='external' type='file'><driver type='qcow2'/>"
            f"<source file='{self._overlay}'>{inside}</source></disk></disks></domainsnapshot>"
        )
        self._virsh("snapshot-create", _NAME, request, "--disk-only", "--atomic", "--no-metadata")

    def _edit(self) -> None:
        storage = self._storage
        encryption = ("-o", "encrypt.format=luks,encrypt.key-secret=key") if storage.encrypted else ()
        over = ("-u",) if storage.encrypted else ()
        _run("qemu-img", "create", *_key(storage), "-q", "-f", "qcow2", *encryption, *over,
             "-b", storage.backing, "-F", storage.format, self._overlay,
             *((_SIZE,) if over else ()))  # fmt: skip
        node = etree.fromstring(self._before.read_bytes())
        disk = cast("etree._Element", node.find("devices/disk"))
        source, driver = (
            cast("etree._Element", disk.find("source")),
            cast("etree._Element", disk.find("driver")),
        )
        below = etree.SubElement(disk, "backingStore", type=storage.type)
        etree.SubElement(below, "format", type=storage.format)
        below.append(source)
        disk.set("type", "file")
        driver.set("type", "qcow2")
        above = etree.SubElement(disk, "source", file=str(self._overlay))
        if storage.encrypted:
            above.append(etree.fromstring(_ENCRYPTION))
        edited = self._directory / "edited.xml"
        edited.write_bytes(etree.tostring(node))
        self._virsh("define", edited)

    def _blockcommit(self) -> None:
        self._virsh("blockcommit", _NAME, "vda", "--shallow", "--active", "--pivot", "--wait")
        self._define_before()

    def _destroy_and_start(self) -> None:
        self._virsh("destroy", _NAME)
        self._define_before()
        self._virsh("start", _NAME)

    def _commit(self) -> None:
        _run("qemu-img", "commit", *_key(self._storage), "-q", self._overlay_node())
        self._define_before()

    def _define_before(self) -> None:
        self._virsh("define", self._before)
        self._overlay.unlink()

    def _virsh(self, *words: str | Path) -> None:
        _run("virsh", "-q", "-c", self._host.uri, *words)

    # What the guest writes

    def _write(self, running: bool) -> None:
        command = f"write -P 5 8M {WRITTEN_MIB}M"
        if running:
            device = "/machine/peripheral/virtio-disk0/virtio-backend"
            domain = self._connect.lookupByName(_NAME)
            words = f'qemu-io -d {device} "{command}"'
            libvirt_qemu.qemuMonitorCommand(domain, words, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP)
        else:
            _run("qemu-io", *_key(self._storage), "-c", command, self._overlay_node())
        if self._overlay.stat().st_blocks * 512 < WRITTEN_MIB << 20:
            raise RuntimeError("nothing was written")

    def _overlay_node(self) -> str:
        node: dict[str, object] = {"driver": "qcow2", "file": _file(self._overlay)}
        if self._storage.encrypted:
            encrypt = {"encrypt": {"format": "luks", "key-secret": "key"}}
            base = {"driver": "qcow2", "file": _file(Path(self._storage.base)), **encrypt}
            node |= {**encrypt, "backing": base}
        return "json:" + json.dumps(node)


Step = Callable[[], Awaitable[None]]


def _in_thread(work: Callable[[], None]) -> Step:
    async def step() -> None:
        await asyncio.to_thread(work)

    return step


def _file(path: Path) -> Json:
    return {"driver": "file", "filename": str(path)}


def _key(storage: Storage) -> tuple[str, ...]:
    return ("--object", f"secret,id=key,data={_WORDS}") if storage.encrypted else ()


def _run(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr}{done.stdout}")


async def _timed(step: Step) -> float:
    began = time.perf_counter()
    await step()
    return time.perf_counter() - began


def _row(storage: str, state: str, step: str, ours: list[float], by_hand: list[float]) -> Row:
    mine, other = statistics.median(ours), statistics.median(by_hand)
    return {
        "storage": storage,
        "machine": state,
        "step": step,
        "ours_ms": mine * 1e3,
        "by_hand_ms": other * 1e3,
        "ratio": mine / other,
    }


def _rounds(storage: Storage, *, running: bool) -> int:
    """Starts and encryption take seconds: fewer rounds of them tell as much."""
    if storage.encrypted:
        return 1
    return max(1, ROUNDS // 3) if running else ROUNDS


# Storages


def _storages(directory: Path, connect: libvirt.virConnect) -> Iterator[Storage]:
    """Each kind of storage, with the servers and pools that it needs."""
    yield _in_file("file, qcow2", _made(directory / "q.qcow2", "qcow2"), "qcow2")
    yield _in_file("file, raw", _made(directory / "r.raw", "raw"), "raw")
    golden = _made(directory / "golden.qcow2", "qcow2")
    clone = directory / "clone.qcow2"
    _run("qemu-img", "create", "-q", "-f", "qcow2", "-b", golden, "-F", "qcow2", clone)
    yield _in_file("linked clone", clone, "qcow2")
    pool = f"<pool type='dir'><name>bench</name><target><path>{directory}</path></target></pool>"
    volume = _made(directory / "v.qcow2", "qcow2")
    connect.storagePoolCreateXML(pool).refresh()
    yield Storage(
        name="volume", type="volume", format="qcow2", source="<source pool='bench' volume='v.qcow2'/>",
        base="bench/v.qcow2", backing=str(volume), kind=DiskKind.VOLUME, resolved=str(volume),
    )  # fmt: skip
    with _served(_made(directory / "n.raw", "raw"), directory / "nbd") as socket:
        address = f"nbd+unix:///vm?socket={socket}"
        yield Storage(
            name="NBD", type="network", format="raw", base=address, backing=address, kind=DiskKind.NETWORK,
            source=f"<source protocol='nbd' name='vm'><host transport='unix' socket='{socket}'/></source>",
        )  # fmt: skip
    if BLOCK_DEVICE:
        yield Storage(
            name="block device", type="block", format="raw", source=f"<source dev='{BLOCK_DEVICE}'/>",
            base=BLOCK_DEVICE, backing=BLOCK_DEVICE, kind=DiskKind.BLOCK,
        )  # fmt: skip
    if LUKS:
        yield _encrypted(directory / "luks.qcow2", connect)


def _encrypted(path: Path, connect: libvirt.virConnect) -> Storage:
    secret = f"<secret ephemeral='no' private='no'><uuid>{_KEY}</uuid></secret>"
    connect.secretDefineXML(secret).setValue(_WORDS.encode())
    _run("qemu-img", "create", "--object", f"secret,id=key,data={_WORDS}", "-q", "-f", "qcow2",
         "-o", "encrypt.format=luks,encrypt.key-secret=key", path, _SIZE)  # fmt: skip
    return Storage(
        name="LUKS", type="file", format="qcow2", source=f"<source file='{path}'>{_ENCRYPTION}</source>",
        base=str(path), backing=str(path), encrypted=True,
    )  # fmt: skip


def _in_file(name: str, path: Path, image_format: str) -> Storage:
    return Storage(
        name=name, type="file", format=image_format, source=f"<source file='{path}'/>", base=str(path),
        backing=str(path),
    )  # fmt: skip


def _made(path: Path, image_format: str) -> Path:
    _run("qemu-img", "create", "-q", "-f", image_format, path, _SIZE)
    return path


@contextlib.contextmanager
def _served(image: Path, socket: Path) -> Iterator[Path]:
    command = ["qemu-nbd", "-t", "-e", "8", "-f", "raw", "-k", str(socket), "-x", "vm", str(image)]
    with subprocess.Popen(command) as server:
        _until(socket.exists)
        yield socket
        server.terminate()


# libvirtd


@contextlib.contextmanager
def _daemon(home: Path) -> Iterator[str]:
    """A libvirtd of this user's own; gives its URI."""
    places = (("RUNTIME_DIR", "run"), ("CONFIG_HOME", "config"), ("CACHE_HOME", "cache"))
    for name, directory in places:
        (home / directory).mkdir(mode=0o700)
        os.environ[f"XDG_{name}"] = str(home / directory)
    with subprocess.Popen(["libvirtd"], stderr=subprocess.DEVNULL) as process:
        _until((home / "run/libvirt/libvirt-sock").exists)
        yield f"qemu+unix:///session?socket={home}/run/libvirt/libvirt-sock"
        process.terminate()


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError("a server did not start")
        time.sleep(0.01)


async def _measure(directory: Path, uri: str) -> list[Row]:
    host = libvirt_host(name="here", uri=uri, publish=lambda _event: None, state_directory=directory)
    await host.connection.open()
    rows: list[Row] = []
    with contextlib.closing(libvirt.open(uri)) as connect:
        for storage in _storages(directory, connect):
            bench = Bench(directory, host, connect, storage)
            for running in (False, True):
                rows += await bench.rounds(running=running)
            connect.lookupByName(_NAME).undefine()
    await host.connection.close()
    return rows


def _show(rows: list[Row]) -> None:
    table = Table("storage", "machine", "step", "Innkeeper, ms", "by hand, ms", "ratio")
    for row in rows:
        table.add_row(
            str(row["storage"]), str(row["machine"]), str(row["step"]), f"{row['ours_ms']:.0f}",
            f"{row['by_hand_ms']:.0f}", f"{row['ratio']:.2f}",
        )  # fmt: skip
    Console(width=110).print(table)
    print(f"load {os.getloadavg()[0]:.1f}, {ROUNDS} rounds, {WRITTEN_MIB} MiB written")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"load": os.getloadavg()[0], "rows": rows}, indent=2))


def main() -> None:
    """Measure, and print a table."""
    if shutil.which("libvirtd") is None or os.geteuid() == 0:
        print("not measured: it needs libvirtd, and a user who is not root")
        return
    with tempfile.TemporaryDirectory(prefix="ik-", dir="/tmp") as name:
        directory = Path(name)
        with _daemon(directory) as uri:
            rows = asyncio.run(_measure(directory, uri))
    _show(rows)


if __name__ == "__main__":
    main()
