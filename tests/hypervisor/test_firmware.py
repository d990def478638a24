"""A guest's UEFI variables and its TPM are rolled back with its disks, on real firmware and a real swtpm."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.errors import AgentError
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPoint
from innkeeper.tasks.clock import SystemClock
from tests.guests import tiny
from tests.guests.firmware import firmware_is_missing, in_the_guest, make_tpms_by_this_user, with_firmware
from tests.guests.machines import GUEST_AGENT_PORT, TinyMachine, forget, tiny_definition
from tests.guests.tiny import TinyGuest

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(bool(firmware_is_missing()), reason=firmware_is_missing() or "here"),
]


@pytest.fixture
async def machine(
    embedded_hypervisor: Host, tiny_guest: TinyGuest, tmp_path: Path
) -> AsyncIterator[TinyMachine]:
    """A machine that starts by UEFI and has a TPM; it was never started."""
    await make_tpms_by_this_user()
    machine = TinyMachine(name="uefi", disk=tmp_path / "uefi.qcow2", console=tmp_path / "uefi.console")
    await asyncio.to_thread(tiny.data_disk, machine.disk, format="qcow2")
    # The firmware measures what it starts, byte by byte, without hurry: the less, the sooner.
    packed = tmp_path / "initrd.gz"
    await asyncio.to_thread(lambda: packed.write_bytes(gzip.compress(tiny_guest.initrd.read_bytes(), 1)))
    guest = dataclasses.replace(tiny_guest, initrd=packed)
    definition = with_firmware(tiny_definition(machine, guest, "qcow2", GUEST_AGENT_PORT))
    await embedded_hypervisor.definitions.define(definition)
    yield machine
    await forget(embedded_hypervisor, machine.name)


async def boot(host: Host, machine: TinyMachine) -> None:
    """Start the machine and wait for its guest."""
    await host.lifecycle.start(machine.name)
    async with asyncio.timeout(180):
        while True:
            try:
                await host.guest_agents.run(machine.name, ("/bin/true",), timeout=20)
            except AgentError:
                await asyncio.sleep(0.2)
            else:
                return


async def test_a_live_undo_point_brings_back_a_variable_and_a_sealed_secret(
    embedded_hypervisor: Host, machine: TinyMachine
) -> None:
    """The guest has overwritten the one and cleared the TPM of the other: a roll back has them again."""
    host = embedded_hypervisor
    await boot(host, machine)
    await in_the_guest(host, machine, "write('before')", "seal('the key of the disk')")
    plan = await plan_undo_point(host, await host.inventory.get(machine.name), 7, UndoRules())
    undo = UndoPoint(host, plan, clock=SystemClock())
    await undo.take(freeze_seconds=10)
    assert (await host.inventory.get(machine.name)).state is MachineState.RUNNING

    changed = await in_the_guest(host, machine, "write('after')", "clear()", "print(read(), unseal())")
    assert changed.startswith("after refused")

    await host.lifecycle.turn_off(machine.name)
    await undo.drop()
    await undo.delete_files()
    await boot(host, machine)
    assert await in_the_guest(host, machine, "print(read(), unseal())") == "before the key of the disk"
