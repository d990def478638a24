"""Contract of ``machines.ports.lifecycle``."""

from __future__ import annotations

import pytest

from innkeeper.errors import WrongState
from innkeeper.machines.machine import MachineState
from innkeeper.wire.commands import Command
from tests.hypervisor.contracts.subject import Subject


class LifecycleContract:
    """Machines start, stop, pause and resume."""

    async def test_start_and_turn_off_may_be_repeated(self, subject: Subject) -> None:
        """A step that runs again after a crash changes nothing."""
        await subject.hypervisor.lifecycle.start(subject.name)
        await subject.hypervisor.lifecycle.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_pause_and_resume_may_be_repeated(self, subject: Subject) -> None:
        """The second call finds the work done."""
        await subject.hypervisor.lifecycle.start(subject.name)
        for _ in range(2):
            await subject.hypervisor.lifecycle.pause(subject.name)
            assert await subject.state() is MachineState.PAUSED
        for _ in range(2):
            await subject.hypervisor.lifecycle.resume(subject.name)
            assert await subject.state() is MachineState.RUNNING

    async def test_a_machine_can_be_started_paused(self, subject: Subject) -> None:
        """No instruction of the guest runs before somebody lets it."""
        await subject.hypervisor.lifecycle.start(subject.name, paused=True)
        assert await subject.state() is MachineState.PAUSED

    async def test_every_act_of_a_host_is_done_to_a_machine_that_is_on(self, subject: Subject) -> None:
        """It runs on, or again; a machine that is off is refused, and stays off."""
        acts = [command for command in Command if command.declaration.is_one_act]
        for command in acts:
            with pytest.raises(WrongState):
                await subject.hypervisor.lifecycle.act(subject.name, command)
        await subject.hypervisor.lifecycle.start(subject.name)
        for command in acts:
            await subject.hypervisor.lifecycle.act(subject.name, command)
            assert await subject.state() is MachineState.RUNNING, command

    async def test_a_machine_that_is_off_cannot_be_paused(self, subject: Subject) -> None:
        """Nothing is started by accident."""
        with pytest.raises(WrongState):
            await subject.hypervisor.lifecycle.pause(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF
