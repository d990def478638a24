"""Contracts of ``machines.ports.input_devices``."""

from __future__ import annotations

import pytest

from innkeeper.errors import NotSupported, WrongState
from innkeeper.machines.ports.input_devices import (
    ButtonMoved,
    KeyMoved,
    PointerMoved,
    PointerPlaced,
    Pointers,
    WheelTurned,
)
from innkeeper.machines.screen.keys import KEYS
from innkeeper.wire.states import MouseButton
from tests.hypervisor.contracts.subject import Subject


class TypingContract:
    """Keys can be pressed and released together."""

    async def test_keys_are_pressed(self, shown: Subject) -> None:
        """In a running machine alone."""
        keys = [KEYS["Key_LeftShift"], KEYS["Key_A"]]
        with pytest.raises(WrongState):
            await shown.hypervisor.input_devices.press(shown.name, keys, hold_ms=20)
        await shown.hypervisor.lifecycle.start(shown.name)
        await shown.hypervisor.input_devices.press(shown.name, keys, hold_ms=20)


class InputDevicesContract(TypingContract):
    """Keys stay down, and a mouse moves."""

    async def test_every_key_of_the_table_is_known(self, shown: Subject) -> None:
        """Pressed and released one by one."""
        await shown.hypervisor.lifecycle.start(shown.name)
        for key in KEYS.values():
            if key.name not in ("Key_SysReq", "Key_Delete"):
                await shown.hypervisor.input_devices.feed(
                    shown.name, [KeyMoved(key, True), KeyMoved(key, False)]
                )

    async def test_a_mouse_moves_clicks_and_scrolls(self, shown: Subject) -> None:
        """By steps, and to places."""
        input_devices = shown.hypervisor.input_devices
        with pytest.raises(WrongState):
            await input_devices.pointers(shown.name)
        await shown.hypervisor.lifecycle.start(shown.name)
        assert await input_devices.pointers(shown.name) == Pointers(any=True, absolute=True)
        await input_devices.feed(shown.name, [PointerMoved(5, -5), PointerPlaced(100, None), WheelTurned(-3)])
        for button in MouseButton:
            await input_devices.feed(shown.name, [ButtonMoved(button, True)])
            await input_devices.feed(shown.name, [ButtonMoved(button, False)])
        await input_devices.feed(shown.name, [PointerMoved(0, 0)])


class UntouchableContract(TypingContract):
    """A host whose machines have no monitor says so."""

    async def test_no_key_stays_down_and_no_mouse_moves(self, shown: Subject) -> None:
        """A clear word for each."""
        await shown.hypervisor.lifecycle.start(shown.name)
        with pytest.raises(NotSupported):
            await shown.hypervisor.input_devices.feed(shown.name, [KeyMoved(KEYS["Key_A"], True)])
        with pytest.raises(NotSupported):
            await shown.hypervisor.input_devices.pointers(shown.name)
