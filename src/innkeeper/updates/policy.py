"""State the choices that update runs and the planner go by."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from innkeeper.machines.machine import Machine
from innkeeper.machines.undo.fitness import UndoRules
from innkeeper.machines.undo.memory import MemoryRules
from innkeeper.wire.states import MachineState, RollBack
from innkeeper.wire.virtual_pc import UndoPointKind


class UndoPointPolicy(enum.StrEnum):
    """How the undo point of a running machine is taken."""

    #: As the machine runs: all disks at once, file systems frozen where the guest can.
    LIVE = "live"
    #: Shut the guest down first: trivially consistent, and one boot more.
    OFF = "off"
    #: As the machine runs, with its memory: a roll back goes back to the running moment, without a boot.
    MEMORY = "memory"


class RebootPolicy(enum.StrEnum):
    """Whether the host reboots a guest whose update asks for it."""

    WHEN_REQUIRED = "when_required"
    NEVER = "never"


class RestartPolicy(enum.StrEnum):
    """Whether services that still run the old files after an update are restarted."""

    #: They are named in the report.
    NEVER = "never"
    #: Those that may be restarted without asking anybody are, and the health is judged after it.
    NEEDED = "needed"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Limits and time-outs of update runs, in seconds."""

    # What a host carries at once

    #: Update runs at once on a host.
    slots: int = 4
    #: Of these, machines that are being woken or rebooted at once.
    boots: int = 2
    #: Host memory that woken machines must leave free.
    memory_reserve_mib: int = 512
    #: How often a machine may be passed over for lack of room before others wait for it.
    max_skips: int = 8

    # Undo points

    #: How the undo point of a running machine is taken: as it runs (`live`), shut down first (`off`), or
    #: as it runs with its memory (`memory`).
    undo_point: UndoPointPolicy = UndoPointPolicy.LIVE
    #: The same for machines with a label (`innkeeper machine label`; not that of a booking): label = way.
    #: Of several, the first in the alphabet counts. A machine's own setting (`undo_point`) goes before.
    undo_points: Mapping[str, UndoPointPolicy] = dataclasses.field(default_factory=dict)
    #: How the memory of undo points is kept, where it is.
    memory: MemoryRules = dataclasses.field(default_factory=MemoryRules)
    #: What an undo point needs, and proves.
    undo: UndoRules = dataclasses.field(default_factory=UndoRules)

    # Phases

    #: The agent of a running machine must answer within this, or nothing is begun.
    answer_seconds: float = 30.0
    #: A guest's task agent must answer within this after a wake or a reboot; one that says that its guest
    #: takes longer has that, an hour at most (Windows: 30 minutes).
    agent_seconds: float = 300.0
    #: Refreshing, simulating and downloading an update, before the undo point.
    prepare_seconds: float = 3600.0
    #: The update itself.
    apply_seconds: float = 3 * 3600.0
    #: A guest asked to power off must have done so, or within what it says that it takes.
    shut_down_seconds: float = 180.0
    #: What may pass by itself (a service that is still starting, or does not listen yet) has this long to
    #: do so.
    health_seconds: float = 300.0
    #: The second look at the machine's health comes this long after the first.
    soak_seconds: float = 60.0
    #: How often a waiting phase looks by itself.
    poll_seconds: float = 2.0
    #: Whether the host reboots a guest whose update asks for it: `when_required` or `never`.
    reboot: RebootPolicy = RebootPolicy.WHEN_REQUIRED
    #: Whether services that still run old libraries or programs after an update are restarted: `needed`, or
    #: `never` (they are named in the report). Logins, containers, D-Bus and the agents are never restarted.
    restart: RestartPolicy = RestartPolicy.NEVER
    #: How often a step that must not fail (merge, discard, former state) is tried again.
    retries: int = 5
    #: How long after the last try the next one is made.
    retry_seconds: float = 5.0

    # Time

    #: Kept free before a window's hard end, for rolling back in.
    rollback_reserve_seconds: float = 300.0
    #: How long a run is taken to last where nothing is known.
    default_run_seconds: float = 30 * 60.0
    #: How long a boot is taken to last, when boots in flight are planned.
    boot_seconds: float = 60.0
    #: The planner looks at least this often: clocks jump, and hosts come back.
    look_seconds: float = 60.0
    #: Share of runs that shall last no longer than predicted.
    prediction_quantile: float = 0.95

    # Guests

    #: Waiting bookings that one guest may have made.
    guest_bookings: int = 32

    def undo_point_of(self, machine: Machine) -> UndoPointPolicy:
        """How the undo point of a machine is taken where it runs: by its setting, its labels, or for all."""
        if machine.undo_point is not UndoPointKind.POLICY:
            return UndoPointPolicy(machine.undo_point.name.lower())
        labelled = (self.undo_points[label] for label in machine.labels if label in self.undo_points)
        return next(labelled, self.undo_point)

    def keeps_memory_of(self, machine: Machine) -> bool:
        """Whether the memory of the machine shall be kept, as it is found now."""
        is_asked = self.undo_point_of(machine) is UndoPointPolicy.MEMORY
        return is_asked and machine.state is MachineState.RUNNING

    def roll_back_of(self, machine: Machine) -> RollBack:
        """What a roll back would bring the machine back to, by what is known without asking its host."""
        if machine.state in (MachineState.SAVED, MachineState.PAUSED):
            return RollBack.SAVED_STATE
        keeps = self.keeps_memory_of(machine) and not machine.passthrough
        return RollBack.MEMORY if keeps else RollBack.DISKS
