"""States for people: a word, an icon and a tone for each, never the colour alone."""

from __future__ import annotations

import dataclasses
from typing import Final

from innkeeper.errors import ErrorCode
from innkeeper.wire.identity import ReachName
from innkeeper.wire.messages import TaskMessage, UpdateMessage
from innkeeper.wire.servers import ServerMessage
from innkeeper.wire.states import (
    CancelEffect,
    MachineState,
    RunState,
    ServerState,
    TaskResult,
    TaskState,
    UpdateStatus,
    Verdict,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Sign:
    """How a state is shown."""

    word: str
    #: A symbol of ``icons.svg``.
    icon: str
    #: ``good``, ``busy``, ``warn``, ``bad``, ``sleep`` or ``idle``.
    tone: str
    #: The word after a number that is not one, where it differs: ``2 need help``.
    plural: str = ""

    def of(self, count: int) -> str:
        """Return the word that follows a number."""
        return self.word if count == 1 else self.plural or self.word


#: The symbol and the tone of each state; its word is ``MachineState.words``.
_MACHINES: Final = {
    MachineState.INVALID: ("help", "bad"),
    MachineState.TURNED_OFF: ("off", "idle"),
    MachineState.SAVED: ("moon", "sleep"),
    MachineState.TURNING_ON: ("run", "busy"),
    MachineState.RESTORING: ("run", "busy"),
    MachineState.RUNNING: ("on", "good"),
    MachineState.PAUSED: ("pause", "warn"),
    MachineState.SAVING: ("save", "busy"),
    MachineState.TURNING_OFF: ("off", "busy"),
    MachineState.MERGING_DRIVES: ("layer", "busy"),
    MachineState.DELETE_MACHINE: ("bad", "bad"),
}

VERDICTS: Final = {
    Verdict.KEPT: Sign("kept", "good", "good"),
    Verdict.ROLLED_BACK: Sign("rolled back", "back", "warn"),
    Verdict.NOT_STARTED: Sign("not started", "none", "idle"),
    Verdict.NOTHING_TO_DO: Sign("nothing to do", "good", "good"),
    Verdict.NEEDS_HELP: Sign("needs help", "help", "bad", "need help"),
}

WAITS: Final = Sign("waiting", "wait", "idle")
RUNS: Final = Sign("running", "run", "busy")
FITS_NOT: Final = Sign("does not fit", "help", "warn", "do not fit")
PLANNED: Final = Sign("planned", "calendar", "idle")

ENABLED: Final = Sign("enabled", "good", "good")
DISABLED: Final = Sign("disabled", "none", "warn")
REVOKED: Final = Sign("revoked", "none", "idle")

AWAY: Final = Sign("away", "help", "bad")
ANSWERS: Final = Sign("answers", "good", "good")

_SERVERS: Final = {
    ServerState.SERVING: Sign("serving", "good", "good"),
    ServerState.DRAINING: Sign("draining", "moon", "warn"),
    ServerState.RETIRED: Sign("retired", "none", "idle"),
}

_RESULTS: Final = {
    TaskResult.SUCCESS: Sign("done", "good", "good"),
    TaskResult.CANCELLED: Sign("cancelled", "none", "warn"),
    TaskResult.TIME_OUT_ERROR: Sign("timed out", "bad", "bad"),
}

_SCHEDULED: Final = {
    TaskState.UNKNOWN: Sign("unknown", "wait", "idle"),
    TaskState.READY: Sign("ready", "good", "good"),
    TaskState.RUNNING: Sign("running", "run", "busy"),
    TaskState.QUEUED: Sign("queued", "wait", "busy"),
    TaskState.DISABLED: Sign("disabled", "none", "idle"),
}

_RUNS: Final = {
    RunState.FINISHED: Sign("finished", "good", "good"),
    RunState.RUNNING: RUNS,
    RunState.CLAIMED: Sign("starting", "run", "busy"),
    RunState.QUEUED: Sign("queued", "wait", "busy"),
    RunState.TERMINATED: Sign("stopped", "none", "warn"),
    RunState.SKIPPED: Sign("skipped", "none", "idle"),
    RunState.INTERRUPTED: Sign("interrupted", "help", "bad"),
}

_OUTCOMES: Final = {
    "begun": Sign("started", "run", "busy"),
    "done": Sign("done", "good", "good"),
    "failed": Sign("failed", "bad", "bad"),
    "refused": Sign("refused", "none", "warn"),
}

#: The parts of a server that a role may be given on.
REACHES: Final = {
    ReachName.INN: "the whole server",
    ReachName.MACHINE: "a machine",
    ReachName.LABEL: "machines with a label",
    ReachName.FOLDER: "a folder of the schedule",
}

#: The effect of a cancel, shown before anybody asks for one.
CANCELS: Final = {
    CancelEffect.NONE: "The task can no longer be cancelled: it has passed the point of no return.",
    CancelEffect.BACK_TO_START: "Everything is put back as it was before the task began.",
    CancelEffect.STOPS_RESUMABLE: "The task stops where it is, and can be resumed later.",
}


def machine_sign(state: MachineState) -> Sign:
    """Return how a machine's state is shown."""
    icon, tone = _MACHINES[state]
    return Sign(state.words, icon, tone)


def server_sign(server: ServerMessage) -> Sign:
    """Return how a server is shown: whether it lives, and what part it takes."""
    return _SERVERS[server.state] if server.alive else AWAY


def task_sign(task: TaskMessage) -> Sign:
    """Return how a task is shown: its progress, or how it ended."""
    if task.result is None:
        return Sign("cancelling", "run", "warn") if task.cancel_requested else RUNS
    return _RESULTS.get(TaskResult(task.result), Sign("failed", "bad", "bad"))


def update_sign(update: UpdateMessage) -> Sign:
    """Return how a booking is shown."""
    if update.verdict is not None:
        return VERDICTS[update.verdict]
    if update.task_id is None:
        return WAITS
    status = UpdateStatus(update.status)
    known = status is not UpdateStatus.UNKNOWN and not status.is_final
    return Sign(status.name.lower(), "run", "busy") if known else RUNS


def scheduled_sign(state: TaskState) -> Sign:
    """Return how a scheduled task is shown."""
    return _SCHEDULED[state]


def run_sign(state: RunState, result: int) -> Sign:
    """Return how an instance of a scheduled task is shown."""
    if state is RunState.FINISHED and result != 0:
        return Sign("failed", "bad", "bad")
    return _RUNS[state]


def outcome_sign(outcome: str) -> Sign:
    """Return how an audited act ended."""
    return _OUTCOMES.get(outcome, Sign(outcome, "wait", "idle"))


def size(count: int | None) -> str:
    """Return a size in bytes for people: ``3.4 GiB``."""
    if count is None:
        return "–"
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def result_code(code: int) -> str:
    """Return a result for people: an exit code, the documented identifier, or that there is none yet."""
    if code == ErrorCode.SCHED_S_TASK_HAS_NOT_RUN:
        return "never ran"
    return str(code) if abs(code) < 256 else f"0x{code & 0xFFFFFFFF:08X}"
