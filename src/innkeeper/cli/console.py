"""Join this terminal to a wire: what is typed goes there as it is typed, what comes is shown as it comes."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Iterator

from innkeeper.client import Wire

#: Ctrl-], as telnet and virsh have it.
ESCAPE = b"\x1d"
_READ_BYTES = 4096
#: Without a terminal: how long the guest may be silent after the last of what it was sent, in seconds.
_LAST_WORD_SECONDS = 2.0


def sit_at(wire: Wire) -> None:
    """Carry bytes both ways until the guest's end closes or the person at the terminal leaves."""
    if not sys.stdin.isatty():
        _pass_through(wire)
        return
    ended_read, ended_write = os.pipe()
    shower = threading.Thread(target=_show, args=(wire, ended_write), daemon=True)
    with _raw(sys.stdin.fileno()):
        shower.start()
        _type(wire, ended_read)
    wire.close()
    shower.join(timeout=1)


def _show(wire: Wire, ended: int) -> None:
    for data in wire:
        _print(data)
    os.write(ended, b"!")


def _type(wire: Wire, ended: int) -> None:
    keyboard = sys.stdin.fileno()
    while True:
        ready, _, _ = select.select([keyboard, ended], [], [])
        if ended in ready:
            return
        typed = os.read(keyboard, _READ_BYTES)
        before, escape, _ = typed.partition(ESCAPE)
        if before:
            wire.write(before)
        if escape or not typed:
            return


def _pass_through(wire: Wire) -> None:
    """Send all of standard input, and print the answer until the guest is silent."""
    while data := sys.stdin.buffer.read(_READ_BYTES):
        wire.write(data)
    with contextlib.suppress(TimeoutError):
        while data := wire.read(timeout=_LAST_WORD_SECONDS):
            _print(data)


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Put the terminal into raw mode; its former mode is restored in any case."""
    former = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, former)
