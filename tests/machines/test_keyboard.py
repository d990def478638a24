"""Keyboards, mice and displays, where a machine lacks them, forgets, or is held by somebody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument
from innkeeper.machines.machine import MachineState
from innkeeper.machines.screen.display import Display
from innkeeper.machines.screen.keyboard import LEASE_SECONDS, Keyboard
from innkeeper.machines.screen.mouse import Mouse
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.states import MouseButton
from tests.updates.inn import Inn


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn with one running machine."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    return inn


@pytest.fixture
def keyboard(inn: Inn) -> Keyboard:
    """All keyboards."""
    return Keyboard(inn.machines, clock=inn.clock)


@pytest.fixture
def display(inn: Inn) -> Display:
    """All displays."""
    return Display(inn.machines, clock=inn.clock)


def _began(inn: Inn, kind: EventKind) -> Event:
    return Event(kind=kind, subject="web-1", at=inn.clock.now(), data={"key": inn.key()})


async def test_a_guest_that_begins_anew_has_no_key_down(inn: Inn, keyboard: Keyboard) -> None:
    """Whoever held one before."""
    await keyboard.press("web-1", "Key_A", session="one")
    assert await keyboard.pressed("web-1") == ("Key_A",)
    keyboard.on_event(_began(inn, EventKind.MACHINE_REBOOTED))
    assert await keyboard.pressed("web-1") == ()


async def test_a_silent_session_loses_the_keyboard(inn: Inn, keyboard: Keyboard) -> None:
    """After five minutes; each key that it presses begins them anew."""
    await keyboard.set_exclusive_access("web-1", True, session="one")
    await inn.clock.advance(LEASE_SECONDS - 1)
    await keyboard.press("web-1", "Key_A", session="one")
    await inn.clock.advance(LEASE_SECONDS - 1)
    assert await keyboard.has_exclusive_access("web-1", session="one")
    await keyboard.press("web-1", "Key_B", session="two")
    assert await keyboard.pressed("web-1") == ("Key_A",)
    await inn.clock.advance(2)
    await keyboard.set_exclusive_access("web-1", True, session="two")
    assert not await keyboard.has_exclusive_access("web-1", session="one")


async def test_a_machine_that_stops_gives_its_keyboard_back(inn: Inn, keyboard: Keyboard) -> None:
    """To everybody."""
    await keyboard.set_exclusive_access("web-1", True, session="one")
    keyboard.on_event(_began(inn, EventKind.MACHINE_STOPPED))
    assert not await keyboard.has_exclusive_access("web-1", session="one")


async def test_ctrl_alt_delete_reboots_the_guest(inn: Inn, keyboard: Keyboard) -> None:
    """Together, or one after the other."""
    boots = [(await inn.agents.connected((await inn.machine()).key, timeout=60)).hello.boot_id]
    sequence = "DOWN,Key_LeftCtrl,DOWN,Key_LeftAlt,Key_Delete,UP,Key_LeftAlt,UP,Key_LeftCtrl"
    for way in ("sequence", "chord"):
        if way == "sequence":
            typing = keyboard.type_sequence("web-1", sequence, session="")
        else:
            keys = ["Key_RightCtrl", "Key_LeftAlt", "Key_Delete"]
            typing = keyboard.press_and_release("web-1", keys, session="")
        await _run(inn, typing)
        await inn.clock.advance(120)
        boots.append((await inn.agents.connected((await inn.machine()).key, timeout=60)).hello.boot_id)
    assert len(set(boots)) == 3


async def _run(inn: Inn, typing: Awaitable[None]) -> None:
    task = asyncio.ensure_future(typing)
    while not task.done():
        await inn.clock.advance(0.1)
    task.result()


@pytest.mark.parametrize("text", ["x" * 1001, "ok\x07"])
async def test_nothing_of_a_bad_text_is_typed(inn: Inn, keyboard: Keyboard, text: str) -> None:
    """Too long, or of no key."""
    machine = await inn.host.simulation.simulate("web-1", lambda machine, _: machine)
    with pytest.raises(InvalidArgument):
        await keyboard.type_text("web-1", text, session="")
    assert machine.memory is not None
    assert machine.memory.typed == ""


_BLIND: list[tuple[str, Callable[[Mouse, Display], Awaitable[object]], ErrorCode]] = [
    ("Click", lambda m, _: m.click("web-1", MouseButton.LEFT), ErrorCode.VM_E_MOUSE_NOT_ACTIVE),
    ("GetButton", lambda m, _: m.facts("web-1"), ErrorCode.VM_E_MOUSE_NOT_ACTIVE),
    (
        "SetButton",
        lambda m, _: m.set_button("web-1", MouseButton.LEFT, down=True),
        ErrorCode.VM_E_MOUSE_NOT_ACTIVE,
    ),
    ("ScrollWheelPosition", lambda m, _: m.turn_wheel("web-1", 1), ErrorCode.VM_E_MOUSE_NOT_ACTIVE),
    ("HorizontalPosition", lambda m, _: m.place("web-1", x=1, y=None), ErrorCode.VM_E_MOUSE_NOT_ACTIVE),
    ("Width", lambda _, d: d.picture("web-1"), ErrorCode.VM_E_NO_DISPLAY),
    ("SetDimensions", lambda _, d: d.set_dimensions("web-1", 800, 600), ErrorCode.VM_E_NO_DISPLAY),
]


@pytest.mark.parametrize(("member", "ask", "code"), _BLIND)
async def test_a_machine_without_a_screen_refuses_as_documented(
    inn: Inn,
    display: Display,
    member: str,
    ask: Callable[[Mouse, Display], Awaitable[object]],
    code: ErrorCode,
) -> None:
    """No mouse, no display: each by its identifier; and its thumbnail is black."""
    await inn.host.simulation.simulate("web-1", lambda machine, _: setattr(machine, "video", ""))
    with pytest.raises(InnkeeperError) as caught:
        await ask(Mouse(inn.machines, display), display)
    assert caught.value.code is code, member
    assert set(await display.thumbnail("web-1")) == {0}


async def test_a_card_that_cannot_ask_for_another_size_says_so(inn: Inn, display: Display) -> None:
    """The feature is not there; the machine runs on."""
    await inn.host.simulation.simulate("web-1", lambda machine, _: setattr(machine, "video", "vga"))
    with pytest.raises(InnkeeperError) as caught:
        await display.set_dimensions("web-1", 800, 600)
    assert caught.value.code is ErrorCode.VM_E_ADDITIONS_FEATURE_NOT_AVAIL
    assert not (await display.video("web-1")).can_resize
