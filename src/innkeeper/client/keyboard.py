"""Type on a machine's keyboard (``IVMKeyboard``), and move its mouse (``IVMmouse``)."""

from __future__ import annotations

import uuid

from pydantic import BaseModel

from innkeeper.client.calls import get, machine_path
from innkeeper.client.calls import machine_parts as calls
from innkeeper.client.transport import Transport
from innkeeper.errors import ErrorCode, MachineError
from innkeeper.wire.keyboard import (
    ButtonRequest,
    ExclusiveRequest,
    KeyAction,
    KeyboardMessage,
    KeyRequest,
    MouseMessage,
    MoveRequest,
    TypeRequest,
    WheelRequest,
)
from innkeeper.wire.states import MouseButton

#: The longest text of one call.
_TEXT = 500


class Keyboard:
    """One machine's keyboard, as one session: see ``has_exclusive_access``."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self._name = name
        self._session = uuid.uuid4().hex

    def press_key(self, key: str) -> None:
        """Hold a key down (``PressKey``): ``Key_LeftShift``. Raises ``InvalidArgument`` for no key."""
        self._keys(KeyAction.PRESS, key)

    def release_key(self, key: str) -> None:
        """Release a key (``ReleaseKey``)."""
        self._keys(KeyAction.RELEASE, key)

    def press_and_release_key(self, *keys: str) -> None:
        """Press a key, or several together, and let go (``PressAndReleaseKey``)."""
        self._keys(KeyAction.PRESS_AND_RELEASE, *keys)

    def type_ascii_text(self, text: str) -> None:
        """Type text as a US keyboard does (``TypeAsciiText``); returns when it is typed."""
        for start in range(0, len(text), _TEXT):
            self._send("type", TypeRequest(text=text[start : start + _TEXT], session=self._session))

    def type_key_sequence(self, sequence: str) -> None:
        """Type a documented sequence (``TypeKeySequence``): ``DOWN,Key_LeftAlt,Key_Tab,UP,Key_LeftAlt``."""
        self._send("type", TypeRequest(sequence=sequence, session=self._session))

    def is_pressed(self, key: str) -> bool:
        """Whether a key is down, as far as it was pressed through the service (``IsPressed``)."""
        return bool(self._read(key).is_pressed)

    @property
    def has_exclusive_access(self) -> bool:
        """Whether this object alone is heard (``HasExclusiveAccess``).

        Set it to take the keyboard or to give it back; ``VM_E_SET_EXCLUSIVE_MODE_FAIL`` where another has it.
        Whoever is silent for five minutes loses it.
        """
        return self._read().exclusive

    @has_exclusive_access.setter
    def has_exclusive_access(self, wanted: bool) -> None:
        self._send("exclusive", ExclusiveRequest(exclusive=wanted, session=self._session), method="PUT")

    def _read(self, key: str | None = None) -> KeyboardMessage:
        path = machine_path(self._name, "keyboard")
        return self._transport.send(get(path, KeyboardMessage, holder=self._session, key=key))

    def _keys(self, action: KeyAction, *keys: str) -> None:
        self._send("keys", KeyRequest(keys=keys, action=action, session=self._session))

    def _send(self, what: str, body: BaseModel, method: str = "POST") -> None:
        self._transport.send(calls.keyboard(method, self._name, what, body))


class Mouse:
    """One machine's mouse. ``using_absolute_coordinates`` is this object's own, as documented."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self._name = name
        self._absolute = False

    def read(self) -> MouseMessage:
        """The mouse's known state."""
        return self._transport.send(get(machine_path(self._name, "mouse"), MouseMessage))

    @property
    def using_absolute_coordinates(self) -> bool:
        """Whether positions are places on the screen, in pixels, or ways (``UsingAbsoluteCoordinates``).

        Setting it needs a tablet in the machine: ``VM_E_ADDITIONS_FEATURE_NOT_AVAIL`` without.
        """
        return self._absolute

    @using_absolute_coordinates.setter
    def using_absolute_coordinates(self, wanted: bool) -> None:
        if wanted and not self.read().can_be_absolute:
            raise MachineError(
                f"{self._name} has no tablet, so its mouse cannot be placed at a position of the screen.",
                machine=self._name,
                code=ErrorCode.VM_E_ADDITIONS_FEATURE_NOT_AVAIL,
                advice="Give it one in its definition: <input type='tablet' bus='usb'/>.",
            )
        self._absolute = wanted

    @property
    def horizontal_position(self) -> int:
        """The mouse's last position, in pixels (``HorizontalPosition``); set it to move the mouse.

        ``VM_E_USING_RELATIVE_COORDINATES`` where it moves by ways: then only setting has a meaning.
        """
        self._expect_absolute()
        return self.read().x or 0

    @horizontal_position.setter
    def horizontal_position(self, position: int) -> None:
        self._post("move", MoveRequest(absolute=self._absolute, x=position))

    @property
    def vertical_position(self) -> int:
        """The same from the screen's upper edge (``VerticalPosition``)."""
        self._expect_absolute()
        return self.read().y or 0

    @vertical_position.setter
    def vertical_position(self, position: int) -> None:
        self._post("move", MoveRequest(absolute=self._absolute, y=position))

    def scroll_wheel(self, notches: int) -> None:
        """Turn the wheel, up where positive (``ScrollWheelPosition``).

        ``VM_E_USING_ABSOLUTE_COORDINATES`` with absolute coordinates, as documented.
        """
        if self._absolute:
            raise MachineError(
                "The wheel can only be turned with relative coordinates.",
                machine=self._name,
                code=ErrorCode.VM_E_USING_ABSOLUTE_COORDINATES,
                advice="Set using_absolute_coordinates to False first.",
            )
        self._post("wheel", WheelRequest(notches=notches))

    def click(self, button: MouseButton = MouseButton.LEFT) -> None:
        """Press a button and let it go (``Click``)."""
        self._post("button", ButtonRequest(button=button))

    def get_button(self, button: MouseButton) -> bool:
        """Whether a button is down, as far as it was pressed through the service (``GetButton``)."""
        return button in self.read().down

    def set_button(self, button: MouseButton, down: bool) -> None:
        """Hold a button, or let it go (``SetButton``)."""
        self._post("button", ButtonRequest(button=button, down=down))

    def _expect_absolute(self) -> None:
        if not self._absolute:
            raise MachineError(
                "A mouse with relative coordinates has no position.",
                machine=self._name,
                code=ErrorCode.VM_E_USING_RELATIVE_COORDINATES,
                advice="Set using_absolute_coordinates to True first.",
            )

    def _post(self, what: str, body: BaseModel) -> None:
        self._transport.send(calls.mouse(self._name, what, body))
