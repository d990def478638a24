"""Type on a simulated machine's keyboard, and move its mouse."""

from __future__ import annotations

from innkeeper.hypervisor.fake_machines import SimulatedMachine
from innkeeper.machines.keys import BY_CODE, US_LAYOUT

#: What a login line holds.
_MOST_TYPED = 2000

#: X11's numbers of keys without a character.
_KEYSYMS = {0xFF08: "\b", 0xFF09: "\t", 0xFF0D: "\n", 0xFF8D: "\n", 0xFF1B: ""}
_SHIFTS = frozenset({42, 54})
_CTRL_ALT_DELETE = ({29, 97}, {56, 100}, {111})

#: Key code → what it types without and with shift.
_TYPES: dict[tuple[int, bool], str] = {
    (key.code, shifted): text for text, (key, shifted) in US_LAYOUT.items() if text != "\r"
}


def keys(machine: SimulatedMachine, codes: tuple[int, ...]) -> bool:
    """Press these keys together; whether that asks the guest to reboot (Ctrl, Alt and Delete)."""
    if machine.memory is None:
        return False
    if all(group & set(codes) for group in _CTRL_ALT_DELETE):
        return True
    shifted = bool(_SHIFTS & set(codes))
    for code in codes:
        if code in BY_CODE:
            type_text(machine, _TYPES.get((code, shifted), _TYPES.get((code, False), "")))
    return False


def keysym(machine: SimulatedMachine, number: int, down: bool) -> None:
    """Take a viewer's key."""
    if down:
        type_text(machine, _KEYSYMS.get(number, chr(number) if 0x20 <= number < 0x7F else ""))


def type_text(machine: SimulatedMachine, text: str) -> None:
    """Let characters appear where the guest reads them."""
    if machine.memory is None or not machine.memory.agent_up:
        return
    typed = machine.memory.typed
    for character in text:
        if character in "\b\x7f":
            typed = typed[:-1]
        elif character in "\r\n":
            typed += f"\n{machine.name} login: "
        elif character.isprintable():
            typed += character
    machine.memory.typed = typed[-_MOST_TYPED:]


def move_to(machine: SimulatedMachine, x: int, y: int) -> None:
    """Put the pointer there, within the screen."""
    if machine.memory is not None:
        width, height = machine.memory.size or (1024, 768)
        machine.memory.pointer = (max(0, min(x, width - 1)), max(0, min(y, height - 1)))


def resize(machine: SimulatedMachine, width: int, height: int) -> None:
    """A guest with a desktop takes any size that a viewer asks for."""
    if machine.memory is not None and machine.memory.agent_up and machine.video == "virtio":
        machine.memory.size = (max(320, min(width, 4096)), max(200, min(height, 4096)))
