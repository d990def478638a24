"""Move machines' mice (``IVMmouse``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from innkeeper.errors import ErrorCode, InvalidArgument, MachineError
from innkeeper.machines.machine import Machine
from innkeeper.machines.ports.input_devices import (
    MAX_PLACE,
    ButtonMoved,
    InputDevices,
    InputEvent,
    PointerMoved,
    PointerPlaced,
    Pointers,
    WheelTurned,
)
from innkeeper.machines.screen.display import Display
from innkeeper.machines.screen.keyboard import expect_running
from innkeeper.machines.service import Machines
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.states import MouseButton

#: The longest way, and the most notches, of one call.
MAX_WAY = 10_000
MAX_NOTCHES = 100

_FORGETTING = frozenset(
    {
        EventKind.MACHINE_STARTED,
        EventKind.MACHINE_STOPPED,
        EventKind.MACHINE_SAVED,
        EventKind.MACHINE_REBOOTED,
        EventKind.MACHINE_CRASHED,
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MouseFacts:
    """A machine's mouse, as far as it was moved here: no guest can be asked."""

    #: Whether it takes places on the screen.
    can_be_absolute: bool
    #: Where it was put last, in pixels.
    x: int | None
    y: int | None
    #: The buttons that are down.
    down: frozenset[MouseButton]


@dataclasses.dataclass(slots=True)
class _Known:
    x: int | None = None
    y: int | None = None
    down: set[MouseButton] = dataclasses.field(default_factory=set)


class Mouse:
    """The mice of all machines.

    Every method raises ``WrongState`` where the machine does not run, and ``MachineError`` with
    ``VM_E_MOUSE_NOT_ACTIVE`` where it has no mouse.
    """

    def __init__(self, machines: Machines, display: Display) -> None:
        self._machines = machines
        self._display = display
        self._known: dict[str, _Known] = {}

    def on_event(self, event: Event) -> None:
        """Forget the buttons held in a guest that begins anew."""
        if event.kind in _FORGETTING:
            self._known.pop(event.about, None)

    async def facts(self, name: str) -> MouseFacts:
        """Buttons and position of the mouse (``GetButton``, ``HorizontalPosition``, ``VerticalPosition``)."""
        _, machine, pointers = await self._reach(name)
        known = self._known.get(machine.key, _Known())
        return MouseFacts(can_be_absolute=pointers.absolute, x=known.x, y=known.y, down=frozenset(known.down))

    async def move(self, name: str, *, right: int, down: int) -> None:
        """Move it so far, in its own steps: what putting a position means with relative coordinates."""
        if max(abs(right), abs(down)) > MAX_WAY:
            raise InvalidArgument(f"A mouse goes {MAX_WAY:,} steps at once at most.", advice="Go in parts.")
        input_devices, machine, _ = await self._reach(name)
        await input_devices.feed(machine.name, [PointerMoved(right, down)])

    async def place(self, name: str, *, x: int | None, y: int | None) -> None:
        """Move the pointer to a place, in pixels of the screen; one coordinate may stay as it is.

        Raises ``MachineError`` with ``VM_E_ADDITIONS_FEATURE_NOT_AVAIL`` for a machine without a tablet,
        ``InvalidArgument`` for a place beside the screen.
        """
        input_devices, machine, pointers = await self._reach(name)
        if not pointers.absolute:
            raise cannot_be_absolute(machine.title)
        picture = await self._display.picture(machine.key)
        placed = PointerPlaced(_scaled(x, picture.width), _scaled(y, picture.height))
        await input_devices.feed(machine.name, [placed])
        known = self._known.setdefault(machine.key, _Known())
        known.x, known.y = (known.x if x is None else x), (known.y if y is None else y)

    async def set_button(self, name: str, button: MouseButton, *, down: bool) -> None:
        """Press or release a button (``SetButton``)."""
        input_devices, machine, _ = await self._reach(name)
        await input_devices.feed(machine.name, [ButtonMoved(button, down)])
        held = self._known.setdefault(machine.key, _Known()).down
        (held.add if down else held.discard)(button)

    async def click(self, name: str, button: MouseButton) -> None:
        """Press a button and let it go (``Click``)."""
        input_devices, machine, _ = await self._reach(name)
        events: Sequence[InputEvent] = [ButtonMoved(button, True), ButtonMoved(button, False)]
        for event in events:  # one by one: within one report a guest would see nothing happen
            await input_devices.feed(machine.name, [event])

    async def turn_wheel(self, name: str, notches: int) -> None:
        """Turn the wheel: up where positive (``ScrollWheelPosition``)."""
        if abs(notches) > MAX_NOTCHES:
            raise InvalidArgument(
                f"A wheel turns at most {MAX_NOTCHES} notches at once.", advice="Turn less."
            )
        input_devices, machine, _ = await self._reach(name)
        if notches:
            await input_devices.feed(machine.name, [WheelTurned(notches)])

    async def _reach(self, name: str) -> tuple[InputDevices, Machine, Pointers]:
        machine = await self._machines.get(name)
        expect_running(machine, "be pointed at")
        input_devices = self._machines.hosts[machine.host].input_devices
        pointers = await input_devices.pointers(machine.name)
        if not pointers.any:
            raise MachineError(
                f"{machine.title} has no mouse that its guest uses.",
                machine=machine.title,
                code=ErrorCode.VM_E_MOUSE_NOT_ACTIVE,
                advice="Give it one in its definition: <input type='tablet' bus='usb'/>.",
            )
        return input_devices, machine, pointers


def cannot_be_absolute(name: str) -> MachineError:
    """The refusal of places on the screen where the machine has no tablet."""
    return MachineError(
        f"{name} has no tablet, so its mouse cannot be placed at a position of the screen.",
        machine=name,
        code=ErrorCode.VM_E_ADDITIONS_FEATURE_NOT_AVAIL,
        advice="Give it one in its definition: <input type='tablet' bus='usb'/>. Or move it step by step.",
    )


def _scaled(place: int | None, size: int) -> int | None:
    if place is None:
        return None
    if not 0 <= place < size:
        raise InvalidArgument(
            f"Position {place} is outside the screen.", advice=f"0 to {size - 1} are on it."
        )
    return round(place * MAX_PLACE / max(1, size - 1))
