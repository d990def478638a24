"""Who stands on a golden image is found on real libvirt, by definitions and by headers."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.errors import MachineUnfit
from innkeeper.machines.ports.disks import ImageUser
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from tests.guests.machines import TinyMachine

pytestmark = pytest.mark.qemu


async def clone(base: Path, image: Path) -> None:
    """Make a linked clone, over what is there."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(image)]
    await asyncio.to_thread(subprocess.run, command, check=True)


async def test_a_golden_image_gets_no_undo_point(
    embedded_hypervisor: Host, define_machine: Callable[..., Awaitable[TinyMachine]]
) -> None:
    """The clone's machine is named where one is defined, and else the clone's file."""
    host = embedded_hypervisor
    golden, second = await define_machine("golden"), await define_machine("second")
    loose = golden.disk.with_name("loose.qcow2")
    await clone(golden.disk, second.disk)
    await clone(golden.disk, loose)
    assert await host.disks.users(str(golden.disk)) == [
        ImageUser(image=str(golden.disk), machine="golden", target="vda"),
        ImageUser(image=str(second.disk), machine="second", target="vda"),
        ImageUser(image=str(loose)),
    ]
    with pytest.raises(MachineUnfit, match="is the base of second's disk vda"):
        await plan_undo_point(host, await host.inventory.get("golden"), 1, UndoRules())
    await host.definitions.undefine("second")
    with pytest.raises(MachineUnfit, match=r"is the base of the image .*loose\.qcow2|second\.qcow2"):
        await plan_undo_point(host, await host.inventory.get("golden"), 1, UndoRules())
