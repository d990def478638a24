"""What a run found worse is in its report with evidence, and counts unless somebody said otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.channels.guest_details import Effect
from innkeeper.errors import AgentError, InvalidArgument
from innkeeper.hypervisor.simulated.agents import FakeAgent
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.machine import MachineState
from innkeeper.machines.settings import MachineSettings
from innkeeper.updates.booking import Verdict
from innkeeper.updates.policy import Policy, RestartPolicy
from tests.updates.inn import Inn


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """With a machine that runs."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    return inn


async def test_a_fault_is_told_with_its_evidence_and_what_was_before(inn: Inn) -> None:
    """The unit's last words are asked for before the guest is put back."""
    task = await inn.ended((await inn.start(context=Behaviour.BAD.encode())).id)
    report = await inn.report(task.id)
    faults = {finding.subject: finding for finding in report.findings if finding.is_fault}
    assert report.verdict is Verdict.ROLLED_BACK
    assert {fault.sentence for fault in faults.values()} <= set(report.reasons)
    fault = faults["unit:shop.service"]
    assert fault.was.startswith("active")
    assert fault.evidence[-1] == "shop.service: cannot start"


@pytest.mark.parametrize("behaviour", [Behaviour.BAD, Behaviour.CRASH_LOOP])
async def test_what_is_ignored_for_a_machine_is_told_and_the_update_kept(
    inn: Inn, behaviour: Behaviour
) -> None:
    """By a pattern; with a unit goes what it listened on."""
    settings = MachineSettings(inn.machines)
    await settings.ignore("web-1", ["unit:shop*"])
    task = await inn.ended((await inn.start(context=behaviour.encode())).id)
    report = await inn.report(task.id)
    assert (report.verdict, report.reasons) == (Verdict.KEPT, ())
    ignored = [finding for finding in report.findings if finding.is_ignored]
    assert {"unit:shop.service"} <= {finding.subject for finding in ignored}
    assert not any(finding.is_fault for finding in report.findings)


async def test_what_is_ignored_can_be_heeded_again(inn: Inn) -> None:
    """And what no check ever finds cannot be ignored, nor that a due reboot did not come."""
    settings = MachineSettings(inn.machines)
    assert await settings.ignore("web-1", ["unit:shop.service", "packages"]) == (
        "unit:shop.service",
        "packages",
    )
    assert (await inn.machine()).ignored == ("unit:shop.service", "packages")
    assert await settings.stop_ignoring("web-1", "unit:shop.service") == ("packages",)
    with pytest.raises(InvalidArgument):
        await settings.stop_ignoring("web-1", "unit:shop.service")
    for subject in ("shop.service", "unit:", "boot", "boot:x", "unit:a\nb", "unit:" + "x" * 255, ""):
        with pytest.raises(InvalidArgument):
            await settings.ignore("web-1", [subject])
    with pytest.raises(InvalidArgument):
        await settings.ignore("web-1", [f"unit:{number}" for number in range(64)])
    assert (await inn.machine()).ignored == ("packages",)


@pytest.mark.parametrize("policy", RestartPolicy)
async def test_what_runs_old_files_is_restarted_or_told(tmp_path: Path, policy: RestartPolicy) -> None:
    """It is no fault: the update is kept, and has taken effect or says where it has not."""
    inn = Inn(tmp_path, policy=Policy(restart=policy))
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.ended((await inn.start(context=Behaviour.STALE.encode())).id)
    report = await inn.report(task.id)
    assert report.verdict is Verdict.KEPT
    told = [finding for finding in report.findings if finding.subject == "stale:shop.service"]
    assert bool(told) is (policy is RestartPolicy.NEVER)
    assert not any(finding.is_fault for finding in told)
    said = [line.text for line in await inn.tasks.log(task.id)]
    assert ("Restarting what still runs old files: shop.service." in said) is (policy is RestartPolicy.NEEDED)


async def test_a_guest_that_answers_no_more_is_told_with_the_time_that_was_set(tmp_path: Path) -> None:
    """Not with what was left of it at the last try."""
    inn = Inn(tmp_path, policy=Policy(agent_seconds=97.0))
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.ended((await inn.start(context=Behaviour.BREAKS_AGENT.encode())).id)
    (reason,) = (await inn.report(task.id)).reasons
    assert "did not answer within 97 seconds" in reason


async def test_that_an_effect_cannot_be_told_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and the update is kept."""

    async def refuse(self: FakeAgent) -> Effect:
        raise AgentError("It took too long.", machine="web-1")

    monkeypatch.setattr(FakeAgent, "effect", refuse)
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.ended((await inn.start(context=Behaviour.GOOD.encode())).id)
    assert (await inn.report(task.id)).verdict is Verdict.KEPT
    said = [line.text for line in await inn.tasks.log(task.id)]
    assert "Whether the update has taken effect is not known: It took too long." in said
