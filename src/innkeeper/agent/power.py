"""Reboot the guest, or shut it down."""

import os
import subprocess
from typing import List

from innkeeper.agent.command import environment
from innkeeper.agent.places import Places

#: Below the root alone, never by the search path: an agent under a root of its own (a test's) must
#: not be able to reboot the machine it runs on.
_DIRECTORIES = ("usr/bin", "bin", "usr/sbin", "sbin")


def reboot(places: Places) -> bool:
    """Ask for a reboot; whether there was anyone to ask."""
    return _ask(places, "reboot", "reboot")


def shut_down(places: Places) -> bool:
    """Ask for a power-off; whether there was anyone to ask."""
    return _ask(places, "poweroff", "poweroff")


def _ask(places: Places, verb: str, program: str) -> bool:
    systemctl = _find(places, "systemctl")
    if places.has_systemd and systemctl:
        return _run([systemctl, verb])
    found = _find(places, program)
    return bool(found) and _run([found])


def _find(places: Places, program: str) -> str:
    for directory in _DIRECTORIES:
        path = places.under(os.path.join(directory, program))
        if os.access(path, os.X_OK):
            return path
    return ""


def _run(argv: List[str]) -> bool:
    try:
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=environment(), start_new_session=True)
    except OSError:
        return False
    return True
