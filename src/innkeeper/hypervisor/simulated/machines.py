"""Simulate a machine around a guest: power, disks, a saved state; all of it outlives the service."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.guests import (
    Behaviour,
    Fate,
    Guest,
    GuestDisk,
    GuestMemory,
    GuestPreparation,
    Pace,
    as_json,
)
from innkeeper.machines.machine import Disk, DiskKind, Machine, MachineState
from innkeeper.wire.virtual_pc import UndoPointKind

T = TypeVar("T")

#: So much of a console is kept, in characters.
_MOST_PRINTED = 64 * 1024


@dataclasses.dataclass(kw_only=True, slots=True)
class SavedState:
    """A saved state: the guest's memory, the disks it believes in, and whether it was paused."""

    memory: GuestMemory
    disks: list[Disk]
    paused: bool
    saved_at: float


@dataclasses.dataclass(kw_only=True, slots=True)
class SimulatedMachine:
    """One simulated machine; changed in place under its lock, and written down after every change."""

    name: str
    uuid: str
    memory_mib: int = 512
    vcpus: int = 1
    autostart: bool = False
    #: The persistent definition's disks.
    disks: list[Disk] = dataclasses.field(default_factory=list)
    #: The running machine's disks; empty while it is off.
    live_disks: list[Disk] = dataclasses.field(default_factory=list)
    #: What the guest of a machine without a disk keeps: on the network, where no undo point covers it.
    network_disk: str = ""
    #: The guest's memory; ``None`` while it is off.
    memory: GuestMemory | None = None
    #: Since when it is paused.
    paused_at: float | None = None
    saved: SavedState | None = None
    frozen: bool = False
    #: Whether its qemu-guest-agent may neither freeze nor thaw, by ``block-rpcs``.
    forbids_freezing: bool = False
    #: How long the hooks of its qemu-guest-agent take before a freeze, in seconds.
    hook_seconds: float = 0.0
    #: Until when one runs that nobody has waited for: the guest is frozen then.
    hook_until: float = 0.0
    #: Since when a thaw is owed, in seconds since 1970; 0 for none.
    freezing_since: int = 0
    merging: bool = False
    has_agent_port: bool = True
    has_guest_agent_port: bool = True
    nvram_path: str = ""
    has_tpm: bool = False
    #: Where its TPM keeps its state; empty where that is out of reach.
    tpm_path: str = ""
    #: The model of its video card, or empty.
    video: str = "virtio"
    passthrough: list[str] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)
    ignored: tuple[str, ...] = ()
    known_parents: list[str] = dataclasses.field(default_factory=list)
    undoable: bool = False
    undo_pending: bool = False
    undo_exclude: tuple[str, ...] = ()
    undo_point: int = UndoPointKind.POLICY
    #: Its definition as it was changed last; empty where it says no more than the fields above.
    definition: str = ""
    #: The definition it runs with; empty while it is off.
    live_definition: str = ""
    #: Its checkpoints: (name, seconds since 1970), each with a bitmap of its name in every disk.
    checkpoints: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    #: The names of the bitmaps in each image.
    bitmaps: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    #: Until when somebody's backup runs, in seconds since 1970.
    backup_until: float = 0.0
    #: What somebody calls it who holds the disks until then; the host sees no job where it is another one's.
    backup_words: str = "a backup"
    #: What its guest has printed on its serial console, and whether that is kept.
    console: str = ""
    has_console_log: bool = True
    #: How often it was reset, by its guest or by anybody.
    resets: int = 0
    pace: Pace = dataclasses.field(default_factory=Pace)
    behaviour: str = Behaviour.GOOD

    # Questions

    @property
    def is_on(self) -> bool:
        """Whether the machine runs, or is paused."""
        return self.memory is not None

    @property
    def state(self) -> MachineState:
        """The machine's state."""
        if self.memory is not None:
            return MachineState.RUNNING if self.paused_at is None else MachineState.PAUSED
        if self.merging:
            return MachineState.MERGING_DRIVES
        return MachineState.SAVED if self.saved is not None else MachineState.TURNED_OFF

    @property
    def boot_id(self) -> str:
        """An identifier of the present boot; empty while the machine is off."""
        return self.memory.boot_id if self.memory is not None else ""

    @property
    def active_disks(self) -> list[Disk]:
        """The disks in use: the running machine's, else the definition's."""
        return self.live_disks if self.is_on else self.disks

    def snapshot(self, host: str, host_id: str) -> Machine:
        """The machine as a value of ``machines``."""
        return Machine(
            name=self.name,
            uuid=self.uuid,
            host=host,
            host_id=host_id,
            state=self.state,
            memory_mib=self.memory_mib,
            vcpus=self.vcpus,
            disks=tuple(self.active_disks),
            autostart=self.autostart,
            has_agent_port=self.has_agent_port,
            has_guest_agent_port=self.has_guest_agent_port,
            passthrough=tuple(self.passthrough),
            nvram_path=self.nvram_path,
            has_tpm=self.has_tpm,
            labels=tuple(self.labels),
            ignored=self.ignored,
            known_parents=tuple(self.known_parents),
            undoable=self.undoable,
            undo_pending=self.undo_pending,
            undo_exclude=self.undo_exclude,
            undo_point=UndoPointKind(self.undo_point),
            freezing_since=self.freezing_since,
        )

    # Life

    def boot(self, now: float) -> None:
        """Switch it on, cold."""
        self.live_disks = list(self.disks)
        self.live_definition = self.definition
        self._boot_guest(now)
        self._crash_at_wake()

    def restore(self, now: float, sources: dict[str, str] | None = None) -> None:
        """Go on from the saved state, on its own disks or on others; the saved state stays."""
        saved = self.saved
        if saved is None:
            return
        self.live_disks = with_paths(saved.disks, sources or {})
        self.live_definition = self.definition
        self.memory = memory_from_json(dataclasses.asdict(saved.memory))
        self.memory.shift(now - saved.saved_at)
        self.paused_at = now if saved.paused else None
        self._crash_at_wake()

    def save(self, now: float) -> None:
        """Save the memory, and stop."""
        if self.memory is None:
            return
        paused = self.paused_at is not None
        self.resume(now)
        self.saved = SavedState(memory=self.memory, disks=list(self.live_disks), paused=paused, saved_at=now)
        self.turn_off()

    def pause(self, now: float) -> None:
        """Stop the processors: nothing becomes due any more."""
        if self.is_on and self.paused_at is None:
            self.paused_at = now

    def resume(self, now: float) -> None:
        """Start the processors again."""
        if self.memory is not None and self.paused_at is not None:
            self.memory.shift(now - self.paused_at)
            self.paused_at = None

    def turn_off(self) -> None:
        """Pull the plug."""
        self.memory = None
        self.backup_until = 0.0
        self.live_disks = []
        self.live_definition = ""
        self.paused_at = None
        self.frozen, self.hook_until, self.freezing_since = False, 0.0, 0

    def reset(self, now: float) -> None:
        """Boot again, from the disks in use."""
        self.paused_at = None
        self.resets += 1
        self._boot_guest(now)

    def has_due(self, now: float) -> bool:
        """Whether something has become due in its guest."""
        due = self.memory.due if self.memory is not None and self.paused_at is None else []
        return bool(due) and due[0][0] <= now

    def live(self, now: float) -> None:
        """Run the guest through everything that has become due since the last look."""
        while self.has_due(now) and not self.frozen:
            guest = self.guest()
            fate, at = guest.live(now)
            self.write(guest)
            if fate in (Fate.CRASHED, Fate.POWERED_OFF):
                self.turn_off()
            elif fate is Fate.REBOOTED:
                self.resets += 1
                self._boot_guest(at)

    # The guest

    def guest(self) -> Guest:
        """The guest of a machine that is on: its memory, and its disk as read now."""
        if self.memory is None:
            raise AssertionError(f"{self.name} is off")
        disk = GuestDisk.from_bytes(self._read_boot_disk())
        return Guest(memory=self.memory, disk=disk, pace=self.pace, behaviour=Behaviour(self.behaviour))

    def write(self, guest: Guest) -> None:
        """Write the guest's disk, and keep its memory."""
        self.memory = guest.memory
        self.console = (self.console + "".join(f"{line}\r\n" for line in guest.printed))[-_MOST_PRINTED:]
        guest.printed.clear()
        if path := self._boot_disk:
            fake_disks.write(path, guest.disk.to_bytes())
        else:
            self.network_disk = guest.disk.to_bytes().decode()

    @property
    def _boot_disk(self) -> str:
        """The first hard disk's file; empty where there is none."""
        hard_disks = (disk for disk in self.live_disks if disk.device == "disk" and disk.path)
        return next((disk.path for disk in hard_disks), "")

    def _read_boot_disk(self) -> bytes:
        path = self._boot_disk
        return fake_disks.read(path) if path else self.network_disk.encode()

    def _crash_at_wake(self) -> None:
        """QEMU dies right after the wake, once."""
        if self.behaviour == Behaviour.CRASH_AT_WAKE:
            self.behaviour = Behaviour.GOOD
            self.turn_off()

    def _boot_guest(self, now: float) -> None:
        disk = GuestDisk.from_bytes(self._read_boot_disk())
        behaviour = Behaviour(self.behaviour)
        guest = Guest.boot(disk, now=now, pace=self.pace, behaviour=behaviour, seed=self.uuid)
        self.write(guest)
        self._write_state(guest.disk.boots)

    def _write_state(self, boots: int) -> None:
        """Leave in UEFI variables and TPM what can be compared with the disk: how often it was booted."""
        for path in map(Path, filter(None, (self.nvram_path, self.tpm_path))):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"state after {boots} boots")

    # On disk

    def to_bytes(self) -> bytes:
        """The machine as it is written to its record."""
        return as_json(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> SimulatedMachine:
        """Read what was written down."""
        parsed = json.loads(content)
        parsed["disks"] = _disks(parsed["disks"])
        parsed["live_disks"] = _disks(parsed["live_disks"])
        parsed["memory"] = memory_from_json(parsed["memory"]) if parsed["memory"] else None
        parsed["pace"] = Pace(**parsed["pace"])
        parsed["checkpoints"] = [(str(name), int(at)) for name, at in parsed.get("checkpoints", [])]
        if parsed["saved"]:
            saved = parsed["saved"]
            parsed["saved"] = SavedState(
                memory=memory_from_json(saved["memory"]),
                disks=_disks(saved["disks"]),
                paused=saved["paused"],
                saved_at=saved["saved_at"],
            )
        return cls(**parsed)


def file_disk(target: str, path: str, image_format: str = "raw") -> Disk:
    """An ordinary disk on an image file."""
    return Disk(
        target=target,
        device="disk",
        kind=DiskKind.FILE,
        path=path,
        format=image_format,
        read_only=False,
        shared=False,
        transient=False,
    )


def with_paths(disks: Sequence[Disk], paths: dict[str, str]) -> list[Disk]:
    """The same disks, with other files behind some targets; an overlay is qcow2, a base is raw."""
    return [
        dataclasses.replace(disk, path=paths[disk.target], format=format_of(paths[disk.target]))
        if disk.target in paths
        else disk
        for disk in disks
    ]


def format_of(path: str) -> str:
    """The format a simulated image calls itself: what a real host would have in its place."""
    return "qcow2" if fake_disks.is_overlay(path) else "raw"


def _disks(parsed: list[dict[str, object]]) -> list[Disk]:
    return [
        Disk(
            target=str(disk["target"]),
            device=str(disk["device"]),
            kind=DiskKind(str(disk["kind"])),
            path=str(disk["path"]),
            format=str(disk["format"]),
            read_only=bool(disk["read_only"]),
            shared=bool(disk["shared"]),
            transient=bool(disk["transient"]),
        )
        for disk in parsed
    ]


def memory_from_json(parsed: dict[str, object]) -> GuestMemory:
    """The memory of a guest, as it was written down."""
    due = parsed["due"]
    units = parsed["failed_units"]
    if not isinstance(due, list) or not isinstance(units, list):
        raise TypeError("a simulated machine's memory is not what was written")
    return GuestMemory(
        boot_id=str(parsed["boot_id"]),
        booted_at=float(str(parsed.get("booted_at", 0.0))),
        agent_up=bool(parsed["agent_up"]),
        failed_units=[str(unit) for unit in units],
        reboot_required=bool(parsed["reboot_required"]),
        loops_since=float(str(parsed.get("loops_since", 0.0))),
        serves_at=float(str(parsed.get("serves_at", 0.0))),
        typed=str(parsed.get("typed", "")),
        pointer=_pair(parsed.get("pointer")),
        size=_pair(parsed.get("size")),
        users=[str(user) for user in users] if isinstance(users := parsed.get("users"), list) else [],
        locked=bool(parsed.get("locked", False)),
        clock_set_at=float(str(parsed.get("clock_set_at", 0.0))),
        preparations=_preparations(parsed.get("preparations")),
        due=[(float(at), str(what), str(about)) for at, what, about in due],
    )


def _preparations(parsed: object) -> dict[str, GuestPreparation]:
    """What a guest has prepared; memory that a former release wrote has none."""
    named = parsed if isinstance(parsed, dict) else {}
    return {name: GuestPreparation(**each) for name, each in named.items()}


def _pair(parsed: object) -> tuple[int, int] | None:
    return (int(parsed[0]), int(parsed[1])) if isinstance(parsed, list) else None
