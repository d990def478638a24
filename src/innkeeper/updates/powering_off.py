"""Power a guest off, and see that it stays off: some reboot instead."""

from __future__ import annotations

from innkeeper.errors import AgentError, ErrorCode
from innkeeper.machines.machine import MachineState
from innkeeper.machines.undo.freezing import Freeze
from innkeeper.tasks.task import LogLevel
from innkeeper.updates import backups
from innkeeper.updates.facts.ending import Rested
from innkeeper.updates.facts.guest import Healthy
from innkeeper.updates.outcome import Cause, Stop
from innkeeper.updates.phase import Run
from innkeeper.updates.proving import written_bytes

#: The phase in which a machine that was found off is powered off.
REST = "rest"
#: So often a guest that reboots instead is asked to power off.
_MOST_ASKED = 2
#: A guest that has written nothing for so long has written what it had to: Linux waits for 30 seconds.
_QUIET_SECONDS, _LOOK_SECONDS = 40.0, 10.0


async def power_off(run: Run) -> None:
    """Ask the guest to power off, and see that it does."""
    if (await run.state()).state is MachineState.RUNNING:
        await run.hypervisor.lifecycle.shut_down(run.machine)
    seconds = run.shut_down_seconds
    if not await run.wait_for(MachineState.TURNED_OFF, seconds):
        raise Stop(
            Cause.TIME_OUT,
            f"The guest did not power off within {seconds:g} seconds.",
            code=ErrorCode.VM_E_TIMED_OUT,
            advice="Look at the machine's console.",
        )


async def rest(run: Run) -> Rested | None:
    """Power off a machine that was found off, so that its disks are merged at rest.

    One that reboots whenever it is asked to is left running: it is merged so, and turned off afterwards.
    """
    if run.found is not MachineState.TURNED_OFF:
        return None
    await backups.let_end(run)
    boot = run.fact(Healthy).healthy_boot
    for _ in range(_MOST_ASKED):
        asked_at = run.clock.now()
        try:
            await power_off(run)
            return Rested(reboots_instead=False)
        except Stop:
            agent = await run.agent(run.agent_seconds) if await _runs(run) else None
            if agent is None or agent.hello.boot_id == boot:
                raise
            boot = agent.hello.boot_id
        seen = run.reboots.seen(run.order.of_machine, asked_at)
        if seen.starts or not seen.reboots:
            run.task.log(f"Somebody has started {run.title} as soon as it was off.", LogLevel.WARNING)
            return Rested(reboots_instead=False)
        run.task.log(f"The guest of {run.title} was asked to power off, and has rebooted.", LogLevel.WARNING)
    return Rested(reboots_instead=True, boot=boot)


async def turn_off_what_reboots(run: Run) -> str:
    """Pull the plug of a guest that reboots whenever it is asked to power off; returns what is told of it.

    Its update is in, and what it has written is in its disks: it is waited for until it writes no more, as
    long as a guest may take to power off, and then its file systems are frozen, where it can do that. One
    that can do neither goes on, as does one that may be somebody else's by now.
    """
    rested = run.known(Rested)
    if rested is None or not rested.reboots_instead or not await _runs(run):
        return ""
    is_quiet = await _is_quiet(run)
    rested_at = run.outcomes[REST].ended_at or run.order.started_at
    if run.reboots.seen(run.order.of_machine, rested_at).starts or not await _runs(run):
        return ""  # it is somebody else's by now
    if not await _is_in(run, rested.boot):
        return _told(run, "it was left running, since it has booted again since, or does not answer")
    freeze = Freeze(
        run.hypervisor,
        run.machine,
        run.clock,
        say=lambda sentence: run.task.log(sentence, LogLevel.WARNING),
    )
    rules = run.policy.undo
    async with freeze.held(freeze_seconds=rules.freeze_seconds, hook_seconds=rules.hook_seconds):
        if not (freeze.is_held or is_quiet):
            return _told(
                run, f"it was left running, since it still wrote after {run.shut_down_seconds:g} seconds"
            )
        how = "its file systems were frozen" if freeze.is_held else "it wrote no more"
        await run.hypervisor.lifecycle.turn_off(run.machine)
    return _told(run, f"it was turned off, once {how}")


def _told(run: Run, what: str) -> str:
    remark = f"{run.title} was found off, and its guest rebooted whenever it was asked to power off: {what}."
    run.task.log(remark, LogLevel.WARNING)
    return remark


async def _is_in(run: Run, boot: str) -> bool:
    """Whether the guest still runs in this boot: a service that was away has not heard who started it."""
    try:
        agent = await run.agent(run.policy.answer_seconds)
    except (AgentError, Stop):
        return False
    return agent.hello.boot_id == boot


async def _is_quiet(run: Run) -> bool:
    """Whether the guest came to write nothing for a while, in the time that it may take to power off."""
    give_up = run.clock.monotonic() + run.shut_down_seconds
    written, since = await written_bytes(run), run.clock.monotonic()
    while run.clock.monotonic() < give_up:
        await run.clock.sleep(_LOOK_SECONDS)
        now = await written_bytes(run)
        if now is None or now != written:
            written, since = now, run.clock.monotonic()
        elif run.clock.monotonic() - since >= _QUIET_SECONDS:
            return True
    return False


async def _runs(run: Run) -> bool:
    return (await run.state()).state is MachineState.RUNNING
