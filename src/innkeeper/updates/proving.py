"""Look at an update from outside: what the host saw written, and what the guest says when asked again."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.channels.ports import GuestAgent
from innkeeper.errors import InnkeeperError
from innkeeper.tasks.task import LogLevel
from innkeeper.tasks.waiting import within
from innkeeper.updates.facts.guest import Applied, Greeted
from innkeeper.updates.outcome import Stop
from innkeeper.updates.phase import Run
from innkeeper.updates.proof import Evidence, Proof, weigh, written_since
from innkeeper.wire.guest_facts import Ability, WaitingUpdate


async def written_bytes(run: Run) -> int | None:
    """What the host has seen the machine write since its QEMU began; ``None`` where it cannot say."""
    seen: list[int | None] = []

    async def look() -> None:
        seen.append(await run.hypervisor.usage.written_bytes(run.machine))

    try:
        await within(run.clock, run.policy.answer_seconds, look())
    except InnkeeperError:
        return None
    return seen[0] if seen else None


async def prove(run: Run, seconds: float) -> Evidence:
    """Weigh what the guest says that it changed; takes so many seconds, in which it is asked again."""
    end = run.clock.monotonic() + seconds
    packages = run.fact(Applied).packages
    waiting = await _waiting_updates(run, seconds) if packages and seconds > 0 else None
    await run.clock.sleep(max(0.0, end - run.clock.monotonic()))
    evidence = weigh(
        packages, written_since(run.fact(Greeted).written_bytes, await written_bytes(run)), waiting
    )
    if evidence.proof is Proof.CONTRADICTED:
        run.task.log(evidence.words, LogLevel.WARNING)
    return evidence


async def _waiting_updates(run: Run, seconds: float) -> Sequence[WaitingUpdate] | None:
    """What the guest says is still to be updated; ``None`` where it cannot say, or not in time."""
    told: list[Sequence[WaitingUpdate]] = []

    async def ask(agent: GuestAgent) -> None:
        if agent.knows(Ability.SCAN):
            told.append(await agent.scan())

    async def look() -> None:
        await ask(await run.agent(run.policy.answer_seconds))

    try:
        await within(run.clock, seconds, look())
    except (InnkeeperError, Stop):  # whether it is well, or was stopped by somebody, is looked at apart
        return None
    return told[0] if told else None
