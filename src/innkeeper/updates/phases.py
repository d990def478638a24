"""The phases of an update run on its way forward, a function each; the table at the end is the night."""

from __future__ import annotations

from innkeeper.channels.ports import AgentHello, GuestAgent, UpdateStatus
from innkeeper.errors import AgentError, ErrorCode, InnkeeperError, MachineUnfit
from innkeeper.machines.asking import is_away
from innkeeper.machines.machine import OFF, MachineState
from innkeeper.machines.undo.children import refuse_children
from innkeeper.machines.undo.point import Consistency
from innkeeper.tasks.task import LogLevel
from innkeeper.updates import backups, clocks
from innkeeper.updates.admission import admission
from innkeeper.updates.effect import effect_of, take_effect
from innkeeper.updates.facts.ending import Rested
from innkeeper.updates.facts.guest import (
    Accepted,
    Applied,
    Baseline,
    Greeted,
    Healthy,
    Prepared,
    Rebooted,
    Soaked,
)
from innkeeper.updates.facts.machine import Admitted, Protected, Recorded, Settled
from innkeeper.updates.follow import Follower
from innkeeper.updates.foreign_acts import though_stopped
from innkeeper.updates.foreign_saves import KEPT_MEMORY
from innkeeper.updates.health_phases import health_of, look_after, look_before, look_first, soak
from innkeeper.updates.memory_phases import keep_memory, memory_of
from innkeeper.updates.outcome import Cause, Stop
from innkeeper.updates.phase import DECIDE, Phase, Run
from innkeeper.updates.policy import RebootPolicy, UndoPointPolicy
from innkeeper.updates.powering_off import REST, power_off, rest
from innkeeper.updates.preparing import (
    PREPARE,
    PREPARE_AFTER_WAKE,
    is_prepared_or_cannot,
    prepare,
)
from innkeeper.updates.proving import written_bytes

#: The phase from whose begin on the guest may have been changed.
UPDATE = "update"
#: The phase in which the run itself reboots the guest.
REBOOT = "reboot"


async def admit(run: Run) -> Admitted:
    """Look whether the machine can be maintained, and plan its undo point; touch nothing."""
    try:
        await run.bookings.started(run.order.of_machine, run.order.identifier, run.task.id)
        machine = await run.state()
        if machine.state in OFF:
            await run.refuse_second(machine)
        found = await admission(run.hypervisor, machine, run.task.id, run.policy.undo, run.hosts)
        found.refuse()
    except InnkeeperError as error:
        if is_away(error):
            raise
        raise Stop.by(error, Cause.UNFIT) from error
    run.task.log(f"{machine.title} was found {machine.state.words}.")
    for sentence in (*found.plan.gaps, *found.unseen):
        run.task.log(sentence, LogLevel.WARNING)
    kind = run.policy.undo_point_of(machine)
    memory, why_not = None, ""
    if run.policy.keeps_memory_of(machine):
        memory, why_not = await memory_of(run, machine, found.plan)
    return Admitted(
        found=machine.state,
        plan=found.plan,
        undo_point=kind,
        memory=memory,
        why_no_memory=why_not,
        console_bytes=await run.hypervisor.console_logs.size(run.machine),
    )


async def settle(run: Run) -> Settled:
    """Bring the machine to the state that its undo point is taken in, in the middle of no backup."""
    await backups.wait(run)
    if run.found is MachineState.PAUSED and (await run.state()).state is MachineState.PAUSED:
        await run.hypervisor.saved_states.save(run.machine, run.on_progress)
    if run.found is MachineState.RUNNING and run.undo_point_policy is UndoPointPolicy.OFF:
        await power_off(run)
    return Settled(checkpoints=tuple(await run.hypervisor.backups.checkpoints(run.machine)))


async def protect(run: Run) -> Protected:
    """Take the undo point: from here on the bases are not written to."""
    await backups.wait(run)
    why_not = ""
    if run.memory is not None:
        kept, why_not = await keep_memory(run, run.memory)
        if kept is not None:
            return kept
    consistency = await backups.between(
        run,
        lambda: run.undo.take(
            freeze_seconds=run.policy.undo.freeze_seconds,
            hook_seconds=run.policy.undo.hook_seconds,
            was_running=run.found is MachineState.RUNNING,
            say=lambda sentence: run.task.log(sentence, LogLevel.WARNING),
            give_up=run.give_up,
        ),
    )
    if consistency is Consistency.CRASH:
        run.task.log("The undo point is crash-consistent: the guest could not be frozen.", LogLevel.WARNING)
    else:
        run.task.log(f"The undo disks were created ({consistency}).")
    return Protected(consistency=consistency, why_no_memory=why_not)


async def record(run: Run) -> Recorded:
    """Write down what the bases are like."""
    records = await run.undo.record(
        read_up_to_bytes=run.policy.undo.checksum_max_bytes, on_progress=run.on_progress
    )
    protected = run.known(Protected)
    if run.memory is not None and protected is not None and protected.memory is not None:
        await run.memory.note_bases(protected.memory, records)
    return Recorded(bases=records)


async def wake(run: Run) -> None:
    """Start the machine on its undo disks."""
    await _refuse_changed_bases(run)
    state = (await run.state()).state
    was_at_rest = run.found is MachineState.TURNED_OFF or run.undo_point_policy is UndoPointPolicy.OFF
    if state is MachineState.TURNED_OFF and was_at_rest:
        await _boot(run)
    elif state is MachineState.SAVED and run.found in KEPT_MEMORY:
        await _restore(run)
    if (await run.state()).state is MachineState.PAUSED:
        await run.hypervisor.lifecycle.resume(run.machine)
    await run.check_alive()


async def greet(run: Run) -> Greeted:
    """Wait for the guest's task agent."""
    async with run.boots.slot(run.hypervisor.name):
        agent = await run.agent(run.policy.agent_seconds)
    if run.found in KEPT_MEMORY:
        # Before anything is asked of it: with an old clock it trusts no source and no certificate.
        await clocks.set_clock(run, by_agent=True)
    _refuse_done_before(run, agent.hello)
    run.task.log(f"{agent.hello.os_name} answers, with plug-in “{agent.hello.plugin_name}”.")
    return Greeted(first_boot=agent.hello.boot_id, written_bytes=await written_bytes(run))


async def apply(run: Run) -> Applied:
    """Start the update in the guest and follow it to its end."""
    follower = Follower(
        machine=await run.key(),
        title=run.title,
        identifier=run.order.identifier,
        attempt=str(run.task.id),
        agents=run.agents,
        clock=run.clock,
        agent_seconds=run.agent_seconds,
        poll_seconds=run.policy.poll_seconds,
        check_alive=run.check_alive,
        on_state=run.on_state,
        on_output=run.on_output,
    )
    task = await follower.run(run.order.label, run.order.context)
    return Applied(
        status=task.status,
        text=task.text,
        packages=task.packages,
        saw_reboot=follower.saw_reboot,
        unchanged=task.unchanged and task.status is UpdateStatus.FAILED and not follower.saw_reboot,
    )


async def accept(run: Run) -> Accepted:
    """Stop where the agent itself says that the update failed; note which boot it ended in."""
    applied = run.fact(Applied)
    if applied.unchanged and run.order.prepares:
        raise Stop(
            Cause.UNCHANGED,
            applied.text or "The update failed before it changed anything.",
            code=ErrorCode.ERROR_NOT_READY,
            advice="Mend what it names. It is tried again by itself; to try at once, book it again.",
        )
    if applied.status is not UpdateStatus.SUCCESS:
        raise Stop(Cause.FAILED, f"The update failed: {applied.text or 'the agent does not say why'}.")
    return Accepted(last_boot=await though_stopped(run, lambda: run.ask(_boot_of)))


async def reboot(run: Run) -> Rebooted:
    """Reboot the guest, where the update asks for it and the policy allows it."""
    return await though_stopped(run, lambda: _reboot(run))


async def _reboot(run: Run) -> Rebooted:
    before = run.fact(Accepted).last_boot
    if (await run.ask(_boot_of)) != before:
        # The service died after it had asked for the reboot.
        return Rebooted(rebooted=True)
    effect = await effect_of(run)
    if not (effect.reboot or (await run.ask(health_of)).reboot_required):
        return Rebooted(rebooted=False, findings=await take_effect(run, effect))
    why = f": {effect.reboot}" if effect.reboot else ""
    if run.policy.reboot is RebootPolicy.NEVER:
        run.task.log(f"A reboot is due, which the policy forbids{why}.", LogLevel.WARNING)
        return Rebooted(rebooted=False, findings=await take_effect(run, effect))
    async with run.boots.slot(run.hypervisor.name):
        run.task.log(f"The guest is rebooting{why}.")
        await _ask_for_reboot(run, before)
        await run.agent(run.agent_seconds, other_boot_than=before)
    return Rebooted(rebooted=True)


async def _ask_for_reboot(run: Run, before: str) -> None:
    """Ask until the guest has agreed, or is in another boot: an answer that is lost may have been a yes."""
    give_up = run.clock.monotonic() + run.agent_seconds
    while True:
        agent = await run.agent(run.agent_seconds)
        if agent.hello.boot_id != before:
            return None
        try:
            return await agent.reboot()
        except AgentError:
            if run.clock.monotonic() >= give_up:
                raise
        await run.clock.sleep(run.policy.poll_seconds)


async def check_bases(run: Run) -> None:
    """Look that nobody has written to the bases: merging into another disk would ruin both."""
    await refuse_bases(run)
    await backups.tell(run)


async def decide(run: Run) -> None:
    """Pass the point of no return: once this is recorded, the update stays.

    A cancel that comes while the effect is being taken back still counts.
    """
    await run.give_up_cancelling()
    run.give_up()


# What phases share


def _refuse_done_before(run: Run, hello: AgentHello) -> None:
    """An agent starts nothing under an identifier that it knows, so its old answer would count as new."""
    if any(
        task.identifier == run.order.identifier and task.status.is_final and not task.unchanged
        for task in hello.tasks
    ):
        raise Stop(
            Cause.FAILED,
            f"The guest of {run.title} has run an update “{run.order.identifier}” before.",
            code=ErrorCode.ERROR_ALREADY_EXISTS,
            advice="Book it under another identifier.",
        )


async def refuse_bases(run: Run) -> None:
    """Raise ``Stop`` where somebody has written to the bases, or made a clone that stands on them."""
    await _refuse_changed_bases(run)
    await _refuse_children(run)


async def _refuse_changed_bases(run: Run) -> None:
    changed = await run.undo.changed_bases(run.bases)
    if changed:
        raise Stop(
            Cause.FAILED,
            f"Something has written to {', '.join(changed)} under the undo disk of {run.title}.",
            code=ErrorCode.VM_E_PARENT_MODIFIED,
            advice="Find out what did, before the machine is started again.",
        )


async def _refuse_children(run: Run) -> None:
    """A clone may have been made since: keeping would change it, and rolling back does not."""
    try:
        await refuse_children(run.hypervisor, run.machine, run.undo.plan.images, run.hosts)
    except MachineUnfit as error:
        if is_away(error):  # another host, which may tell when it is back
            raise
        raise Stop.by(error, Cause.FAILED) from error


async def _boot(run: Run) -> None:
    async with run.boots.slot(run.hypervisor.name):
        await run.start()


async def _restore(run: Run) -> None:
    """Go on from the saved memory, on overlays that nothing was written to: the host sees to that."""
    overlays = run.undo.plan.overlays
    await run.hypervisor.saved_states.restore_keeping(run.machine, overlays, run.on_progress)


async def _boot_of(agent: GuestAgent) -> str:
    return agent.hello.boot_id


#: The way forward. Before ``decide`` is recorded, a stop anywhere rolls back.
FORWARD: tuple[Phase, ...] = (
    Phase(name="admit", title="Checking the machine", work=admit, finds=Admitted),
    Phase(
        name="baseline",
        title="Recording the guest's health",
        work=look_before,
        finds=Baseline,
        is_idle=lambda run: run.found is not MachineState.RUNNING,
        waits=True,
    ),
    Phase(
        name=PREPARE,
        title="Preparing the update",
        work=prepare,
        finds=Prepared,
        is_idle=is_prepared_or_cannot,
        waits=True,
    ),
    Phase(name="settle", title="Preparing the machine", work=settle, finds=Settled, waits=True),
    Phase(name="undo point", title="Creating the undo disks", work=protect, finds=Protected),
    Phase(
        name="record",
        title="Recording the disks' checksums",
        work=record,
        finds=Recorded,
        waits=True,
    ),
    Phase(name="wake", title="Starting the machine", work=wake),
    Phase(name="agent", title="Waiting for the guest's agent", work=greet, finds=Greeted, waits=True),
    Phase(
        name="baseline after wake",
        title="Recording the guest's health",
        work=look_first,
        finds=Baseline,
        is_idle=lambda run: run.baseline is not None,
        waits=True,
    ),
    Phase(
        name=PREPARE_AFTER_WAKE,
        title="Preparing the update",
        work=prepare,
        finds=Prepared,
        is_idle=is_prepared_or_cannot,
        waits=True,
    ),
    Phase(
        name=UPDATE,
        title="Updating",
        work=apply,
        finds=Applied,
        waits=True,
        limit=lambda policy: policy.apply_seconds,
    ),
    Phase(name="answer", title="Following the update", work=accept, finds=Accepted, waits=True),
    Phase(name=REBOOT, title="Rebooting", work=reboot, finds=Rebooted, waits=True),
    Phase(name="health", title="Checking the guest's health", work=look_after, finds=Healthy, waits=True),
    Phase(name="soak", title="Watching the guest for a while", work=soak, finds=Soaked, waits=True),
    Phase(
        name=REST,
        title="Powering off",
        work=rest,
        finds=Rested,
        is_idle=lambda run: run.found is not MachineState.TURNED_OFF,
        waits=True,
    ),
    Phase(name="bases", title="Checking the disks", work=check_bases),
    Phase(name=DECIDE, title="Deciding to keep the update", work=decide),
)
