"""A report says what is proved of an update, and what is only its guest's word."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.channels.ports import PackageChange
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import Verdict
from innkeeper.updates.proof import Evidence, Proof, weigh, written_since
from innkeeper.wire.guest_facts import WaitingUpdate
from tests.updates.inn import Inn

BASE = (PackageChange(name="base", old_version="1.0-1", new_version="1.0-2"),)
NEXT = (WaitingUpdate(name="base", installed="1.0-2", available="1.0-3", security=None),)
STILL = (WaitingUpdate(name="base", installed="1.0-1", available="1.0-2", security=None),)


@pytest.mark.parametrize("state", [MachineState.RUNNING, MachineState.TURNED_OFF])
async def test_success_of_a_guest_that_did_nothing_is_contradicted(
    tmp_path: Path, state: MachineState
) -> None:
    """The guest is asked again, and the report names what is still as it was."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(state)
    task = await inn.ended((await inn.start(context=Behaviour.LIES.encode())).id)
    report = await inn.report(task.id)
    assert (report.verdict, report.proof) == (Verdict.KEPT, Proof.CONTRADICTED)
    assert report.proof_words == (
        "The guest says that it changed 1 package, but asked again it has base 1.0-1, not 1.0-2."
    )
    assert [(each.sentence, each.is_fault) for each in report.findings] == [(report.proof_words, False)]


async def test_what_the_host_saw_of_a_good_update_is_told(tmp_path: Path) -> None:
    """Bytes written and a second answer fit what the guest says: no finding, and the words name both."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.ended((await inn.start(context=Behaviour.GOOD.encode())).id)
    report = await inn.report(task.id)
    assert (report.proof, report.findings) == (Proof.CONSISTENT, ())
    assert "bytes written to its disks, and asked again it still says so" in report.proof_words


@pytest.mark.parametrize(
    ("packages", "written", "waiting", "proof"),
    [
        ((), 5_000_000, (), Proof.CLAIMED),
        (BASE, 0, (), Proof.CONTRADICTED),
        (BASE, 5_000_000, STILL, Proof.CONTRADICTED),
        (BASE, 5_000_000, NEXT, Proof.CONSISTENT),
        (BASE, 5_000_000, (), Proof.CONSISTENT),
        (BASE, 5_000_000, None, Proof.CLAIMED),
        # Updates of Windows tell no version: one that still waits would pass for done.
        ((PackageChange(name="KB1", old_version="", new_version="1"),), 5_000_000, (), Proof.CLAIMED),
        (BASE, None, NEXT, Proof.CLAIMED),
        (BASE, None, None, Proof.CLAIMED),
    ],
)
def test_a_claim_is_weighed_by_what_was_seen(
    packages: tuple[PackageChange, ...],
    written: int | None,
    waiting: tuple[WaitingUpdate, ...] | None,
    proof: Proof,
) -> None:
    """What nobody could look at proves nothing, and outlives the journal as that."""
    evidence = weigh(packages, written, waiting)
    assert evidence.proof is proof
    assert Evidence.from_json(evidence.to_json()) == evidence


@pytest.mark.parametrize(
    ("before", "now", "written"), [(5, 9, 4), (9, 5, 5), (5, 5, 0), (None, 5, None), (5, None, None)]
)
def test_counter_that_begins_anew_is_no_negative(
    before: int | None, now: int | None, written: int | None
) -> None:
    """Another QEMU counts from nothing: what it has counted is the least that was written."""
    assert written_since(before, now) == written
