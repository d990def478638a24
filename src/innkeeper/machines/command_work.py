"""The work behind the tasks of machine commands."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence

from innkeeper.errors import ErrorCode, MachineError, NotSupported
from innkeeper.machines.machine import OFF, Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.backups import NOT_MERGES, between_backups, mend_backups
from innkeeper.machines.undo.children import refuse_children
from innkeeper.machines.undo.fitness import UndoRules
from innkeeper.machines.undo.leftovers import delete_unnamed, unnamed_files
from innkeeper.machines.undo.merge_marks import forget_merge, half_merged, unnamed_undo_disks
from innkeeper.machines.undo.overlay_names import runs_of
from innkeeper.machines.undo.point import UndoPlan, UndoPoint
from innkeeper.machines.undo.to_running import GoingBack, forget_memory, plan_going_back
from innkeeper.machines.undo.undoable import (
    Ahead,
    existing_plan,
    forget_undo_disks,
    plan_at_end,
    plan_at_start,
    refuse_unfit_parents,
    remember_parents_anew,
    settle_without_action,
    take_at_start,
)
from innkeeper.machines.unless_cancelled import unless_cancelled
from innkeeper.machines.whereabouts import host_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.running import RunningTask, TaskCancelled, Work
from innkeeper.tasks.task import CancelEffect, LogLevel
from innkeeper.tasks.waiting import until
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import as_float, get_optional
from innkeeper.wire.virtual_pc import UndoAction

#: A guest asked to power off must have done so within this where nobody says how long, in seconds.
SHUT_DOWN_SECONDS = 300.0
_LOOK_SECONDS = 1.0
_RULES = UndoRules()

#: Says whether a merge of this machine's undo disks, which this run made, has begun and not ended.
MergeHasBegun = Callable[[str, int], Awaitable[bool]]

#: Raises where another host runs this machine, defined twice.
RefuseSecond = Callable[[Machine], Awaitable[None]]

#: Does a command: to a machine of a host, for a task, as the task's argument says.
_Deed = Callable[[Host, str, RunningTask, Mapping[str, Json]], Awaitable[None]]


class CommandWork:
    """The works of all commands, on all hosts."""

    def __init__(
        self,
        hosts: Mapping[str, Host],
        *,
        clock: Clock,
        merge_has_begun: MergeHasBegun,
        refuse_second: RefuseSecond,
        rules: UndoRules = _RULES,
    ) -> None:
        self._hosts = hosts
        self._clock = clock
        self._merge_has_begun = merge_has_begun
        self._refuse_second = refuse_second
        self._rules = rules
        #: What each command does that is more than a single act of the host.
        self._deeds: Mapping[Command, _Deed] = {
            Command.STARTUP: self._start,
            Command.SAVE: self._save,
            Command.TURN_OFF: lambda host, name, *_: host.lifecycle.turn_off(name),
            Command.SHUT_DOWN: self._shut_down,
            Command.PAUSE: lambda host, name, *_: host.lifecycle.pause(name),
            Command.RESUME: lambda host, name, *_: host.lifecycle.resume(name),
            Command.DISCARD_SAVED_STATE: lambda host, name, *_: host.saved_states.discard(name),
        }

    def work_of(self, command: Command) -> Work:
        """The work of a command: one step, done again where a crash interrupts it."""
        if command in (Command.MERGE_UNDO_DISKS, Command.DISCARD_UNDO_DISKS):
            return self._work_on_undo_disks(command)
        if command is Command.GO_BACK_TO_RUNNING:
            return self._go_back

        async def work(task: RunningTask, argument: Mapping[str, Json]) -> None:
            host, name = host_of(self._hosts, task, argument), str(argument["machine"])
            task.report(command.words.capitalize(), number=1, count=1)
            if command is Command.STARTUP:
                await self._before_start(host, name, task, argument)

            async def action() -> Json:
                if command.declaration.is_one_act:
                    await host.lifecycle.act(name, command)
                else:
                    await self._deeds[command](host, name, task, argument)
                return None

            await task.step(str(command), action)
            if command in (Command.TURN_OFF, Command.SHUT_DOWN):
                if argument.get("keep_undo_disks"):
                    await task.step("keep undo disks", lambda: settle_without_action(host, name))
                else:
                    await self.apply_undo_action(host, name, task)

        return work

    async def undo_action(self, task: RunningTask, argument: Mapping[str, Json]) -> None:
        """The work that deals with the undo disks of a machine whose guest has powered off by itself."""
        await self.apply_undo_action(host_of(self._hosts, task, argument), str(argument["machine"]), task)

    async def apply_undo_action(self, host: Host, name: str, task: RunningTask) -> None:
        """Keep, discard or merge the undo disks of a machine that is off now, by its undo action."""
        planned = await task.step(
            "plan undo action", lambda: plan_at_end(host, name, self._is_half_merged, self._hosts.values())
        )
        if planned is None:
            return
        ahead = Ahead.from_json(planned)
        if ahead.action is UndoAction.DISCARD and not await self._is_half_merged(ahead.plan):
            task.report("Discard undo disks", number=2, count=2)
            await self._step_on_undo_disks(Command.DISCARD_UNDO_DISKS, host, ahead.plan, task)
        else:
            task.report("Merge undo disks", number=2, count=2)
            await self._step_on_undo_disks(Command.MERGE_UNDO_DISKS, host, ahead.plan, task)

    async def _before_start(
        self, host: Host, name: str, task: RunningTask, argument: Mapping[str, Json]
    ) -> None:
        """Accept changed parents where that was asked for, and take the undo disks of an undoable machine."""
        if argument.get("fix_parents"):

            async def accept() -> Json:
                await remember_parents_anew(host, name)
                return None

            await task.step("accept parents", accept)
        if argument.get("undoable"):
            planned = await task.step(
                "plan undo disks",
                lambda: plan_at_start(host, name, task.id, self._rules, self._hosts.values()),
            )

            async def take() -> Json:
                await take_at_start(host, name, planned, self._clock)
                return None

            await task.step("take undo disks", take)

    async def _start(self, host: Host, name: str, task: RunningTask, _: Mapping[str, Json]) -> None:
        machine = await host.inventory.get(name)
        if machine.state in OFF:  # else it was started right before a crash
            await self._refuse_second(machine)
        if remark := await host.lifecycle.start(name, on_progress=_progress(task)):
            task.log(remark, LogLevel.WARNING)

    async def _save(self, host: Host, name: str, task: RunningTask, _: Mapping[str, Json]) -> None:
        """Save, unless a cancel comes first: the machine runs on then."""
        await unless_cancelled(task, host.saved_states.save(name, _progress(task)))

    async def _shut_down(self, host: Host, name: str, _: RunningTask, argument: Mapping[str, Json]) -> None:
        timeout_seconds = get_optional(argument, "timeout_seconds", as_float) or SHUT_DOWN_SECONDS
        if (await host.inventory.get(name)).state is MachineState.RUNNING:
            await host.lifecycle.shut_down(name)

        async def is_off() -> bool:
            return (await host.inventory.get(name)).state is MachineState.TURNED_OFF

        if not await until(self._clock, is_off, every=_LOOK_SECONDS, seconds=timeout_seconds):
            raise MachineError(
                f"The guest of {name} did not power off within {timeout_seconds:g} seconds.",
                machine=name,
                code=ErrorCode.VM_E_TIMED_OUT,
                advice=f"Look at its console, or pull its plug: innkeeper machine stop {name} --force",
            )

    def _work_on_undo_disks(self, command: Command) -> Work:
        """Merge or discard: which disks is a step of its own, for afterwards the machine does not tell."""

        async def work(task: RunningTask, argument: Mapping[str, Json]) -> None:
            host, name = host_of(self._hosts, task, argument), str(argument["machine"])
            planned = await task.step("plan", lambda: self._plan_of_undo_disks(command, host, name))
            if planned is None:
                await self._delete_leftovers(host, name, task)
                return
            plan = UndoPlan.from_json(planned)
            if command is Command.DISCARD_UNDO_DISKS:
                await self._refuse_half_merged(plan)
            elif not await self._is_half_merged(plan):
                await refuse_unfit_parents(host, plan, self._hosts.values())
            task.report(command.words.capitalize(), number=1, count=1)
            await self._step_on_undo_disks(command, host, plan, task)

        return work

    async def _go_back(self, task: RunningTask, argument: Mapping[str, Json]) -> None:
        """Go back to the running moment, a step for each thing that may not be done again."""
        host, name = host_of(self._hosts, task, argument), str(argument["machine"])
        planned = await task.step("plan", lambda: plan_going_back(host, name, clock=self._clock))
        plan = UndoPlan.from_json(planned)
        await self._refuse_half_merged(plan)
        going = GoingBack(
            host, plan, clock=self._clock, say=lambda sentence: task.log(sentence, LogLevel.WARNING)
        )
        steps = (
            ("Discarding the undo disks", going.to_disks),
            ("Bringing the memory back", lambda: going.to_memory(_progress(task))),
            ("Going on from the running moment", going.go_on),
        )
        for number, (title, act) in enumerate(steps, 1):
            task.report(title, number=number, count=len(steps))
            await task.step(title, functools.partial(_done, act))

    async def _step_on_undo_disks(
        self, command: Command, host: Host, plan: UndoPlan, task: RunningTask
    ) -> None:
        undo = UndoPoint(host, plan, clock=self._clock)

        async def action() -> Json:
            if command is Command.MERGE_UNDO_DISKS:
                await self._merge(undo, host, task)
            else:
                await self._forget_memory(host, plan)
                await undo.drop()
            # What there was before the undo disks nobody knows here: each bitmap gets all that they held.
            for sentence in (await mend_backups(host, plan, self._clock, before=None)).lost:
                task.log(sentence, LogLevel.WARNING)
            await undo.delete_files()
            await forget_undo_disks(host, plan.machine, list(plan.images.values()))
            return None

        await task.step(str(command), action)
        if command is Command.MERGE_UNDO_DISKS:
            overlays = [*plan.overlays.values()]
            # A step of its own: without its mark a merge that is done looks like one that never was.
            await task.step(
                "forget merge", functools.partial(_done, lambda: forget_merge(host, plan.machine, overlays))
            )

    async def _merge(self, undo: UndoPoint, host: Host, task: RunningTask) -> None:
        """Merge while no backup runs, of a machine that is on as well; a cancel counts until it begins."""
        begun = await self._is_half_merged(undo.plan)

        def give_up() -> None:
            if task.cancel_requested and not begun:
                raise TaskCancelled("Nothing was merged: it was cancelled while a backup was running.")

        async def merge() -> None:
            nonlocal begun
            give_up()
            begun = True
            await task.set_cancel_effect(CancelEffect.NONE)
            await self._forget_memory(host, undo.plan)
            await undo.merge(_progress(task))

        await between_backups(
            host,
            undo.plan.machine,
            self._clock,
            merge,
            say=task.log,
            give_up=give_up,
            kinds=NOT_MERGES,
        )

    async def _forget_memory(self, host: Host, plan: UndoPlan) -> None:
        with contextlib.suppress(NotSupported):  # the files of another computer have no memory among them
            await forget_memory(host, plan, clock=self._clock)

    async def _plan_of_undo_disks(self, command: Command, host: Host, name: str) -> Json:
        """The undo disks that the machine stands on, whichever run put them there.

        Nothing where it stands on none, and files are to be discarded that a run has left.
        """
        machine = await host.inventory.get(name)
        plan = await existing_plan(host, machine)
        if plan is not None:
            return plan.to_json()
        left = await unnamed_files(host, machine, self._rules.undo_directory)
        if left and command is Command.DISCARD_UNDO_DISKS:
            return None
        if images := [path for path in left if path.endswith(".qcow2")]:
            raise unnamed_undo_disks(name, images)
        raise _no_undo_disks(machine, left)

    async def _delete_leftovers(self, host: Host, name: str, task: RunningTask) -> None:
        """Delete what an undo point has left that nothing stands on any more."""

        async def action() -> Json:
            machine = await host.inventory.get(name)
            left = await unnamed_files(host, machine, self._rules.undo_directory)
            images = {path: path for path in left if path.endswith(".qcow2")}
            await refuse_children(host, name, images, self._hosts.values())
            for path in await delete_unnamed(host, machine, self._rules.undo_directory):
                task.log(f"{path} was deleted.")
            return None

        await task.step("delete what is left", action)

    async def _refuse_half_merged(self, plan: UndoPlan) -> None:
        """A base that a merge has begun to write to is whole only together with its overlay."""
        if await self._is_half_merged(plan):
            raise half_merged(plan.machine)

    async def _is_half_merged(self, plan: UndoPlan) -> bool:
        for run in runs_of(plan.overlays.values()):
            if await self._merge_has_begun(plan.machine, run):
                return True
        return False


async def _done(act: Callable[[], Awaitable[None]]) -> Json:
    await act()
    return None


def _progress(task: RunningTask) -> Callable[[int, int], None]:
    return lambda done, total: task.report(bytes_done=done, bytes_total=total)


def _no_undo_disks(machine: Machine, left: Sequence[str]) -> MachineError:
    advice = "There is nothing to merge or to discard."
    if left:
        advice = f"Delete what an undo point has left: innkeeper machine undo {machine.title} --discard"
    return MachineError(
        f"{machine.title} has no undo disks.",
        machine=machine.title,
        code=ErrorCode.ERROR_FILE_NOT_FOUND,
        advice=advice,
    )
