"""The contract, kept by libvirt's embedded driver with real QEMU."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.machines.ports.host import Host
from innkeeper.wire.events import Event
from tests.guests.machines import TinyMachine
from tests.guests.tiny import TinyGuest
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


class TestLife(LifeContract):
    """Embedded."""


class TestSavedState(SavedStateContract):
    """Embedded."""


class TestUndoDisk(UndoDiskContract):
    """Embedded."""


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


class TestDisplay(DisplayContract):
    """Embedded."""


class TestSavedUndo(SavedUndoContract):
    """Embedded."""


class TestConfiguration(ConfigurationContract):
    """Embedded."""


class TestMedia(MediaContract):
    """Embedded."""


class TestHands(HandsContract):
    """Embedded."""
