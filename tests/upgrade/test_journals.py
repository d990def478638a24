"""What the phases of former releases' runs have journalled is read by today's code, value by value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from innkeeper.machines.machine import MachineState
from innkeeper.updates.endings import KEEP, ROLL_BACK
from innkeeper.updates.facts.ending import Verified
from innkeeper.updates.facts.guest import Applied, Baseline
from innkeeper.updates.facts.machine import Admitted, Recorded
from innkeeper.updates.order import RunOrder
from innkeeper.updates.outcome import Outcome
from innkeeper.updates.phases import FORWARD
from innkeeper.wire.events import Json

from . import sample
from .record import IDENTIFIER, MACHINE

RELEASES = ("0.1.0",)
_PHASES = {phase.name: phase for phase in (*FORWARD, *KEEP, *ROLL_BACK)}


def _journal(state: Path) -> Mapping[str, Json]:
    """What each step of the update run was recorded with."""
    with sample.opened(sample.journal(state)) as connection:
        rows = connection.execute(
            "SELECT function_name, output FROM operation_outputs WHERE workflow_uuid IN "
            "(SELECT workflow_uuid FROM operation_outputs WHERE function_name = 'admit') ORDER BY function_id"
        ).fetchall()
    return {name: json.loads(output)["value"] for name, output in rows}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("moment", ["in-the-report", "in-the-report-of-a-roll-back"])
def test_every_phase_of_a_former_run_is_read(tmp_path: Path, release: str, moment: str) -> None:
    """By the name that it has today; written anew it is the same value."""
    sample.put(release, moment, tmp_path / "state")
    journal = _journal(tmp_path / "state")
    assert set(journal) <= set(_PHASES)
    for name, recorded in journal.items():
        outcome = Outcome.from_json(recorded)
        assert Outcome.from_json(outcome.to_json()) == outcome
        finds = _PHASES[name].finds
        if finds is not None and outcome.facts:
            facts = finds.from_json(outcome.facts)
            assert finds.from_json(facts.to_json()) == facts


@pytest.mark.parametrize("release", RELEASES)
def test_the_facts_of_a_former_run_are_what_they_were(tmp_path: Path, release: str) -> None:
    """Not only read, but read right."""
    sample.put(release, "in-the-report-of-a-roll-back", tmp_path / "state")
    journal = {name: Outcome.from_json(value) for name, value in _journal(tmp_path / "state").items()}
    admitted = Admitted.from_json(journal["admit"].facts)
    assert admitted.found is MachineState.RUNNING
    assert [disk.target for disk in admitted.plan.disks] == ["vda"]
    baseline = Baseline.from_json(journal["baseline"].facts)
    assert (baseline.had_agent, baseline.report.kernel) == (True, "6.1.0-1")
    assert baseline.report.listeners == {"tcp:0.0.0.0:22"}
    (base,) = Recorded.from_json(journal["record"].facts).bases
    assert base.identity.size_bytes == 32768
    (package,) = Applied.from_json(journal["update"].facts).packages
    assert (package.old_version, package.new_version) == ("1.0-1", "1.0-2")
    assert journal["health"].reasons == ("The unit shop.service has failed.",)
    (checksum,) = Verified.from_json(journal["verify"].facts).checksums
    assert checksum.before == checksum.after == base.checksum


@pytest.mark.parametrize("release", RELEASES)
def test_the_order_of_a_former_run_is_read(tmp_path: Path, release: str) -> None:
    """It is the argument of the run's task."""
    sample.put(release, "in-the-update", tmp_path / "state")
    with sample.opened(tmp_path / "state" / "innkeeper.sqlite") as connection:
        query = "SELECT argument FROM tasks WHERE kind = 'update_run'"
        ((argument,),) = connection.execute(query).fetchall()
    order = RunOrder.from_json(json.loads(argument))
    assert (order.machine, order.host, order.identifier) == (MACHINE, "fake", IDENTIFIER)
    assert order.context == b"needs_reboot"
    assert order.stop_at.tzinfo is not None
    assert RunOrder.from_json(order.to_json()) == order
