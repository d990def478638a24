"""The contract, kept by the simulated host."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.tasks.clock import FakeClock
from innkeeper.wire.events import Event
from tests.hypervisor.contract import (
    ConfigurationContract,
    LifeContract,
    MediaContract,
    SavedStateContract,
    SavedUndoContract,
    Subject,
    UndoDiskContract,
)
from tests.hypervisor.screens import DisplayContract, HandsContract


@pytest.fixture
async def subject(tmp_path: Path) -> Subject:
    """A simulated machine with two disks, on a fast clock."""
    events: list[Event] = []
    hypervisor = simulated_host(
        tmp_path / "host", clock=FakeClock(speed=1000), publish=events.append, name="fake"
    )
    await hypervisor.connection.open()
    disks = [file_disk(target, str(tmp_path / f"{target}.img")) for target in ("vda", "vdb")]
    await hypervisor.simulation.add(SimulatedMachine(name="subject", uuid="subject", disks=disks))
    return Subject(hypervisor=hypervisor, name="subject", directory=tmp_path, events=events)


class TestLife(LifeContract):
    """Simulated."""


class TestSavedState(SavedStateContract):
    """Simulated."""


class TestUndoDisks(UndoDiskContract):
    """Simulated."""


@pytest.fixture
def shown(subject: Subject) -> Subject:
    """Simulated machines come with a screen."""
    return subject


@pytest.fixture
async def blind(subject: Subject) -> Subject:
    """Unless they have no video card."""
    assert isinstance(subject.hypervisor, SimulatedHost)
    await subject.hypervisor.simulation.simulate(
        subject.name, lambda machine, _: setattr(machine, "video", "")
    )
    return subject


class TestDisplay(DisplayContract):
    """Simulated."""


class TestSavedUndo(SavedUndoContract):
    """Simulated."""


class TestConfiguration(ConfigurationContract):
    """Simulated."""


class TestMedia(MediaContract):
    """Simulated."""


class TestHands(HandsContract):
    """Simulated."""
