"""Look at machines' screens, type on their keyboards, and sit down at their serial consoles."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.text import Text

from innkeeper.cli.console import sit_at
from innkeeper.cli.terminal import Json, MachineName, session_of
from innkeeper.client import Machine
from innkeeper.errors import ErrorCode, InvalidArgument

#: Short names of keys, as people write chords: ctrl+alt+delete.
_SHORT = {
    "ctrl": "Key_LeftCtrl", "alt": "Key_LeftAlt", "altgr": "Key_RightAlt", "shift": "Key_LeftShift",
    "win": "Key_LeftWindows", "super": "Key_LeftWindows", "meta": "Key_LeftWindows",
    "menu": "Key_Application", "esc": "Key_Escape", "escape": "Key_Escape", "enter": "Key_Enter",
    "return": "Key_Enter", "tab": "Key_Tab", "space": "Key_Space", "backspace": "Key_Backspace",
    "del": "Key_Delete", "delete": "Key_Delete", "ins": "Key_Insert", "insert": "Key_Insert",
    "home": "Key_Home", "end": "Key_End", "pgup": "Key_PageUp", "pgdn": "Key_PageDown", "up": "Key_Up",
    "down": "Key_Down", "left": "Key_Left", "right": "Key_Right", "sysrq": "Key_SysReq",
}  # fmt: skip


class PictureAnswer(BaseModel):
    """Where a screenshot was written."""

    machine: str
    file: str
    bytes: int


class DisplayAnswer(BaseModel):
    """Where a display can be watched."""

    machine: str
    address: str


def add_to(app: typer.Typer) -> None:
    """Add the commands to those of machines."""
    app.command("screenshot")(screenshot)
    app.command("type")(type_text)
    app.command("keys")(keys)
    app.command("console")(console)


def screenshot(
    context: typer.Context,
    name: MachineName,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to write it; - for standard output.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="At most so many pixels wide.")] = None,
    height: Annotated[int | None, typer.Option(help="At most so many pixels high.")] = None,
    json: Json = False,
) -> None:
    """Write what a machine shows to a PNG file (MACHINE.png)."""
    session = session_of(context)
    picture = session.inn.machines[name].display.screenshot(width, height)
    if file is not None and str(file) == "-":
        sys.stdout.buffer.write(picture)
        return
    target = file or Path(f"{name}.png")
    try:
        target.write_bytes(picture)
    except OSError as error:
        raise InvalidArgument(
            f"{target} cannot be written: {error.strerror}.",
            code=ErrorCode.ERROR_PATH_NOT_FOUND,
            advice="Name a file in a directory that you may write to.",
        ) from error
    if session.json:
        session.answer(PictureAnswer(machine=name, file=str(target), bytes=len(picture)))
    else:
        session.out.print(Text(f"Wrote {target} ({len(picture):,} bytes)."))


def type_text(
    context: typer.Context,
    name: MachineName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="ASCII text; - reads standard input.")],
    enter: Annotated[bool, typer.Option("--enter", help="Press Enter at the end.")] = False,
) -> None:
    """Type text on a machine's keyboard, as a US layout has it."""
    typed = sys.stdin.read() if text == "-" else text
    _machine(context, name).keyboard.type_ascii_text(typed + "\n" * enter)


def keys(
    context: typer.Context,
    name: MachineName,
    sequence: Annotated[
        list[str],
        typer.Argument(
            metavar="KEYS...",
            help="Chords such as ctrl+alt+delete, or documented sequences: "
            "DOWN,Key_LeftAlt,Key_Tab,UP,Key_LeftAlt (HOLD waits 200 ms).",
        ),
    ],
) -> None:
    """Press keys on a machine's keyboard, one chord or sequence after the other."""
    keyboard = _machine(context, name).keyboard
    for word in sequence:
        if "," in word or word.upper() == "HOLD":
            keyboard.type_key_sequence(word)
        else:
            keyboard.press_and_release_key(*map(_key, word.split("+")))


def console(
    context: typer.Context,
    name: MachineName,
    vnc: Annotated[
        bool, typer.Option("--vnc", help="Print where its display can be watched, instead.")
    ] = False,
    json: Json = False,
) -> None:
    """Sit down at a machine's serial console. Ctrl-] leaves it."""
    session = session_of(context)
    display = session.inn.machines[name].display
    if not vnc:
        with display.open_console() as wire:
            session.note(f"At the serial console of {name}. Ctrl-] leaves it.")
            sit_at(wire)
        return
    address = display.address
    if not address:
        display.open().close()  # says why there is none
    if session.json:
        session.answer(DisplayAnswer(machine=name, address=address))
    else:
        session.out.print(Text(address), soft_wrap=True)


def _machine(context: typer.Context, name: str) -> Machine:
    return session_of(context).inn.machines[name]


def _key(word: str) -> str:
    """The documented name of a key that may be written short."""
    short = word.strip()
    if short.casefold() in _SHORT:
        return _SHORT[short.casefold()]
    is_plain = len(short) == 1 and short.isalnum()
    is_function = short[:1] in "fF" and short[1:].isdecimal()
    return f"Key_{short.upper()}" if is_plain or is_function else short
