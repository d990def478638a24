"""The phase in which a guest prepares its update: refreshes, simulates and downloads, changing nothing."""

from __future__ import annotations

import contextlib
import functools

from innkeeper.channels.ports import GuestAgent, Preparation, PreparationState
from innkeeper.errors import AgentError, ErrorCode
from innkeeper.updates.facts.guest import Baseline, Prepared
from innkeeper.updates.outcome import Cause, Stop
from innkeeper.updates.phase import Run

#: The phase on a guest that was found running, and on one that had to be woken.
PREPARE, PREPARE_AFTER_WAKE = "prepare", "prepare after wake"


async def prepare(run: Run) -> Prepared:
    """Follow the guest as it prepares the update. Raises ``Stop`` where it cannot, or has nothing to do.

    Nothing is protected yet, or nothing is worth protecting: no undo point, no stop of the guest.
    """
    try:
        found = await _followed(run)
    except AgentError as error:
        raise Stop(
            Cause.NOT_PREPARED, error.sentence, code=ErrorCode.ERROR_NOT_READY, advice=error.advice
        ) from error
    if found.state is PreparationState.FAILED:
        raise Stop(
            Cause.NOT_PREPARED,
            found.text or "The guest could not prepare the update, and does not say why.",
            code=ErrorCode.ERROR_NOT_READY,
            advice="Mend what it names. It is tried again by itself; to try at once, book it again.",
        )
    if found.state is PreparationState.NOTHING:
        raise Stop(Cause.NOTHING_TO_DO, found.text, code=ErrorCode.S_OK)
    run.task.log(found.text)
    return Prepared(text=found.text)


async def stop_preparing(run: Run) -> None:
    """Ask the guest to stop what nobody waits for any more; best effort."""
    with contextlib.suppress(AgentError, Stop):
        agent = await run.agent(run.policy.answer_seconds)
        await agent.stop_preparing(run.order.identifier)


def is_prepared_or_cannot(run: Run) -> bool:
    """Whether the guest has prepared the update, or has an agent that cannot."""
    baseline = run.known(Baseline)
    return run.known(Prepared) is not None or baseline is None or not baseline.can_prepare


async def _followed(run: Run) -> Preparation:
    """Ask again and again until it has ended, and pass on what it prints."""
    give_up, offset, said = run.clock.monotonic() + run.policy.prepare_seconds, 0, ""
    while run.clock.monotonic() < give_up:
        found = await run.ask(functools.partial(_ask, run, offset))
        for line in found.output:
            run.on_output(line)
        if found.state is not PreparationState.RUNNING:
            return found
        if found.text not in ("", said):
            said = found.text
            run.task.log(said)
        offset = found.offset
        await run.clock.sleep(run.policy.poll_seconds)
    await stop_preparing(run)
    raise Stop(
        Cause.NOT_PREPARED,
        f"The update could not be downloaded within {run.policy.prepare_seconds:g} seconds.",
        code=ErrorCode.VM_E_TIMED_OUT,
        advice="Look at the update's output in the task's log. What was downloaded stays in the guest.",
    )


async def _ask(run: Run, offset: int, agent: GuestAgent) -> Preparation:
    order = run.order
    return await agent.prepare(
        order.label, order.identifier, order.context, attempt=str(run.task.id), offset=offset
    )
