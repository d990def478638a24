"""The definition after an undo point is the one from before it, on real libvirt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.machines.ports.host import Host
from tests.guests.machines import TinyMachine
from tests.hypervisor import undo_definitions as ways

pytestmark = pytest.mark.qemu

CARRIED = sorted(ways.ELEMENTS.keys() | ways.ATTRIBUTES.keys())

DefineMachine = Callable[..., Awaitable[TinyMachine]]


@pytest.mark.parametrize(
    ("way", "element"),
    [(ways.off, element) for element in CARRIED]
    + [(ways.live, element) for element in CARRIED if element not in ways.NEVER_STARTED],
)
@pytest.mark.parametrize("end", [ways.keep, ways.roll_back])
async def test_no_element_of_a_disk_is_lost(
    embedded_hypervisor: Host,
    define_machine: DefineMachine,
    tmp_path: Path,
    element: str,
    end: Callable[[Host, TinyMachine], Awaitable[None]],
    way: Callable[..., Awaitable[None]],
) -> None:
    """Kept or rolled back, live or off: what a stranger wrote into the disk is there afterwards."""
    host = embedded_hypervisor
    machine = await define_machine("kept-whole")
    await ways.redefine(host, machine.name, element)
    before = await ways.canonical(host, machine.name)
    await way(host, machine, lambda: end(host, machine), tmp_path / "kept-whole.vda.innkeeper-1.qcow2")
    assert await ways.canonical(host, machine.name) == before
