"""Reboot the guest, or shut it down."""

import os
from typing import Dict, Sequence, Tuple

from innkeeper.agent.command import begin
from innkeeper.agent.places import Places

#: Below the root alone, never by the search path: an agent under a root of its own (a test's) must
#: not be able to reboot the machine it runs on.
_DIRECTORIES = ("usr/bin", "bin", "usr/sbin", "sbin")
#: The programs of other inits, each with its words; the first that is there is asked.
_WAYS: Dict[str, Sequence[Tuple[str, Sequence[str]]]] = {
    "reboot": (("reboot", ()), ("openrc-shutdown", ("-r", "now")), ("shutdown", ("-r", "now"))),
    "poweroff": (("poweroff", ()), ("openrc-shutdown", ("-p", "now")), ("shutdown", ("-P", "now"))),
}


def reboot(places: Places) -> bool:
    """Ask for a reboot; whether there was anyone to ask."""
    return _ask(places, "reboot", "reboot")


def shut_down(places: Places) -> bool:
    """Ask for a power-off; whether there was anyone to ask."""
    return _ask(places, "poweroff", "poweroff")


def _ask(places: Places, verb: str, program: str) -> bool:
    systemctl = _find(places, "systemctl")
    if places.has_systemd and systemctl:
        return begin([systemctl, verb])
    for name, words in _WAYS[program]:
        found = _find(places, name)
        if found:
            return begin([found, *words])
    return False


def _find(places: Places, program: str) -> str:
    for directory in _DIRECTORIES:
        path = places.under(os.path.join(directory, program))
        if os.access(path, os.X_OK):
            return path
    return ""
