"""State the choices that update runs and the planner go by."""

from __future__ import annotations

import dataclasses
import enum

from innkeeper.machines.undo.fitness import UndoRules


class UndoPointPolicy(enum.StrEnum):
    """How the undo point of a running machine is taken."""

    #: As the machine runs: all disks at once, file systems frozen where the guest can.
    LIVE = "live"
    #: Shut the guest down first: trivially consistent, and one boot more.
    OFF = "off"


class RebootPolicy(enum.StrEnum):
    """Whether the host reboots a guest whose update asks for it."""

    WHEN_REQUIRED = "when_required"
    NEVER = "never"


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

    #: How the undo point of a running machine is taken: as it runs (`live`), or shut down first (`off`).
    undo_point: UndoPointPolicy = UndoPointPolicy.LIVE
    #: What an undo point needs, and proves.
    undo: UndoRules = dataclasses.field(default_factory=UndoRules)

    # Phases

    #: The agent of a running machine must answer within this, or nothing is begun.
    answer_seconds: float = 30.0
    #: A guest's task agent must answer within this after a wake or a reboot.
    agent_seconds: float = 300.0
    #: The update itself.
    apply_seconds: float = 3 * 3600.0
    #: A guest asked to power off must have done so.
    shut_down_seconds: float = 180.0
    #: A finding that may pass by itself (a service still starting) has this long to do so.
    health_seconds: float = 30.0
    #: The second look at the machine's health comes this long after the first.
    soak_seconds: float = 60.0
    #: How often a waiting phase looks by itself.
    poll_seconds: float = 2.0
    #: Whether the host reboots a guest whose update asks for it: `when_required` or `never`.
    reboot: RebootPolicy = RebootPolicy.WHEN_REQUIRED
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
