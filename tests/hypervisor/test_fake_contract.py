"""The contract, kept by the simulated host."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.tasks.clock import FakeClock
from innkeeper.wire.events import Event
from tests.hypervisor.contracts.agent_ports import AgentPortsContract
from tests.hypervisor.contracts.backups import BackupProgram, BackupsContract
from tests.hypervisor.contracts.configurations import ConfigurationsContract, MediaContract
from tests.hypervisor.contracts.console_logs import ConsoleLogsContract
from tests.hypervisor.contracts.definitions import DefinitionsContract
from tests.hypervisor.contracts.disks import DisksContract
from tests.hypervisor.contracts.image_files import ImageFilesContract
from tests.hypervisor.contracts.image_maker import ImageMakerContract
from tests.hypervisor.contracts.information import InformationContract
from tests.hypervisor.contracts.input_devices import InputDevicesContract
from tests.hypervisor.contracts.inventory import InventoryContract
from tests.hypervisor.contracts.lifecycle import LifecycleContract
from tests.hypervisor.contracts.memory_points import MemoryPointsContract
from tests.hypervisor.contracts.saved_states import SavedStatesContract
from tests.hypervisor.contracts.screens import DisplayContract
from tests.hypervisor.contracts.state_files import StateFilesContract
from tests.hypervisor.contracts.subject import Subject
from tests.hypervisor.contracts.undo_disks import SavedUndoContract, UndoDisksContract
from tests.hypervisor.contracts.usage import UsageContract


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


class SimulatedBackupProgram:
    """Backs up a simulated machine, and takes as long as a test wants."""

    def __init__(self, subject: Subject) -> None:
        assert isinstance(subject.hypervisor, SimulatedHost)
        self._simulate = subject.hypervisor.simulation.simulate
        self._machine = subject.name

    async def begin(self, checkpoint: str, since: str = "") -> None:
        """Begin a checkpoint and a backup that does not end by itself."""
        await self._simulate(
            self._machine, lambda machine, now: acts.back_up(machine, checkpoint, 1e9, now, since)
        )

    async def end(self) -> None:
        """End it."""
        await self._simulate(self._machine, lambda machine, now: setattr(machine, "backup_until", now))


@pytest.fixture
def program(subject: Subject) -> BackupProgram:
    """Somebody's program for backups."""
    return SimulatedBackupProgram(subject)


class TestBackups(BackupsContract):
    """Simulated."""


class TestLifecycle(LifecycleContract):
    """Simulated."""


class TestSavedStates(SavedStatesContract):
    """Simulated."""


class TestUndoDisks(UndoDisksContract):
    """Simulated."""


class TestMemoryPoints(MemoryPointsContract):
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


@pytest.fixture
async def unlogged(subject: Subject) -> Subject:
    """Its console goes nowhere."""
    assert isinstance(subject.hypervisor, SimulatedHost)
    await subject.hypervisor.simulation.simulate(
        subject.name, lambda machine, _: setattr(machine, "has_console_log", False)
    )
    return subject


class TestConsoleLogs(ConsoleLogsContract):
    """Simulated."""


class TestDisplay(DisplayContract):
    """Simulated."""


class TestSavedUndo(SavedUndoContract):
    """Simulated."""


class TestConfigurations(ConfigurationsContract):
    """Simulated."""


class TestMedia(MediaContract):
    """Simulated."""


class TestInputDevices(InputDevicesContract):
    """Simulated."""


class TestInventory(InventoryContract):
    """Simulated."""


class TestDefinitions(DefinitionsContract):
    """Simulated."""


class TestAgentPorts(AgentPortsContract):
    """Simulated."""


class TestInformation(InformationContract):
    """Simulated."""


class TestUsage(UsageContract):
    """Simulated."""


class TestDisks(DisksContract):
    """Simulated."""


class TestStateFiles(StateFilesContract):
    """Simulated."""


class TestImageFiles(ImageFilesContract):
    """Simulated."""


class TestImageMaker(ImageMakerContract):
    """Simulated."""

    # A simulated disk is a small file, made on the loop: the guard against blocking calls minds it here.
    test_an_image_that_is_there_stays_as_it_is = None  # type: ignore[assignment]
