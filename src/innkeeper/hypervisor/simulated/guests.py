"""Simulate what goes on inside a machine: boots, an agent, updates that go well or badly.

A guest lives by a list of things that are due at some moment. Nothing ticks: whoever looks at a machine
first lets happen what has become due since the last look, so guests go on while the service is dead.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import random
from collections.abc import Callable

from innkeeper.channels.ports import PreparationState, UpdateStatus


class Behaviour(enum.StrEnum):
    """How a simulated update goes; the booking's context names it, else the machine's own does."""

    GOOD = "good"
    #: A unit fails once the update is in.
    BAD = "bad"
    #: A service ends again and again once the update is in, and is started again each time.
    CRASH_LOOP = "crash_loop"
    #: A service that is well listens two minutes after the update.
    SLOW_SERVICE = "slow_service"
    #: It goes well, and the shop runs the old files until it is restarted.
    STALE = "stale"
    #: A job of a timer's fails meanwhile, since the update holds the package manager's lock.
    DISTURBS_A_JOB = "disturbs_a_job"
    #: The agent itself says that it failed.
    FAILS = "fails"
    #: The agent says that it went well, and nothing was done.
    LIES = "lies"
    #: It asks for a reboot, which the host gives.
    NEEDS_REBOOT = "needs_reboot"
    #: It reboots by itself, and goes on afterwards.
    REBOOTS_ITSELF = "reboots_itself"
    #: A unit fails, but only after the reboot it asks for.
    BAD_AFTER_REBOOT = "bad_after_reboot"
    #: After the reboot it asks for, the agent is never heard of again.
    BREAKS_AGENT = "breaks_agent"
    #: It applies for ever.
    HANG = "hang"
    #: After the reboot it asks for, its kernel panics in each boot, and reboots.
    PANICS = "panics"
    #: After the reboot it asks for, its boot ends in emergency mode: a disk of fstab's is not there.
    EMERGENCY = "emergency"
    #: QEMU dies while it applies.
    CRASH = "crash"
    #: It goes well, in ten times the time.
    SLOW = "slow"
    #: There is nothing to do.
    UP_TO_DATE = "up_to_date"
    #: Its repository cannot be read: nothing is begun.
    NO_REPOSITORY = "no_repository"
    #: It looks well until it is to be applied, and fails before it has changed anything.
    FAILS_UNCHANGED = "fails_unchanged"
    # Of the machine, not of an update:
    #: QEMU dies as the machine is woken, the next time that happens.
    CRASH_AT_WAKE = "crash_at_wake"
    #: It reboots when it is asked to power off.
    REBOOTS_INSTEAD = "reboots_instead"
    #: There is no agent in the guest.
    NO_AGENT = "no_agent"


#: What the console prints of a boot that comes to nothing.
_PANIC = (
    '[    1.204311] VFS: Cannot open root device "UUID=1" or unknown-block(0,0): error -6',
    "[    1.216004] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
    "[    1.221945] Rebooting in 5 seconds..",
)
_EMERGENCY = (
    "[FAILED] Failed to mount srv-data.mount - /srv/data.",
    "[DEPEND] Dependency failed for local-fs.target - Local File Systems.",
    'You are in emergency mode. After logging in, type "journalctl -xb" to view',
    'system logs, "systemctl reboot" to reboot, or "exit" to continue bootup.',
)
_UP_TO_DATE = "Nothing had to be updated."
_UNREADABLE = "Not looked for updates: The repository 'http://mirror.example stable Release' is not signed."
#: What a preparation comes to, in most cases and in others.
_READY = (PreparationState.READY, "Downloaded: base.")
_PREPARATIONS = {
    Behaviour.UP_TO_DATE: (PreparationState.NOTHING, _UP_TO_DATE),
    Behaviour.NO_REPOSITORY: (PreparationState.FAILED, _UNREADABLE),
}

#: How long a slow service takes before it listens, in seconds.
_SLOW_SECONDS = 120.0
#: How long a boot takes that ends in a panic.
_PANIC_SECONDS = 7.0
#: What wants a reboot when it is in.
_REBOOTING = (
    Behaviour.NEEDS_REBOOT,
    Behaviour.BAD_AFTER_REBOOT,
    Behaviour.BREAKS_AGENT,
    Behaviour.PANICS,
    Behaviour.EMERGENCY,
)


#: A job that a timer starts, and that uses the package manager.
JOB = "apt-report.service"


class Due(enum.StrEnum):
    """Things that can become due in a guest."""

    AGENT_UP = "agent_up"
    DOWNLOAD = "download"
    APPLY = "apply"
    FINISH = "finish"
    GIVE_UP = "give_up"
    REBOOT = "reboot"
    POWER_OFF = "power_off"
    CRASH = "crash"


class Fate(enum.StrEnum):
    """Effect of a guest's act on its machine."""

    LIVES = "lives"
    REBOOTED = "rebooted"
    POWERED_OFF = "powered_off"
    CRASHED = "crashed"


@dataclasses.dataclass(kw_only=True, slots=True)
class Pace:
    """How long things take in a guest, in seconds."""

    boot: float = 20.0
    shut_down: float = 8.0
    update: float = 60.0
    #: Refresh, simulate and download, before the update.
    prepare: float = 15.0


@dataclasses.dataclass(kw_only=True, slots=True)
class GuestTask:
    """One update in the agent's journal, on the guest's disk."""

    status: int = int(UpdateStatus.SEARCHING)
    behaviour: str = Behaviour.GOOD
    text: str = ""
    packages: list[list[str]] = dataclasses.field(default_factory=list)
    #: Which of the host's runs asked for it, and whether it failed before it changed anything.
    attempt: str = ""
    unchanged: bool = False


@dataclasses.dataclass(kw_only=True, slots=True)
class GuestPreparation:
    """The preparation of an update: until when it lasts, and what it comes to."""

    attempt: str
    until: float
    state: str
    text: str


@dataclasses.dataclass(kw_only=True, slots=True)
class GuestDisk:
    """Content of the guest's disk."""

    os_name: str = "Simulated Linux 1"
    kernel: str = "6.1.0-1"
    installed_kernel: str = "6.1.0-1"
    packages: dict[str, str] = dataclasses.field(default_factory=lambda: {"base": "1.0-1"})
    #: Units that fail at every boot.
    broken_units: list[str] = dataclasses.field(default_factory=list)
    agent_broken: bool = False
    #: How each boot ends; empty for one that is well.
    boots_into: str = ""
    package_database_ok: bool = True
    journal: dict[str, GuestTask] = dataclasses.field(default_factory=dict)
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    #: Named values: each its text, the host's revision, and whether the guest has set it since.
    parameters: dict[str, list[str | int | bool]] = dataclasses.field(default_factory=dict)
    boots: int = 0

    def to_bytes(self) -> bytes:
        """The content as it is written to the disk."""
        return as_json(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> GuestDisk:
        """Read it from the disk; an empty disk is a fresh system."""
        text, _, _ = content.partition(b"\0")
        if not text:
            return cls()
        parsed = json.loads(text)
        parsed["journal"] = {name: GuestTask(**task) for name, task in parsed["journal"].items()}
        return cls(**parsed)


@dataclasses.dataclass(kw_only=True, slots=True)
class GuestMemory:
    """Content of the guest's memory: saved with the machine, and lost when it is turned off."""

    boot_id: str
    #: When it was booted, put off by all the time that it stood still (host time, in seconds).
    booted_at: float = 0.0
    agent_up: bool = False
    failed_units: list[str] = dataclasses.field(default_factory=list)
    reboot_required: bool = False
    #: Since when the shop's service ends and is started again, and when it listens; 0 for not and always.
    loops_since: float = 0.0
    serves_at: float = 0.0
    #: Whether it runs files that were replaced.
    is_stale: bool = False
    #: What was typed since the boot, as its screen shows it.
    typed: str = ""
    #: Where its mouse pointer is, once it was moved.
    pointer: tuple[int, int] | None = None
    #: Who is logged on, and whether their screen is locked.
    users: list[str] = dataclasses.field(default_factory=list)
    locked: bool = False
    #: What its clock was set to last, in seconds.
    clock_set_at: float = 0.0
    #: The size of its screen, once a viewer has asked for one.
    size: tuple[int, int] | None = None
    #: What it has prepared: caches are no part of the disks that updates are judged by.
    preparations: dict[str, GuestPreparation] = dataclasses.field(default_factory=dict)
    #: What will happen, and when (host time, in seconds).
    due: list[tuple[float, str, str]] = dataclasses.field(default_factory=list)

    def shift(self, seconds: float) -> None:
        """Put off everything: the machine stood still for so long."""
        self.booted_at += seconds
        self.loops_since += seconds if self.loops_since else 0.0
        self.serves_at += seconds if self.serves_at else 0.0
        self.due = [(at + seconds, what, about) for at, what, about in self.due]


@dataclasses.dataclass(kw_only=True, slots=True)
class Guest:
    """A guest at work: its memory and its disk, both changed in place."""

    memory: GuestMemory
    disk: GuestDisk
    pace: Pace
    behaviour: Behaviour
    #: What it has printed on its console since the last look.
    printed: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def boot(cls, disk: GuestDisk, *, now: float, pace: Pace, behaviour: Behaviour, seed: str) -> Guest:
        """Start the operating system from its disk."""
        disk.boots += 1
        disk.kernel = disk.installed_kernel
        memory = GuestMemory(
            boot_id=str(random.Random(f"{seed}/{disk.boots}/{now}").getrandbits(64)),  # noqa: S311
            booted_at=now,
            failed_units=list(disk.broken_units),
        )
        guest = cls(memory=memory, disk=disk, pace=pace, behaviour=behaviour)
        guest.printed.append(f"{disk.os_name}, kernel {disk.kernel}")
        if disk.boots_into == Behaviour.PANICS:
            guest.printed += _PANIC
            guest.schedule(now + _PANIC_SECONDS, Due.REBOOT)
        elif disk.boots_into == Behaviour.EMERGENCY:
            guest.printed += _EMERGENCY
        elif behaviour is not Behaviour.NO_AGENT and not disk.agent_broken:
            guest.schedule(now + pace.boot, Due.AGENT_UP)
        return guest

    def schedule(self, at: float, what: Due, about: str = "") -> None:
        """Schedule something for later."""
        self.memory.due = sorted([*self.memory.due, (at, str(what), about)])

    def prepare(self, identifier: str, context: bytes, attempt: str, now: float) -> GuestPreparation:
        """Begin to prepare an update, or return how far it is."""
        known = self.memory.preparations.get(identifier)
        if known is None or known.attempt != attempt:
            state, text = _PREPARATIONS.get(_behaviour_of(context, self.behaviour), _READY)
            known = GuestPreparation(
                attempt=attempt, until=now + self.pace.prepare, state=str(state), text=text
            )
            self.memory.preparations[identifier] = known
        return known

    def start_task(self, identifier: str, context: bytes, attempt: str, now: float) -> GuestTask:
        """``StartTask``: a known identifier starts nothing, but one that changed nothing."""
        known = self.disk.journal.get(identifier)
        if known is not None and not (known.unchanged and attempt and attempt != known.attempt):
            return known
        behaviour = _behaviour_of(context, self.behaviour)
        task = GuestTask(behaviour=behaviour, text="Looking for what applies", attempt=attempt)
        self.disk.journal[identifier] = task
        if behaviour in (Behaviour.NO_REPOSITORY, Behaviour.FAILS_UNCHANGED):
            self.schedule(now + self.pace.update * 0.1, Due.GIVE_UP, identifier)
            return task
        if behaviour is Behaviour.UP_TO_DATE:
            self.schedule(now + self.pace.update * 0.1, Due.FINISH, identifier)
            return task
        length = self.pace.update * (10 if behaviour is Behaviour.SLOW else 1)
        self.schedule(now + length * 0.1, Due.DOWNLOAD, identifier)
        self.schedule(now + length * 0.4, Due.APPLY, identifier)
        if behaviour is Behaviour.CRASH:
            self.schedule(now + length * 0.6, Due.CRASH, identifier)
        elif behaviour is not Behaviour.HANG:
            self.schedule(now + length, Due.FINISH, identifier)
        return task

    def disturbed(self, identifier: str, start: bool) -> list[str]:
        """The job that an update has disturbed; it is well once it is started again."""
        task = self.disk.journal.get(identifier)
        if task is None or task.behaviour != Behaviour.DISTURBS_A_JOB:
            return []
        if start and JOB in self.memory.failed_units:
            self.memory.failed_units.remove(JOB)
            self.disk.files["jobs"] = self.disk.files.get("jobs", "") + "started\n"
        return [JOB]

    def live(self, now: float) -> tuple[Fate, float]:
        """Do what is due; returns what the guest did to its machine, and when."""
        while self.memory.due and self.memory.due[0][0] <= now:
            at, what, about = self.memory.due.pop(0)
            fate = _DUE[Due(what)](self, at, about)
            if fate is not Fate.LIVES:
                return fate, at
        return Fate.LIVES, now


def as_json(value: object) -> bytes:
    """A dataclass with slots, and all such in it, as JSON; ``asdict`` would copy everything first."""
    return json.dumps(value, default=_fields).encode()


def _fields(value: object) -> dict[str, object]:
    return {name: getattr(value, name) for name in type(value).__slots__}  # type: ignore[attr-defined]


def _behaviour_of(context: bytes, default: Behaviour) -> Behaviour:
    try:
        return Behaviour(context.decode().strip().lower())
    except ValueError:
        return default


def _agent_up(guest: Guest, at: float, about: str) -> Fate:
    guest.memory.agent_up = True
    for identifier, task in guest.disk.journal.items():
        if task.status == UpdateStatus.REBOOTING:
            task.status = UpdateStatus.REBOOTED
            guest.schedule(at + 2.0, Due.FINISH, identifier)
    return Fate.LIVES


def _download(guest: Guest, at: float, about: str) -> Fate:
    guest.disk.journal[about].status = UpdateStatus.DOWNLOADING
    guest.disk.journal[about].text = "Downloading 2 packages"
    return Fate.LIVES


def _apply(guest: Guest, at: float, about: str) -> Fate:
    task = guest.disk.journal[about]
    task.status = UpdateStatus.APPLYING
    task.text = "Unpacking base"
    # The database is open while packages are unpacked: a crash now leaves it broken.
    guest.disk.package_database_ok = False
    if not task.packages:  # else a kill between the disk and the memory has this done again
        old = guest.disk.packages["base"]
        task.packages = [["base", old, f"1.0-{int(old.rpartition('-')[2]) + 1}"]]
    if task.behaviour != Behaviour.LIES:
        guest.disk.packages["base"] = task.packages[0][2]
    return Fate.LIVES


def _give_up(guest: Guest, at: float, about: str) -> Fate:
    task = guest.disk.journal[about]
    task.status, task.text, task.unchanged = int(UpdateStatus.FAILED), _UNREADABLE, True
    return Fate.LIVES


def _finish(guest: Guest, at: float, about: str) -> Fate:
    task = guest.disk.journal[about]
    behaviour = Behaviour(task.behaviour)
    guest.disk.package_database_ok = True
    if behaviour is Behaviour.REBOOTS_ITSELF and task.status != UpdateStatus.REBOOTED:
        task.status = UpdateStatus.REBOOTING
        guest.schedule(at + 1.0, Due.REBOOT)
        return Fate.LIVES
    task.status = UpdateStatus.FAILED if behaviour is Behaviour.FAILS else UpdateStatus.SUCCESS
    task.text = {
        Behaviour.FAILS: "Two packages could not be configured",
        Behaviour.UP_TO_DATE: _UP_TO_DATE,
    }.get(behaviour, "1 package upgraded")
    _leave_marks(guest, behaviour, at)
    return Fate.LIVES


def _leave_marks(guest: Guest, behaviour: Behaviour, at: float) -> None:
    """Do to the system what an update of this kind does."""
    if behaviour is Behaviour.CRASH_LOOP:
        guest.memory.loops_since = at
    if behaviour is Behaviour.DISTURBS_A_JOB:
        guest.memory.failed_units.append(JOB)
    if behaviour is Behaviour.STALE:
        guest.memory.is_stale = True
    if behaviour is Behaviour.SLOW_SERVICE:
        guest.memory.serves_at = at + _SLOW_SECONDS
    if behaviour is Behaviour.BAD:
        guest.memory.failed_units.append("shop.service")
    if behaviour in (Behaviour.BAD, Behaviour.BAD_AFTER_REBOOT):
        guest.disk.broken_units.append("shop.service")
    if behaviour is Behaviour.BREAKS_AGENT:
        guest.disk.agent_broken = True
    if behaviour in (Behaviour.PANICS, Behaviour.EMERGENCY):
        guest.disk.boots_into = behaviour
    if behaviour in _REBOOTING:
        guest.memory.reboot_required = True
        guest.disk.installed_kernel = f"6.1.0-{int(guest.disk.kernel.rpartition('-')[2]) + 1}"


def _reboot(guest: Guest, at: float, about: str) -> Fate:
    return Fate.REBOOTED


def _power_off(guest: Guest, at: float, about: str) -> Fate:
    return Fate.REBOOTED if guest.behaviour is Behaviour.REBOOTS_INSTEAD else Fate.POWERED_OFF


def _crash(guest: Guest, at: float, about: str) -> Fate:
    return Fate.CRASHED


_DUE: dict[Due, Callable[[Guest, float, str], Fate]] = {
    Due.AGENT_UP: _agent_up,
    Due.DOWNLOAD: _download,
    Due.APPLY: _apply,
    Due.FINISH: _finish,
    Due.GIVE_UP: _give_up,
    Due.REBOOT: _reboot,
    Due.POWER_OFF: _power_off,
    Due.CRASH: _crash,
}
