"""Live with the incremental backups that others take of a machine, while it has an undo point.

A checkpoint of theirs stands for a bitmap in each disk, in which writes are recorded from then on. An undo
point is never taken into a running backup, and a merge waits for its end. A backup that was taken through an
undo disk knows a disk that is gone after a roll back: the base gets a bitmap then with all that the undo disk
held, so that the next increment has whatever differs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from innkeeper.errors import ErrorCode, HypervisorError, InnkeeperError
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.backups import Checkpoint, JobKind, Tracking
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.overlay_names import MARK
from innkeeper.machines.undo.point import UndoDisk, UndoPlan
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import as_int, as_list, as_row, as_str

T = TypeVar("T")

_AT_REST = (MachineState.TURNED_OFF, MachineState.SAVED)
#: How long between two looks whether a backup has ended, in seconds.
LOOK_SECONDS: Final = 5.0

#: What an undo point has to wait for.
ANY_JOB: Final = frozenset(JobKind)
#: What a merge of ours has to wait for, which may be under way itself.
NOT_MERGES: Final = ANY_JOB - {JobKind.MERGE}
#: A wait that lasts is told of again after so long.
_TELL_SECONDS: Final = 1800.0


# Running backups


async def between_backups(
    host: Host,
    name: str,
    clock: Clock,
    act: Callable[[], Awaitable[T]],
    *,
    say: Callable[[str], None],
    give_up: Callable[[], None] = lambda: None,
    waits: Callable[[str], Awaitable[None]] | None = None,
    kinds: frozenset[JobKind] = ANY_JOB,
) -> T:
    """Act once nobody's backup, nor another job on its disks, runs on the machine.

    ``say`` hears who holds them, again whenever that changes, and each half hour. ``give_up`` is called
    before each wait, and raises to end it; ``waits`` hears for whom. What the host refuses with ERROR_BUSY is
    tried again: a job has begun just before, or one that the host cannot list holds the disks.
    """
    wait = _Wait(clock, say)
    while True:
        if found := await host.backups.jobs(name) & kinds:
            held_by = ", ".join(await host.backups.held_by(name))
            wait.tell(f"{_words(found)} of {name} is running{f' ({held_by})' if held_by else ''}")
        else:
            try:
                done = await act()
            except HypervisorError as error:
                if error.code is not ErrorCode.ERROR_BUSY:
                    raise
                wait.tell(error.sentence.rstrip("."))
            else:
                wait.end()
                return done
        give_up()
        if waits is not None:
            await waits(wait.held)
        await clock.sleep(LOOK_SECONDS)


class _Wait:
    """The log of a wait for somebody else's job."""

    def __init__(self, clock: Clock, say: Callable[[str], None]) -> None:
        self._clock = clock
        self._say = say
        self._began = self._told_at = clock.monotonic()
        #: What was said last, without what changes all the time.
        self._told = ""
        #: Who holds the disks, as it was heard last.
        self.held = ""

    def tell(self, held: str) -> None:
        """Log what is waited for, where it is another thing than before, or has lasted long."""
        self.held = held
        what, now = held.partition(" (")[0], self._clock.monotonic()
        if what == self._told and now - self._told_at < _TELL_SECONDS:
            return
        so_far = f", for {(now - self._began) / 60:.0f} minutes by now" if what == self._told else ""
        self._told, self._told_at = what, now
        self._say(f"{held}: its end is waited for{so_far}.")

    def end(self) -> None:
        """Log that it has ended, where it was waited for."""
        if self._told:
            self._say("It has ended.")


def _words(kinds: frozenset[JobKind]) -> str:
    return "A backup" if JobKind.BACKUP in kinds else "A job on a disk"


# Backups taken meanwhile


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mended:
    """What became of the backups that were taken while the undo disks were on."""

    #: The checkpoints that were made meanwhile.
    checkpoints: tuple[str, ...] = ()
    #: What the next backup must be, where they do not: a sentence for each disk.
    lost: tuple[str, ...] = ()


def begun_since(before: Sequence[Checkpoint], now: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints that were made since, also those under a name that there was."""
    known = {_identity(each) for each in before}
    return [each for each in now if _identity(each) not in known]


async def mend_backups(
    host: Host,
    plan: UndoPlan,
    clock: Clock,
    before: Sequence[Checkpoint] | None,
    *,
    tries: int = 3,
    is_rolled_back: bool = False,
) -> Mended:
    """Mend the bitmaps of a machine at rest after backups were taken through its undo disks.

    To be called when the bases are what they are to be, and before the undo disks are deleted; may be done
    again after a kill. ``before`` are the checkpoints at the undo point, or ``None`` where they are unknown:
    then every bitmap gets all that the undo disk held. Of a machine that runs, QEMU has seen to it; one that
    is rolled back, and that somebody has started already, cannot be mended.
    """
    is_at_rest = (await host.inventory.get(plan.machine)).state in _AT_REST
    if not is_at_rest and not is_rolled_back:
        return Mended()
    now = await host.backups.checkpoints(plan.machine)
    begun = now if before is None else begun_since(before, now)
    if not is_at_rest:
        return _unmended(plan, begun)
    lost: list[str] = []
    for disk in plan.disks:
        concerned = [each for each in begun if _bitmap(each, disk)]
        try:
            tracking = _tracking(plan.machine, disk, before, now)
            await _mend(host, tracking, clock, tries)
            sound = await host.backups.sound_bitmaps(tracking) if concerned else frozenset()
            missing = [each for each in concerned if _bitmap(each, disk) not in sound]
            if missing:
                lost.append(_lost(plan.machine, disk, missing, "it has no whole record of what was written"))
        except InnkeeperError as error:
            if concerned:
                lost.append(_lost(plan.machine, disk, concerned, error.sentence.rstrip(".")))
    return Mended(checkpoints=tuple(each.name for each in begun), lost=tuple(lost))


def _unmended(plan: UndoPlan, begun: Sequence[Checkpoint]) -> Mended:
    """What somebody who started the machine too early has made worthless."""
    concerned = {disk: [each for each in begun if _bitmap(each, disk)] for disk in plan.disks}
    why = "somebody has started it before its record of what was written could be mended"
    return Mended(
        checkpoints=tuple(each.name for each in begun),
        lost=tuple(_lost(plan.machine, disk, made, why) for disk, made in concerned.items() if made),
    )


async def _mend(host: Host, tracking: Tracking, clock: Clock, tries: int) -> None:
    """Gather and restore. A QEMU that is ending may have the images open for a moment yet."""
    while True:
        tries -= 1
        try:
            if await host.backups.gather(tracking):
                await host.backups.restore(tracking)
        except InnkeeperError as error:
            if tries <= 0 or error.code is not ErrorCode.ERROR_SHARING_VIOLATION:
                await host.disks.delete(tracking.side)
                raise
        else:
            return await host.disks.delete(tracking.side)
        await clock.sleep(LOOK_SECONDS)


def _tracking(
    machine: str, disk: UndoDisk, before: Sequence[Checkpoint] | None, now: Sequence[Checkpoint]
) -> Tracking:
    """The bitmaps of one disk; where it is not known what there was, none is sure to be right or new."""
    fresh = begun_since(before, now) if before is not None else ()
    begun = {_bitmap(each, disk) for each in fresh} - {""}
    named = {_bitmap(each, disk) for each in now} - {""}
    known = {_bitmap(each, disk) for each in before or ()} - {""}
    return Tracking(
        machine=machine,
        target=disk.target,
        base=disk.image,
        overlay=disk.overlay,
        side=_side(disk.overlay),
        kept=frozenset((known & named) - begun),
        begun=frozenset(begun),
        gone=frozenset(known - named),
    )


def _lost(machine: str, disk: UndoDisk, checkpoints: Sequence[Checkpoint], why: str) -> str:
    names = ", ".join(each.name for each in checkpoints)
    commands = "; ".join(f"virsh checkpoint-delete {machine} {each.name} --metadata" for each in checkpoints)
    return (
        f"Incremental backups of the disk {disk.target} of {machine} cannot go on from {names}: {why}. Its "
        f"next backup must be a full one, into a new folder; or go on from an older checkpoint "
        f"after: {commands}"
    )


def _bitmap(checkpoint: Checkpoint, disk: UndoDisk) -> str:
    return dict(checkpoint.bitmaps).get(disk.target, "")


def _identity(checkpoint: Checkpoint) -> tuple[str, int, tuple[tuple[str, str], ...]]:
    return checkpoint.name, checkpoint.created, checkpoint.bitmaps


def _side(overlay: str) -> str:
    """Where a base's bitmaps are gathered: a file of the undo point as well, by its name."""
    head, mark, tail = overlay.rpartition(MARK)
    return f"{head}.bitmaps{mark}{tail}" if mark else f"{overlay}.bitmaps"


# The journal


def checkpoints_to_json(checkpoints: Sequence[Checkpoint]) -> Json:
    """For the journal."""
    return [
        [each.name, each.created, [[target, bitmap] for target, bitmap in each.bitmaps]]
        for each in checkpoints
    ]


def checkpoints_from_json(data: Json) -> tuple[Checkpoint, ...]:
    """From the journal. Raises ``JsonError``."""
    return as_list(data, _checkpoint)


def _checkpoint(data: Json) -> Checkpoint:
    name, created, bitmaps = as_row(data, 3)
    return Checkpoint(name=as_str(name), created=as_int(created), bitmaps=as_list(bitmaps, _pair))


def _pair(data: Json) -> tuple[str, str]:
    target, bitmap = map(as_str, as_row(data, 2))
    return target, bitmap
