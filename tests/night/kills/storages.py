"""Undo points of real machines on every storage, kept or rolled back, while anything in them is killed.

A machine without a guest; its disk's writes are made by QEMU's own tools. What the service notes between its
steps is a small journal of the trial's, and each of its lives does what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import libvirt
import libvirt_qemu
from lxml import etree

from innkeeper.disks.exports import Exports
from innkeeper.errors import HypervisorError
from innkeeper.hypervisor.libvirt import embedded_root, embedded_uri, libvirt_host, prepare_root
from innkeeper.hypervisor.libvirt.undo_disks import LibvirtUndoDisks
from innkeeper.machines.machine import DiskKind, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.leftovers import find_leftovers
from innkeeper.machines.undo.merge_marks import forget_merge
from innkeeper.machines.undo.point import UndoDisk, UndoPlan, UndoPoint
from innkeeper.tasks.clock import SystemClock
from tests.guests.machines import EMULATED
from tests.hypervisor.daemons import Daemon
from tests.night.kills.disks import STORAGES, Disk, Volume
from tests.night.kills.trial import Life, Outcome, children, kill_all, kill_processes, processes

_NAME = "m"
_MIB = 1 << 20
_SERVICE = "service"
_DAEMON = "libvirtd"
#: What may die of a machine that is on, or off, and by which names it is found; the service is a life itself.
_VICTIMS_ON: Mapping[str, Sequence[str]] = {_SERVICE: (), "QEMU": ("qemu-system",)}
_VICTIMS_OFF: Mapping[str, Sequence[str]] = {
    _SERVICE: (), "qemu-img": ("qemu-img",), "storage daemon": ("qemu-storage",)
}  # fmt: skip
_STAGES = ("planned", "taken", "written", "ended", "done")
#: How long after its sight a process is killed, at the most.
_LATEST_S = 0.4
_CONNECTS_S = 60.0
_SELDOM = 0.2
_MOST_LIVES = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a trial's machine and all its files are."""

    directory: Path
    disks: Sequence[Disk]
    keep: bool
    runs: bool
    merge_mib: int
    daemon: Daemon | None

    @property
    def journal(self) -> Path:
        """How far the undo point has come."""
        return self.directory / "journal"

    @property
    def stage(self) -> str:
        """The last thing that was done."""
        return self.journal.read_text() if self.journal.exists() else "planned"

    def note(self, stage: str) -> None:
        """Note, durably, that something is done."""
        new = self.directory / "journal.new"
        new.write_text(stage)
        new.rename(self.journal)

    @property
    def plan(self) -> UndoPlan:
        """The undo point."""
        return UndoPlan(
            machine=_NAME,
            disks=tuple(
                UndoDisk(
                    target=disk.target,
                    base=disk.base,
                    overlay=str(disk.overlay),
                    kind=DiskKind.VOLUME if isinstance(disk, Volume) else DiskKind.FILE,
                    resolved=str(disk.path) if isinstance(disk, Volume) else "",
                )
                for disk in self.disks
            ),
        )


def trial(chance: random.Random, directory: Path) -> Outcome:
    """One undo point, of one disk or of two on different storages."""
    # A passphrase takes QEMU seconds each time.
    among = [kind for kind in sorted(STORAGES) if kind != "LUKS" or chance.random() < _SELDOM]
    kinds = chance.sample(among, chance.choice((1, 1, 2)))
    disks = [STORAGES[kind](directory, f"vd{'ab'[n]}") for n, kind in enumerate(kinds)]
    daemon = None
    if chance.random() < 0.3 or any(disk.NEEDS_DAEMON for disk in disks):
        daemon = _a_daemon(directory)
    place = Place(
        daemon=daemon,
        directory=directory, disks=disks, keep=chance.random() < 0.6, runs=chance.random() < 0.5,
        merge_mib=chance.choice((0, 8, 24)),
    )  # fmt: skip
    driver = "embedded" if daemon is None else "libvirtd"
    outcome = Outcome(storage=f"{' + '.join(sorted(kinds))}, {'on' if place.runs else 'off'}, {driver}")
    try:
        _try(place, chance, outcome)
    finally:
        if daemon is not None:
            daemon.kill()
    return outcome


def _try(place: Place, chance: random.Random, outcome: Outcome) -> None:
    for disk in place.disks:
        disk.make(chance)
    before = _in_a_life(place, _define)
    first = [disk.sums() for disk in place.disks]
    for _life in range(chance.randint(1, _MOST_LIVES)):
        if _cut_short(place, chance, outcome) or outcome.faults:
            break
        _judge_cut(place, first, outcome)
    for disk in place.disks:
        disk.heal()
    if not outcome.faults:
        _finish(place, before, first, outcome)


def _cut_short(place: Place, chance: random.Random, outcome: Outcome) -> bool:
    """Let the service live until something is killed; says whether it came to its end."""
    known = dict(_VICTIMS_ON if place.runs else _VICTIMS_OFF)
    if place.daemon is not None:
        known[_DAEMON] = ()
    victim = chance.choice(
        [*known, _SERVICE, _SERVICE, *(word for disk in place.disks for word in disk.failures)]
    )
    stage = chance.choice(_STAGES[_STAGES.index(place.stage) : -1] or ("ended",))
    wait = chance.choice((0, chance.uniform(0, _LATEST_S)))
    life = Life(lambda: asyncio.run(_with_host(place, _go_on)), place.directory / "log")
    happened = _come_to(place, life, stage) and _strike(place, life, victim, wait, known.get(victim, ()))
    life.wait()
    if life.was_killed and not happened:
        outcome.faults.append("the service was stuck")
    if happened:
        outcome.kills.append(victim)
    if victim == _DAEMON and happened and place.daemon is not None:
        place.daemon.start()
    for disk in place.disks:
        disk.heal()
    return life.went_well


def _come_to(place: Place, life: Life, stage: str) -> bool:
    """Wait until a stage is reached; says whether it was."""
    while place.stage != stage and life.goes_on():
        time.sleep(0.002)
    return life.goes_on()


def _strike(place: Place, life: Life, victim: str, wait: float, programs: Sequence[str]) -> bool:
    """Kill what is to be killed, when its time has come; says whether there was anything to kill."""
    failing = [disk for disk in place.disks if victim in disk.failures]
    if failing or victim in (_SERVICE, _DAEMON):
        if not _after(life, 2 * wait):
            return False
        if victim == _DAEMON and place.daemon is not None:
            place.daemon.kill()
            return True
        return failing[0].fail(victim) if failing else life.kill()
    if place.runs:
        return _after(life, wait) and kill_processes(place.directory, *programs)
    while life.goes_on():
        if [*children(life.process, *programs)]:
            time.sleep(wait / 8)  # they are quick
            if kill_all(children(life.process, *programs)):
                return True
        time.sleep(0.001)
    return False


def _after(life: Life, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while life.goes_on() and time.monotonic() < end:
        time.sleep(0.002)
    return life.goes_on()


# The service's lives


async def _with_host(place: Place, work: Callable[[Place, Host], Awaitable[None]]) -> None:
    LibvirtUndoDisks.bandwidth_mib = place.merge_mib
    state = place.directory
    uri = embedded_uri(embedded_root(state)) if place.daemon is None else place.daemon.uri
    host = libvirt_host(
        name="here", uri=uri, publish=lambda _event: None,
        state_directory=state, exports=Exports(state / "exports"),
    )  # fmt: skip
    await _open(host)
    try:
        await work(place, host)
    finally:
        await host.connection.close()


async def _open(host: Host) -> None:
    """Connect, as soon as there is a daemon that answers."""
    async with asyncio.timeout(_CONNECTS_S):
        while True:
            with contextlib.suppress(HypervisorError):
                await host.connection.open()
                await host.inventory.list()  # a host that is away does not fail to open
                return
            await asyncio.sleep(0.05)


async def _go_on(place: Place, host: Host) -> None:
    """Do what is left: take the undo point, write, and keep or roll back."""
    point = UndoPoint(host, place.plan, clock=SystemClock())
    if place.stage == "planned":
        await point.take(freeze_seconds=1)
        place.note("taken")
    if place.stage == "taken":
        await _write(place, host)
        place.note("written")
    if place.stage == "written":
        if place.keep:
            await point.merge()
        else:
            await host.lifecycle.turn_off(_NAME)
            await point.drop()
        place.note("ended")
    if place.stage == "ended":
        await point.delete_files()
        await forget_merge(host, _NAME, [*place.plan.overlays.values()])
        place.note("done")


async def _write(place: Place, host: Host) -> None:
    """Write to each disk what an update would; again, where a crash cut it short."""
    runs = (await host.inventory.get(_NAME)).state in (MachineState.RUNNING, MachineState.PAUSED)
    for number, disk in enumerate(place.disks):
        for pattern in disk.updates:
            if runs:
                device = f"/machine/peripheral/virtio-disk{number}/virtio-backend"
                await _by_qemu(host, f'qemu-io -d {device} "{pattern.command}"')
            else:
                disk.write(pattern)
        if runs:
            await _by_qemu(host, f'qemu-io -d {device} "flush"')


async def _by_qemu(host: Host, command: str) -> None:
    undo_disks = cast("LibvirtUndoDisks", host.undo_disks)

    def work(connect: libvirt.virConnect) -> None:
        domain = connect.lookupByName(_NAME)
        answer = libvirt_qemu.qemuMonitorCommand(
            domain, command, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
        )
        if "rror" in answer:
            raise AssertionError(f"{command}: {answer}")

    await undo_disks._connection.command(work, "write to", _NAME)


async def _define(place: Place, host: Host) -> None:
    """Have the machine, on or off, and note its definition."""
    undo_disks = cast("LibvirtUndoDisks", host.undo_disks)
    for disk in place.disks:
        await undo_disks._connection.command(disk.prepare, "prepare the storage of", _NAME)
    devices = "".join(disk.definition() for disk in place.disks)
    await host.definitions.define(
        f"<domain type='{EMULATED}'><name>{_NAME}</name><memory unit='MiB'>32</memory>"
        "<os><type machine='q35'>hvm</type></os><features><acpi/></features>"
        f"<devices>{devices}<controller type='usb' model='none'/><memballoon model='none'/></devices>"
        "</domain>"
    )
    # What libvirt makes of it the first time it does not write a second time.
    await host.definitions.define(await host.definitions.read(_NAME))
    (place.directory / "before").write_text(_canonical(await host.definitions.read(_NAME)))
    if place.runs:
        await host.lifecycle.start(_NAME)
        await host.lifecycle.pause(_NAME)


def _canonical(text: str) -> str:
    node = etree.fromstring(text)
    devices = cast("etree._Element", node.find("devices"))
    for each in sorted(devices.findall("controller"), key=lambda each: str(etree.canonicalize(each))):
        devices.append(each)
    return str(etree.canonicalize(node, strip_text=True))


def _in_a_life(place: Place, work: Callable[[Place, Host], Awaitable[None]]) -> str:
    """Do something in a process of its own that nobody kills; returns the definition from before."""
    if place.daemon is None and not embedded_root(place.directory).exists():
        _put_capabilities(embedded_root(place.directory) / "cache/qemu/capabilities")
    life = Life(lambda: asyncio.run(_with_host(place, work)), place.directory / "log")
    life.wait()
    if not life.went_well:
        raise AssertionError((place.directory / "log").read_text()[-3000:])
    return (place.directory / "before").read_text()


#: Where QEMU was probed once, for all trials of a campaign.
_CACHE = Path(f"/tmp/ik-killing-{os.getuid()}")


def _put_capabilities(target: Path) -> None:
    """Save libvirt the probing of QEMU, which takes longer than most trials."""
    probed = embedded_root(_CACHE) / "cache/qemu/capabilities"
    if not probed.is_dir():
        _CACHE.mkdir(exist_ok=True)
        life = Life(_prepare, _CACHE / "log")
        life.wait()
        if not life.went_well:
            raise AssertionError((_CACHE / "log").read_text()[-3000:])
    target.mkdir(parents=True)
    for file in probed.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
        os.utime(target / file.name, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))


def _a_daemon(directory: Path) -> Daemon:
    """A libvirtd of the trial's own, started."""
    home = directory / "d"
    home.mkdir()
    daemon = Daemon(home)
    os.environ.update(daemon.environment)
    _put_capabilities(home / "cache/libvirt/qemu/capabilities")
    daemon.start()
    return daemon


def _prepare() -> None:
    asyncio.run(prepare_root(_CACHE))


# What is left


def _judge_cut(place: Place, first: Sequence[Mapping[str, str]], outcome: Outcome) -> None:
    """Before anything is kept the bases are as they were; later no change of the update is lost."""
    stage = place.stage
    for disk, before in zip(place.disks, first, strict=True):
        if stage in ("planned", "taken") or not place.keep:
            changed = [path for path, sum_ in disk.sums().items() if before[path] != sum_]
            outcome.faults += [f"{stage}: {path} was written to" for path in changed]
        elif stage == "written" and disk.overlay.exists():
            outcome.faults += [f"{stage}: {fault}" for fault in disk.wrong(str(disk.overlay), disk.updates)]


def _finish(place: Place, before: str, first: Sequence[Mapping[str, str]], outcome: Outcome) -> None:
    """Let the service do what is left, undisturbed, and see that all is as it should be."""
    for attempt in range(3):
        if attempt == 1:
            # A QEMU whose server was away does not find it again: it is turned off, as by a person.
            kill_processes(place.directory, "qemu-system")
        life = Life(lambda: asyncio.run(_with_host(place, _go_on)), place.directory / "log")
        life.wait()
        if life.went_well:
            break
    else:
        outcome.faults.append(f"it does not go on: {(place.directory / 'log').read_text()[-3000:]}")
        return
    outcome.ended = "kept" if place.keep else "rolled back"

    async def look(place: Place, host: Host) -> None:
        await host.lifecycle.turn_off(_NAME)
        found = {
            "definition": _canonical(await host.definitions.read(_NAME)),
            "leftovers": [each.path for each in await find_leftovers(host)],
        }
        (place.directory / "found").write_text(json.dumps(found))

    _in_a_life(place, look)
    found: dict[str, Any] = json.loads((place.directory / "found").read_text())
    if found["definition"] != before:
        outcome.faults.append(f"the definition is another: {found['definition']}\nwas: {before}")
    outcome.faults += [f"left over: {path}" for path in found["leftovers"]]
    outcome.faults += [f"{disk.overlay} is left" for disk in place.disks if disk.overlay.exists()]
    if running := [*processes(place.directory, "qemu-system", "qemu-storage", "qemu-img")]:
        outcome.faults.append(f"processes are left: {running}")
    for disk, sums in zip(place.disks, first, strict=True):
        outcome.faults += disk.wrong(disk.base_image, disk.updates if place.keep else ())
        changed = [path for path, sum_ in disk.sums().items() if sum_ != sums[path]]
        allowed = disk.merged_into if place.keep else ()
        outcome.faults += [f"{path} was written to" for path in changed if path not in allowed]
        disk.end()
