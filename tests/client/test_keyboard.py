"""A machine's display, keyboard and mouse as objects, with the documented errors of each member."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from innkeeper.client import Inn, Machine
from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.wire.states import MouseButton, VideoMode
from tests.serving import Service


@pytest.fixture(scope="module")
def inn(service: Service) -> Iterator[Inn]:
    """One connection for all."""
    with service.connect() as inn:
        yield inn


@pytest.fixture
def machine(inn: Inn) -> Machine:
    """A running one."""
    return inn.machines["web-1"]


@pytest.fixture
def off(inn: Inn) -> Machine:
    """One that is off."""
    return inn.machines["old-1"]


def test_a_display_has_a_size_a_mode_and_pictures(machine: Machine) -> None:
    """As documented; the thumbnail as numbers, the picture as PNG."""
    display = machine.display
    assert (display.width, display.height, display.video_mode) == (1024, 768, VideoMode.SVGA_MODE)
    assert display.can_resize
    assert display.address
    assert len(display.thumbnail) == 3072
    assert all(0 <= pixel < 1 << 32 and not pixel & 0xFF for pixel in display.thumbnail)
    assert display.screenshot(64, 48).startswith(b"\x89PNG")


def test_text_and_sequences_are_typed(machine: Machine) -> None:
    """What was typed shows."""
    before = machine.display.screenshot()
    machine.keyboard.type_ascii_text("Ab!")
    after = machine.display.screenshot()
    assert after != before
    machine.keyboard.type_key_sequence("Key_Backspace,Key_Backspace,DOWN,Key_LeftShift,HOLD,UP,Key_LeftShift")
    machine.keyboard.press_and_release_key("Key_Backspace")
    assert machine.display.screenshot() == before


def test_keys_stay_down_until_they_are_let_go(machine: Machine) -> None:
    """The service remembers, for QEMU cannot say."""
    machine.keyboard.press_key("Key_RightCtrl")
    assert machine.keyboard.is_pressed("key_rightctrl")
    machine.keyboard.release_key("Key_RightCtrl")
    assert not machine.keyboard.is_pressed("Key_RightCtrl")


def test_whoever_has_the_keyboard_alone_is_heard_alone(inn: Inn, machine: Machine) -> None:
    """The others' keys are passed over without a word, as documented."""
    other = inn.machines["web-1"]
    assert not machine.keyboard.has_exclusive_access
    machine.keyboard.has_exclusive_access = True
    assert machine.keyboard.has_exclusive_access
    assert not other.keyboard.has_exclusive_access
    before = machine.display.screenshot()
    other.keyboard.type_ascii_text("unheard")
    assert machine.display.screenshot() == before
    with pytest.raises(InnkeeperError) as caught:
        other.keyboard.has_exclusive_access = True
    assert caught.value.code is ErrorCode.VM_E_SET_EXCLUSIVE_MODE_FAIL
    machine.keyboard.has_exclusive_access = False
    other.keyboard.has_exclusive_access = True
    other.keyboard.has_exclusive_access = False


def test_a_mouse_moves_by_ways_and_to_places(machine: Machine) -> None:
    """Each object chooses for itself; buttons stay down until they are let go."""
    mouse = machine.mouse
    assert not mouse.using_absolute_coordinates
    mouse.horizontal_position = 5
    mouse.scroll_wheel(-2)
    mouse.using_absolute_coordinates = True
    mouse.horizontal_position, mouse.vertical_position = 100, 200
    assert (mouse.horizontal_position, mouse.vertical_position) == (100, 200)
    mouse.click()
    mouse.set_button(MouseButton.RIGHT, True)
    assert mouse.get_button(MouseButton.RIGHT)
    mouse.set_button(MouseButton.RIGHT, False)
    assert not mouse.get_button(MouseButton.RIGHT)


def _set(member: str, value: object, *, absolute: bool = False) -> Callable[[Machine], object]:
    def act(machine: Machine) -> None:
        owner, _, name = member.partition(".")
        part = getattr(machine, owner)
        if absolute:
            part.using_absolute_coordinates = True
        setattr(part, name, value)

    return act


def _absolute(act: Callable[[Any], object]) -> Callable[[Machine], object]:
    def acting(machine: Machine) -> object:
        machine.mouse.using_absolute_coordinates = True
        return act(machine)

    return acting


RUNNING: list[tuple[str, Callable[[Machine], object], ErrorCode]] = [
    ("SetDimensions", lambda m: m.display.set_dimensions(632, 480), ErrorCode.E_INVALIDARG),
    ("SetDimensions", lambda m: m.display.set_dimensions(800, 1921), ErrorCode.E_INVALIDARG),
    ("PressKey", lambda m: m.keyboard.press_key("Key_None"), ErrorCode.E_INVALIDARG),
    ("ReleaseKey", lambda m: m.keyboard.release_key(""), ErrorCode.E_INVALIDARG),
    ("PressAndReleaseKey", lambda m: m.keyboard.press_and_release_key("A"), ErrorCode.E_INVALIDARG),
    ("IsPressed", lambda m: m.keyboard.is_pressed("x" * 41), ErrorCode.E_INVALIDARG),
    ("TypeAsciiText", lambda m: m.keyboard.type_ascii_text("ok€"), ErrorCode.E_INVALIDARG),
    ("TypeKeySequence", lambda m: m.keyboard.type_key_sequence("UP"), ErrorCode.E_INVALIDARG),
    ("HorizontalPosition", lambda m: m.mouse.horizontal_position, ErrorCode.VM_E_USING_RELATIVE_COORDINATES),
    ("VerticalPosition", lambda m: m.mouse.vertical_position, ErrorCode.VM_E_USING_RELATIVE_COORDINATES),
    ("HorizontalPosition", _set("mouse.horizontal_position", 5000, absolute=True), ErrorCode.E_INVALIDARG),
    ("VerticalPosition", _set("mouse.vertical_position", -1, absolute=True), ErrorCode.E_INVALIDARG),
    (
        "ScrollWheelPosition",
        _absolute(lambda m: m.mouse.scroll_wheel(1)),
        ErrorCode.VM_E_USING_ABSOLUTE_COORDINATES,
    ),
]


@pytest.mark.parametrize(("member", "act", "code"), RUNNING)
def test_a_running_machine_refuses_as_documented(
    machine: Machine, member: str, act: Callable[[Machine], object], code: ErrorCode
) -> None:
    """Every documented error of a bad value."""
    with pytest.raises(InnkeeperError) as caught:
        act(machine)
    assert caught.value.code is code, member


OFF: list[tuple[str, Callable[[Machine], object]]] = [
    ("Width", lambda m: m.display.width),
    ("Height", lambda m: m.display.height),
    ("VideoMode", lambda m: m.display.video_mode),
    ("CanResize", lambda m: m.display.can_resize),
    ("SetDimensions", lambda m: m.display.set_dimensions(800, 600)),
    ("PressKey", lambda m: m.keyboard.press_key("Key_A")),
    ("TypeAsciiText", lambda m: m.keyboard.type_ascii_text("a")),
    ("TypeKeySequence", lambda m: m.keyboard.type_key_sequence("Key_A")),
    ("Click", lambda m: m.mouse.click()),
    ("GetButton", lambda m: m.mouse.get_button(MouseButton.LEFT)),
    ("SetButton", lambda m: m.mouse.set_button(MouseButton.LEFT, True)),
    ("ScrollWheelPosition", lambda m: m.mouse.scroll_wheel(1)),
    ("HorizontalPosition", _set("mouse.horizontal_position", 1)),
    ("UsingAbsoluteCoordinates", _set("mouse.using_absolute_coordinates", True)),
    ("open", lambda m: m.display.open()),
    ("open_console", lambda m: m.display.open_console()),
]


@pytest.mark.parametrize(("member", "act"), OFF)
def test_a_machine_that_is_off_refuses_as_documented(
    off: Machine, member: str, act: Callable[[Machine], object]
) -> None:
    """``VM_E_VM_NOT_RUNNING``, whatever is asked of it."""
    with pytest.raises(InnkeeperError) as caught:
        act(off)
    assert caught.value.code is ErrorCode.VM_E_VM_NOT_RUNNING, member


def test_a_keyboard_of_a_machine_that_is_off_cannot_be_taken(off: Machine) -> None:
    """With the documented identifier; and none of its keys is down."""
    with pytest.raises(InnkeeperError) as caught:
        off.keyboard.has_exclusive_access = True
    assert caught.value.code is ErrorCode.VM_E_SET_EXCLUSIVE_MODE_FAIL
    assert not off.keyboard.is_pressed("Key_A")
