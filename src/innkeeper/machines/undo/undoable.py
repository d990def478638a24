"""Undo disks of undoable machines: taken at the start, dealt with at the end."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from innkeeper.errors import ErrorCode, InvalidArgument, MachineError, NotSupported
from innkeeper.machines.change import MetadataChanged, Scope
from innkeeper.machines.configuration import Extras, ParentRecord
from innkeeper.machines.machine import Disk, Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.children import refuse_children
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.overlay_names import MARK, run_of
from innkeeper.machines.undo.placing import undo_disk
from innkeeper.machines.undo.point import UndoDisk, UndoPlan, UndoPoint
from innkeeper.machines.undo.state_copies import StateFile, StatePlan, noted_state
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import as_object, get, get_enum, refuse_newer
from innkeeper.wire.virtual_pc import UndoAction

#: The version of what is kept of an undo action. See docs/decisions/0043-journals-are-versioned.md.
_VERSION: Final = 1


def stands_on_undo_disks(machine: Machine) -> bool:
    """Whether any of its disks is an undo disk."""
    return any(run_of(disk.path) is not None for disk in machine.disks)


async def existing_plan(host: Host, machine: Machine) -> UndoPlan | None:
    """The undo disks that the machine stands on, whichever run put them there; ``None`` for none."""
    disks = [
        await _existing_disk(host, machine.name, disk)
        for disk in machine.disks
        if run_of(disk.path) is not None
    ]
    if not disks:
        return None
    state = await _existing_state(host, machine, disks[0].overlay)
    return UndoPlan(machine=machine.name, disks=tuple(disks), state=state)


async def _existing_state(host: Host, machine: Machine, overlay: str) -> StatePlan:
    run = run_of(overlay)
    with contextlib.suppress(NotSupported):
        noted = None if run is None else await noted_state(host, machine.name, overlay, run)
        if noted is not None:
            return noted
    if not machine.nvram_path:
        return StatePlan()
    # Release 0.1.0 wrote no note.
    return StatePlan(files=(StateFile(path=machine.nvram_path, copy=f"{machine.nvram_path}{MARK}{run}"),))


async def _existing_disk(host: Host, name: str, disk: Disk) -> UndoDisk:
    storage = await host.disks.storage(name, disk.target)
    if storage.source == disk.path:
        # Nothing is noted: a release before put it on, over a file.
        base = (await host.disks.backing_chain(disk.path))[1]
        return UndoDisk(target=disk.target, overlay=disk.path, base=base)
    return undo_disk(disk, storage, overlay=disk.path)


async def plan_at_start(
    host: Host, name: str, run: int, rules: UndoRules, others: Iterable[Host] = ()
) -> Json:
    """The undo disks to be taken before the machine is started; nothing where it has some, or is saved."""
    machine = await host.inventory.get(name)
    if machine.state is not MachineState.TURNED_OFF or stands_on_undo_disks(machine):
        return None
    return (await plan_undo_point(host, machine, run, rules, others)).to_json()


async def take_at_start(host: Host, name: str, planned: Json, clock: Clock) -> None:
    """Add the planned undo disks, record their parents, and note that the machine runs now."""
    if planned is not None:
        plan = UndoPlan.from_json(planned)
        await UndoPoint(host, plan, clock=clock).take(freeze_seconds=0)
        await remember_parents(host, name, list(plan.images.values()))
    await _note(host, name, {"undo_pending": True})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ahead:
    """Work planned for the undo disks of a machine that has just been turned off."""

    action: UndoAction
    plan: UndoPlan

    def to_json(self) -> Json:
        """For the journal."""
        return {"version": _VERSION, "action": int(self.action), "plan": self.plan.to_json()}

    @classmethod
    def from_json(cls, data: Json) -> Ahead:
        """From the journal. Raises ``JsonError``."""
        fields = as_object(data)
        refuse_newer(fields, _VERSION)
        return cls(
            action=get_enum(fields, "action", UndoAction), plan=get(fields, "plan", UndoPlan.from_json)
        )


async def plan_at_end(
    host: Host,
    name: str,
    is_half_merged: Callable[[UndoPlan], Awaitable[bool]],
    others: Iterable[Host] = (),
) -> Json:
    """The work that the machine's undo action asks for now; ``None`` where there is none.

    Raises ``MachineError`` where a merge is asked for that must not begin.
    """
    machine = await host.inventory.get(name)
    if machine.state is not MachineState.TURNED_OFF or not machine.undo_pending:
        return None
    extras = (await host.configurations.read(name)).extras
    plan = await existing_plan(host, machine)
    if plan is None or extras.undo_action is UndoAction.KEEP:
        await _note(host, name, {"undo_pending": False})
        return None
    if extras.undo_action is UndoAction.COMMIT and not await is_half_merged(plan):
        await refuse_unfit_parents(host, plan, others)
    return Ahead(action=extras.undo_action, plan=plan).to_json()


async def settle_without_action(host: Host, name: str) -> Json:
    """Keep the undo disks, whatever the undo action: the next start goes on with them."""
    if (await host.inventory.get(name)).undo_pending:
        await _note(host, name, {"undo_pending": False})
    return None


# Parents


async def refuse_changed_parents(host: Host, name: str, extras: Extras) -> None:
    """Raises ``MachineError`` where a parent is not the file it was when a disk was put over it.

    (VM_E_PARENT_MODIFIED, or VM_E_PARENT_PATH_NOT_FOUND where it is gone.) QEMU would not notice.
    """
    await _refuse_changed(
        host,
        name,
        extras.parents,
        "What the disk holds may not fit it any more. Put the former file back, or start the "
        f"machine all the same: innkeeper machine start {name} --fix-parents",
    )


async def refuse_unfit_parents(host: Host, plan: UndoPlan, others: Iterable[Host] = ()) -> None:
    """Raises ``MachineError`` where the undo disks must not be merged into what is below them.

    Another image stands on it, or it is not what it was when they were taken (VM_E_PARENT_MODIFIED). Not to
    be asked once the merge has begun: that changes it too.
    """
    name = plan.machine
    await refuse_children(host, name, plan.images, others)
    extras = (await host.configurations.read(name)).extras
    await _refuse_changed(
        host,
        name,
        [known for known in extras.parents if known.path in plan.images.values()],
        "What the undo disk holds may not fit it any more. Put the former file back and merge again, or "
        f"give the undo disks up: innkeeper machine undo {name} --discard. To take the file as it is, first "
        f"run: innkeeper machine start {name} --fix-parents",
    )


async def _refuse_changed(host: Host, name: str, parents: Iterable[ParentRecord], advice: str) -> None:
    for known in parents:
        now = await host.files.identity(known.path)
        if now is None:
            raise MachineError(
                f"{known.path}, which a disk of {name} stands on, is gone.",
                machine=name,
                code=ErrorCode.VM_E_PARENT_PATH_NOT_FOUND,
                advice="Put the file back.",
            )
        if (now.size_bytes, now.mtime_ns, now.inode) != (known.size_bytes, known.mtime_ns, known.inode):
            raise MachineError(
                f"{known.path}, which a disk of {name} stands on, was changed since.",
                machine=name,
                code=ErrorCode.VM_E_PARENT_MODIFIED,
                advice=advice,
            )


async def remember_parents(host: Host, name: str, paths: Sequence[str]) -> None:
    """Write down what these parents are like now, in place of what was known of them."""
    kept = [each for each in (await host.configurations.read(name)).extras.parents if each.path not in paths]
    records = [await _record(host, path) for path in dict.fromkeys(paths)]
    await _note(host, name, {"parents": (*kept, *(each for each in records if each is not None))})


async def remember_parents_anew(host: Host, name: str) -> None:
    """Record the parents as they are now (``vmStartupOption_FixParentTimestampMismatch``)."""
    extras = (await host.configurations.read(name)).extras
    await remember_parents(host, name, [each.path for each in extras.parents])


async def forget_undo_disks(host: Host, name: str, bases: Sequence[str]) -> None:
    """The undo disks are gone: their bases are nobody's parents any more, and nothing is pending."""
    extras = (await host.configurations.read(name)).extras
    parents = tuple(each for each in extras.parents if each.path not in bases)
    if parents != extras.parents or extras.undo_pending or extras.held_until:
        await _note(host, name, {"parents": parents, "undo_pending": False, "held_until": 0})


async def _record(host: Host, path: str) -> ParentRecord | None:
    now = await host.files.identity(path)
    if now is None:
        return None
    return ParentRecord(path=path, size_bytes=now.size_bytes, mtime_ns=now.mtime_ns, inode=now.inode)


async def _note(host: Host, name: str, extras: Mapping[str, object]) -> None:
    await host.configurations.change(name, MetadataChanged(extras=extras), Scope.BOTH)


def checked_startup_option(option: int) -> bool:
    """Whether changed parents are accepted. Raises ``InvalidArgument`` for an unknown option."""
    if option not in (0, 1):
        raise InvalidArgument(
            f"There is no way {option} to start a machine.",
            advice="0 is the normal one, and 1 accepts parents that were changed.",
        )
    return option == 1
