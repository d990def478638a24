"""The documented enumerations that client and service share.

They lie here because the client imports no room of the service; the rooms that they belong to name them
as their own.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping

from innkeeper.wire.named_number import NamedNumber


class MachineState(NamedNumber):
    """What a machine is doing (``VMVMState``)."""

    #: Its definition is gone or cannot be read.
    INVALID = 0
    TURNED_OFF = 1
    #: Off, with its memory kept in a saved state.
    SAVED = 2
    TURNING_ON = 3
    RESTORING = 4
    RUNNING = 5
    PAUSED = 6
    SAVING = 7
    TURNING_OFF = 8
    MERGING_DRIVES = 9
    DELETE_MACHINE = 10

    @property
    def words(self) -> str:
        """The state for people: ``off``, ``running``, ``turning on``. The one place that spells it."""
        return _MACHINE_STATE_WORDS.get(self) or self.name.lower().replace("_", " ")


#: The states whose words are not their names.
_MACHINE_STATE_WORDS: Mapping[MachineState, str] = {
    MachineState.TURNED_OFF: "off",
    MachineState.MERGING_DRIVES: "merging disks",
    MachineState.DELETE_MACHINE: "being deleted",
}


class Accelerator(enum.StrEnum):
    """What runs the processors of a host's machines."""

    #: The computer's own processor, through Linux.
    KVM = "kvm"
    #: QEMU, which translates each instruction (software emulation): slower, and works everywhere.
    TCG = "tcg"
    #: Nothing: the machines are simulated.
    NONE = "none"


class TaskResult(NamedNumber):
    """How a task ended (``VMTaskResult``)."""

    #: It did what it was asked.
    SUCCESS = 0
    #: It was cancelled, and the stated effect of the cancel has taken place.
    CANCELLED = 1
    #: It failed in a way no other member names.
    UNEXPECTED_ERROR = 2
    #: The host had no memory for it.
    OUT_OF_MEMORY_ERROR = 3
    #: A disk, or the room on one, was at fault.
    DISK_RELATED_ERROR = 4
    #: The saved state does not fit this host or machine.
    INCOMPATIBLE_SAVED_STATE_ERROR = 5
    #: It did not end in the time it had.
    TIME_OUT_ERROR = 6
    #: It was given a value it cannot use.
    ILLEGAL_VALUE_ERROR = 7
    #: The code that ran it broke.
    THREAD_CRASH_ERROR = 8
    #: The machine's shutdown was aborted.
    SHUTDOWN_ABORT = 9


class HardDiskType(NamedNumber):
    """The types of a virtual hard disk (``VMHardDiskType``)."""

    #: Grows as the guest writes.
    DYNAMIC = 0
    #: Has all its room from the start.
    FIXED_SIZE = 1
    #: Holds the difference to a parent.
    DIFFERENCING = 2


class DiskFormat(enum.StrEnum):
    """A kind of disk image."""

    #: A VHD with all its room from the start.
    FIXED = "fixed"
    #: A VHD that grows as the guest writes.
    DYNAMIC = "dynamic"
    #: A VHD that holds the difference to a parent.
    DIFFERENCING = "differencing"
    #: The bytes of the disk and nothing else.
    RAW = "raw"
    #: QEMU's own format.
    QCOW2 = "qcow2"
    #: Hyper-V's newer format.
    VHDX = "vhdx"
    #: VMware's format.
    VMDK = "vmdk"

    @property
    def is_vhd(self) -> bool:
        """Whether Innkeeper's own engine carries it."""
        return self in DOCUMENTED_FORMATS

    @property
    def hard_disk_type(self) -> HardDiskType | None:
        """The documented type, for the formats that have one."""
        return DOCUMENTED_FORMATS.get(self)


#: The formats that the documents know, each with its documented type.
DOCUMENTED_FORMATS: Mapping[DiskFormat, HardDiskType] = {
    DiskFormat.DYNAMIC: HardDiskType.DYNAMIC,
    DiskFormat.FIXED: HardDiskType.FIXED_SIZE,
    DiskFormat.DIFFERENCING: HardDiskType.DIFFERENCING,
}


class EndpointType(NamedNumber):
    """The kinds of endpoints (``VMEndpointType``)."""

    NAMED_PIPE = 0
    TCPIP = 1


class Weekday(enum.StrEnum):
    """A day of the week, as windows name it."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"

    @classmethod
    def of(cls, day: dt.date) -> Weekday:
        """The weekday of a date."""
        return tuple(cls)[day.weekday()]

    @classmethod
    def _missing_(cls, value: object) -> Weekday | None:
        """The day with this number from Monday, 0: earlier releases kept windows so."""
        if isinstance(value, int) and 0 <= value < len(cls):
            return tuple(cls)[value]
        return None


class CancelEffect(enum.StrEnum):
    """What a cancel would do, said before anyone asks for it."""

    #: It cannot be cancelled (any more).
    NONE = "none"
    #: All is put back as it was before the task began.
    BACK_TO_START = "back_to_start"
    #: It stops where it is, and can be taken up again.
    STOPS_RESUMABLE = "stops_resumable"


class LogLevel(enum.StrEnum):
    """How much a line of a task's log matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    #: What the guest printed, as it came.
    OUTPUT = "output"


class UpdateStatus(NamedNumber):
    """The state of an update (``RDV_TASK_STATUS``)."""

    #: It cannot be determined. Set by the host only.
    UNKNOWN = 0
    #: The agent looks for what applies.
    SEARCHING = 1
    DOWNLOADING = 2
    APPLYING = 3
    #: The guest reboots; the update may or may not be complete.
    REBOOTING = 4
    #: The guest has rebooted; the update may or may not be complete.
    REBOOTED = 5
    SUCCESS = 6
    FAILED = 7
    #: It did not end in the time it had. Set by the host only.
    TIMEOUT = 8

    @property
    def is_final(self) -> bool:
        """Whether nothing follows it."""
        return self in (UpdateStatus.SUCCESS, UpdateStatus.FAILED, UpdateStatus.TIMEOUT)


class GuestWay(enum.StrEnum):
    """How a guest is asked to update."""

    #: By Innkeeper's task agent, over a port of its own.
    TASK_AGENT = "task_agent"
    #: By qemu-guest-agent alone: no agent of ours is in the guest.
    QEMU_GUEST_AGENT = "qemu_guest_agent"

    @property
    def words(self) -> str:
        """The way, for people."""
        return "the task agent" if self is GuestWay.TASK_AGENT else "qemu-guest-agent"


class RollBack(enum.StrEnum):
    """What a roll back brings a machine back to."""

    #: None: it is not maintained.
    NONE = "none"
    #: Its disks as they were; it is booted where it ran.
    DISKS = "disks"
    #: Its disks and the state that it was saved in, or paused in.
    SAVED_STATE = "saved_state"
    #: The running moment before the update, memory included.
    MEMORY = "memory"

    @property
    def words(self) -> str:
        """The word for people."""
        return _ROLL_BACKS[self]


_ROLL_BACKS: Mapping[RollBack, str] = {
    RollBack.NONE: "–",
    RollBack.DISKS: "disks",
    RollBack.SAVED_STATE: "disks and saved state",
    RollBack.MEMORY: "disks and memory",
}


class Proof(enum.StrEnum):
    """How much stands behind a guest's word that it was updated."""

    #: Nothing: there was nothing to see it by.
    CLAIMED = "claimed"
    #: What the host saw, and what the guest said when it was asked again, fit it. Who lies well passes.
    CONSISTENT = "consistent"
    #: The host saw something else, or the guest said so itself.
    CONTRADICTED = "contradicted"


class Verdict(enum.StrEnum):
    """What became of an update run."""

    #: Its undo disk was merged: the update stays.
    KEPT = "kept"
    #: Its undo disk was discarded: the machine is as it was.
    ROLLED_BACK = "rolled_back"
    #: It ended before anything was changed.
    NOT_STARTED = "not_started"
    #: It was looked for, and nothing had to be changed.
    NOTHING_TO_DO = "nothing_to_do"
    #: It could be neither kept nor rolled back by itself: a person has to look.
    NEEDS_HELP = "needs_help"


class VideoMode(NamedNumber):
    """How a screen shows (``VMDisplayVideoMode``)."""

    TEXT_MODE = 0
    #: Documented; no card of today has it.
    CGA_MODE = 1
    VGA_MODE = 2
    SVGA_MODE = 3


class MouseButton(NamedNumber):
    """A button of the mouse (``VMMouseButton``)."""

    LEFT = 1
    RIGHT = 2
    CENTER = 3


class LogoffType(NamedNumber):
    """How somebody was logged off (``VMLogoffType``)."""

    #: By themselves.
    NORMAL = 0
    FORCED = 1
    #: From outside the guest, by ``IVMGuestOS::Logoff``.
    EXTERNAL = 2


class RoleName(enum.StrEnum):
    """What somebody may; each may all that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


class TaskState(enum.StrEnum):
    """What a registered task of the scheduler is doing (``TASK_STATE``)."""

    UNKNOWN = "UNKNOWN"
    DISABLED = "DISABLED"
    #: An instance waits for its turn.
    QUEUED = "QUEUED"
    READY = "READY"
    RUNNING = "RUNNING"

    @property
    def number(self) -> int:
        """The documented number."""
        return tuple(TaskState).index(self)


class RunState(enum.StrEnum):
    """The life of an instance."""

    #: Claimed, and about to start.
    CLAIMED = "claimed"
    #: Waits for a delay, or for the instance before it.
    QUEUED = "queued"
    RUNNING = "running"
    #: Its actions came to an end, well or not.
    FINISHED = "finished"
    #: Stopped by a limit or by a person.
    TERMINATED = "terminated"
    #: Not started: a condition was not met, or another instance ran.
    SKIPPED = "skipped"
    #: The service died while it ran; how it ended is not known.
    INTERRUPTED = "interrupted"

    @property
    def is_live(self) -> bool:
        """Whether something is still to come."""
        return self in (RunState.CLAIMED, RunState.QUEUED, RunState.RUNNING)


class ServerState(enum.StrEnum):
    """The part that a server takes in the common work."""

    #: It owns hosts and begins work.
    SERVING = "serving"
    #: It begins nothing, and hands its hosts over as they fall idle.
    DRAINING = "draining"
    #: Its name is given up, and its hosts are free.
    RETIRED = "retired"
