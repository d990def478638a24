"""Type on a simulated machine's keyboard, and move its mouse."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated.guests import Due
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.input_devices import (
    MAX_PLACE,
    InputEvent,
    Key,
    KeyMoved,
    PointerMoved,
    PointerPlaced,
    Pointers,
)
from innkeeper.machines.screen.keys import BY_CODE, US_LAYOUT

#: What a login line holds.
_MOST_TYPED = 2000
_MOST_USERS = 16

#: X11's numbers of keys without a character.
_KEYSYMS = {0xFF08: "\b", 0xFF09: "\t", 0xFF0D: "\n", 0xFF8D: "\n", 0xFF1B: ""}
_SHIFTS = frozenset({42, 54})
#: With one of these a key types nothing.
_SILENT = frozenset({29, 97, 56, 100, 125, 126})
_MODIFIERS = _SHIFTS | _SILENT
_CTRL_ALT_DELETE = (frozenset({29, 97}), frozenset({56, 100}), frozenset({111}))

#: Key code → what it types without and with shift.
_TYPES: dict[tuple[int, bool], str] = {
    (key.code, shifted): text for text, (key, shifted) in US_LAYOUT.items() if text != "\r"
}


class FakeInputDevices:
    """The keyboards and mice of all simulated machines (``machines.ports.input_devices.InputDevices``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        #: The keys that are held; a new boot knows nothing of them.
        self._held: dict[tuple[str, str], set[int]] = {}

    async def press(self, name: str, keys: Sequence[Key], *, hold_ms: int) -> None:
        """Press keys together, and release them."""
        codes = frozenset(key.code for key in keys)
        await self._simulation.simulate(name, lambda machine, now: self._press(machine, codes, now))

    async def feed(self, name: str, events: Sequence[InputEvent]) -> None:
        """Apply these events."""
        await self._simulation.simulate(name, lambda machine, now: self._feed(machine, events, now))

    async def pointers(self, name: str) -> Pointers:
        """Every simulated machine with a screen has a tablet."""

        def look(machine: SimulatedMachine, _: float) -> Pointers:
            _expect_running(machine)
            return Pointers(any=bool(machine.video), absolute=bool(machine.video))

        return await self._simulation.simulate(name, look)

    def _feed(self, machine: SimulatedMachine, events: Sequence[InputEvent], now: float) -> None:
        _expect_running(machine)
        for event in events:
            match event:
                case KeyMoved(key, down):
                    self._move(machine, key.code, down, now)
                case PointerMoved(right, down):
                    x, y = (machine.memory.pointer if machine.memory else None) or (0, 0)
                    move_to(machine, x + right, y + down)
                case PointerPlaced(x, y):
                    place(machine, x, y)
                case _:
                    pass  # A login has nothing to click on.

    def _move(self, machine: SimulatedMachine, code: int, down: bool, now: float) -> None:
        boot = machine.memory.boot_id if machine.memory else ""
        held = self._held.setdefault((machine.name, boot), set())
        if not down:
            held.discard(code)
            return
        self._press(machine, frozenset(held & _MODIFIERS | {code}), now)
        held.add(code)

    def _press(self, machine: SimulatedMachine, codes: frozenset[int], now: float) -> None:
        _expect_running(machine)
        if press(machine, codes):
            acts.ask(machine, Due.REBOOT, now)


def _expect_running(machine: SimulatedMachine) -> None:
    acts.need(machine, "be reached into", machine.state is MachineState.RUNNING)


def press(machine: SimulatedMachine, codes: frozenset[int]) -> bool:
    """Press these keys together; whether that asks the guest to reboot (Ctrl, Alt and Delete)."""
    if machine.memory is None:
        return False
    if all(group & codes for group in _CTRL_ALT_DELETE):
        return True
    shifted = bool(_SHIFTS & codes)
    for code in codes:
        if code in BY_CODE and not codes & _SILENT:
            type_text(machine, _TYPES.get((code, shifted), _TYPES.get((code, False), "")))
    return False


def keysym(machine: SimulatedMachine, number: int, down: bool) -> None:
    """Type a viewer's key."""
    if down:
        type_text(machine, _KEYSYMS.get(number, chr(number) if 0x20 <= number < 0x7F else ""))


def type_text(machine: SimulatedMachine, text: str) -> None:
    """Type characters where the guest reads them."""
    if machine.memory is None or not machine.memory.agent_up:
        return
    typed = machine.memory.typed
    for character in text:
        if character in "\b\x7f":
            typed = typed[:-1]
        elif character in "\r\n":
            _log_on(machine, typed.rpartition("login: ")[2])
            typed += f"\n{machine.name} login: "
        elif character.isprintable():
            typed += character
    machine.memory.typed = typed[-_MOST_TYPED:]


def _log_on(machine: SimulatedMachine, name: str) -> None:
    """Log on whoever gives a name: simulated guests know no passwords."""
    memory = machine.memory
    if memory is not None and name.strip() and name.strip() not in memory.users:
        memory.users = [*memory.users, name.strip()[:32]][-_MOST_USERS:]


def move_to(machine: SimulatedMachine, x: int, y: int) -> None:
    """Move the pointer, within the screen."""
    if machine.memory is not None:
        width, height = machine.memory.size or (1024, 768)
        machine.memory.pointer = (max(0, min(x, width - 1)), max(0, min(y, height - 1)))


def place(machine: SimulatedMachine, x: int | None, y: int | None) -> None:
    """Move the pointer to a tablet's place."""
    if machine.memory is not None:
        width, height = machine.memory.size or (1024, 768)
        before = machine.memory.pointer or (0, 0)
        move_to(
            machine,
            before[0] if x is None else round(x * (width - 1) / MAX_PLACE),
            before[1] if y is None else round(y * (height - 1) / MAX_PLACE),
        )


def resize(machine: SimulatedMachine, width: int, height: int) -> None:
    """A guest with a desktop takes any size that a viewer asks for."""
    if machine.memory is not None and machine.memory.agent_up and machine.video == "virtio":
        machine.memory.size = (max(320, min(width, 4096)), max(200, min(height, 4096)))
