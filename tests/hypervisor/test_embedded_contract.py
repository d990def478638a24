"""The contract, kept by libvirt's embedded driver with real QEMU."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from innkeeper.machines.ports.host import Host
from innkeeper.wire.events import Event
from tests.guests.machines import TinyMachine
from tests.guests.tiny import TinyGuest
from tests.hypervisor.backup_program import LibvirtBackupProgram
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

pytestmark = pytest.mark.qemu


@pytest.fixture
async def subject(
    embedded_hypervisor: Host,
    echo_guest: TinyGuest,
    define_machine: Callable[..., Awaitable[TinyMachine]],
    tmp_path: Path,
    hypervisor_events: list[Event],
) -> Subject:
    """A machine of its own for each test."""
    await define_machine("subject", guest=echo_guest, agent_port=False)
    return Subject(
        hypervisor=embedded_hypervisor, name="subject", directory=tmp_path, events=hypervisor_events
    )


@pytest.fixture
def program(subject: Subject) -> Iterator[BackupProgram]:
    """Somebody's program for backups, which reads the disks of the same libvirt."""
    with LibvirtBackupProgram.on(subject.hypervisor.uri, subject.name, subject.directory) as program:
        yield program


class TestBackups(BackupsContract):
    """Embedded."""


class TestLifecycle(LifecycleContract):
    """Embedded."""


class TestSavedStates(SavedStatesContract):
    """Embedded."""


class TestUndoDisks(UndoDisksContract):
    """Embedded."""


class TestMemoryPoints(MemoryPointsContract):
    """Embedded."""

    # The tiny guest's memory is written before an abort can reach it; the benchmark gives a busy guest up.
    test_it_is_given_up_in_time_and_nothing_is_left = None  # type: ignore[assignment]


@pytest.fixture
async def shown(
    embedded_hypervisor: Host,
    echo_guest: TinyGuest,
    define_machine: Callable[..., Awaitable[TinyMachine]],
    tmp_path: Path,
) -> Subject:
    """A machine with a screen."""
    await define_machine("shown", guest=echo_guest, agent_port=False, display=True)
    return Subject(hypervisor=embedded_hypervisor, name="shown", directory=tmp_path)


@pytest.fixture
def blind(subject: Subject) -> Subject:
    """The tiny machine has none."""
    return subject


@pytest.fixture
def unlogged(shown: Subject) -> Subject:
    """Its serial port goes to a terminal."""
    return shown


class TestConsoleLogs(ConsoleLogsContract):
    """Embedded."""


class TestDisplay(DisplayContract):
    """Embedded."""


class TestSavedUndo(SavedUndoContract):
    """Embedded."""


class TestConfigurations(ConfigurationsContract):
    """Embedded."""


class TestMedia(MediaContract):
    """Embedded."""


class TestInputDevices(InputDevicesContract):
    """Embedded."""


class TestInventory(InventoryContract):
    """Embedded."""


class TestDefinitions(DefinitionsContract):
    """Embedded."""


class TestAgentPorts(AgentPortsContract):
    """Embedded."""


class TestInformation(InformationContract):
    """Embedded."""


class TestUsage(UsageContract):
    """Embedded."""


class TestDisks(DisksContract):
    """Embedded."""


class TestStateFiles(StateFilesContract):
    """Embedded."""


class TestImageFiles(ImageFilesContract):
    """Embedded."""


class TestImageMaker(ImageMakerContract):
    """Embedded."""
