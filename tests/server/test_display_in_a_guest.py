"""A real guest takes the sizes that its display is given."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, MachineError
from innkeeper.machines.ports.host import Host
from innkeeper.machines.screen.display import Display
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.settings import Settings
from tests.guests.machines import TinyMachine
from tests.guests.tiny import TinyGuest

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

_FIRST_SIZE = (1280, 800)


async def test_a_guest_takes_another_size_and_one_that_it_cannot_take_is_told(
    embedded_hypervisor: Host,
    shown_guest: TinyGuest,
    define_machine: Callable[..., Awaitable[TinyMachine]],
    tmp_path: Path,
) -> None:
    """Linux's text console goes as far as it was when it began; the picture is of the new size."""
    await define_machine("sized", guest=shown_guest, agent_port=False, display=True)
    definition = await embedded_hypervisor.definitions.read("sized")
    await embedded_hypervisor.definitions.define(
        re.sub("<model type='vga'[^>]*/>", "<model type='virtio'/>", definition)
    )
    await embedded_hypervisor.lifecycle.start("sized")
    settings = Settings(state_dir=tmp_path / "state", socket=tmp_path / "s.sock")
    async with open_house(settings, Overrides(hypervisors=[embedded_hypervisor])) as house:
        async with asyncio.timeout(120):
            while await _size(house.display) != _FIRST_SIZE:
                await asyncio.sleep(0.2)
        for wanted, taken in (
            ((1030, 768), (1024, 768)),
            ((640, 480), (640, 480)),
            (_FIRST_SIZE, _FIRST_SIZE),
        ):
            assert await house.display.set_dimensions("sized", *wanted) == taken
            assert await _size(house.display) == taken
        with pytest.raises(MachineError) as caught:
            await house.display.set_dimensions("sized", 1600, 1200)
        assert caught.value.code is ErrorCode.VM_E_TIMED_OUT


async def _size(display: Display) -> tuple[int, int]:
    picture = await display.picture("sized")
    return picture.width, picture.height
