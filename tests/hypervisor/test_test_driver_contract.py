"""The contract, as far as libvirt's own made-up machines can keep it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.errors import NotSupported
from innkeeper.hypervisor.libvirt import libvirt_host
from innkeeper.machines.machine import MachineState
from innkeeper.wire.events import Event
from tests.hypervisor.contracts.agent_ports import AgentPortsContract
from tests.hypervisor.contracts.configurations import ConfigurationsContract
from tests.hypervisor.contracts.definitions import DefinitionsContract
from tests.hypervisor.contracts.information import InformationContract
from tests.hypervisor.contracts.input_devices import UntouchableContract
from tests.hypervisor.contracts.inventory import InventoryContract
from tests.hypervisor.contracts.lifecycle import LifecycleContract
from tests.hypervisor.contracts.saved_states import SavedStatesContract
from tests.hypervisor.contracts.screens import PictureContract, UnopenableContract
from tests.hypervisor.contracts.subject import Subject
from tests.hypervisor.contracts.usage import UsageContract

_MACHINE = """
<domain type='test'>
  <name>subject</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type>hvm</type></os>
  <devices><disk type='file' device='disk'>
    <source file='{path}'/><target dev='vda' bus='virtio'/>
  </disk></devices>
</domain>"""


@pytest.fixture
async def subject(tmp_path: Path) -> AsyncIterator[Subject]:
    """A made-up machine on a made-up host of its own."""
    node = tmp_path / "node.xml"
    node.write_text("<node/>")
    events: list[Event] = []
    hypervisor = libvirt_host(
        name="made-up", uri=f"test://{node}", publish=events.append, state_directory=tmp_path
    )
    await hypervisor.connection.open()
    await hypervisor.definitions.define(_MACHINE.format(path=tmp_path / "disk.raw"))
    yield Subject(hypervisor=hypervisor, name="subject", directory=tmp_path, events=events)
    await hypervisor.connection.close()


class TestLifecycle(LifecycleContract):
    """Made up."""

    async def test_a_machine_can_be_started_paused(self, subject: Subject) -> None:
        """Not here: a clear word, and nothing started."""
        with pytest.raises(NotSupported):
            await subject.hypervisor.lifecycle.start(subject.name, paused=True)
        assert await subject.state() is MachineState.TURNED_OFF


class TestSavedStates(SavedStatesContract):
    """Made up."""

    # This driver lets every restored machine run.
    test_a_machine_saved_while_paused_comes_back_paused = None  # type: ignore[assignment]
    # Nor does it show what is in a saved state.
    test_saved_memory_knows_its_disks = None  # type: ignore[assignment]


async def test_what_the_driver_lacks_is_said(subject: Subject) -> None:
    """No overlay, and a clear word about it."""
    with pytest.raises(NotSupported):
        await subject.hypervisor.undo_disks.add("subject", {"vda": str(subject.directory / "undo")})


async def test_the_default_test_host_is_there(tmp_path: Path) -> None:
    """``test:///default`` comes with one running machine."""
    hypervisor = libvirt_host(
        name="default", uri="test:///default", publish=lambda _event: None, state_directory=tmp_path
    )
    await hypervisor.connection.open()
    assert [machine.state for machine in await hypervisor.inventory.list()] == [MachineState.RUNNING]
    assert await hypervisor.information.memory_free_mib() > 0
    await hypervisor.connection.close()


@pytest.fixture
def shown(subject: Subject) -> Subject:
    """This driver makes a picture up."""
    return subject


class TestPicture(PictureContract):
    """Made up."""


class TestUnopenable(UnopenableContract):
    """Made up."""


class TestConfigurations(ConfigurationsContract):
    """Made up."""


class TestUntouchable(UntouchableContract):
    """Made up."""


async def test_what_a_made_up_machine_uses_is_made_up_too(subject: Subject) -> None:
    """While it is on; without a network that anybody could count."""
    assert await subject.hypervisor.usage.read() == []
    await subject.hypervisor.lifecycle.start(subject.name)
    (usage,) = await subject.hypervisor.usage.read()
    assert (usage.machine, usage.vcpus, usage.network_sent_bytes) == (subject.name, 1, None)
    assert usage.cpu_seconds > 0


class TestInventory(InventoryContract):
    """Made up."""


class TestDefinitions(DefinitionsContract):
    """Made up."""


class TestAgentPorts(AgentPortsContract):
    """Made up."""


class TestInformation(InformationContract):
    """Made up."""


class TestUsage(UsageContract):
    """Made up."""
