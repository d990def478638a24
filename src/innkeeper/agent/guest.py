"""Facts of this guest, and its clock."""

import os
import platform
import socket
import time
from typing import Dict

from innkeeper.agent.places import Places, read_text
from innkeeper.agent.plugin import PluginError
from innkeeper.wire.session import Message

#: No text of a fact is longer.
_MAX_TEXT = 200


def facts(places: Places) -> Message:
    """What the host may want to know of this guest."""
    release = os_release(places)
    system = os.uname()
    message = {
        "computer_name": socket.gethostname(),
        "os_id": release.get("ID", system.sysname.lower()),
        "os_name": release.get("PRETTY_NAME", system.sysname),
        "version": release.get("VERSION", ""),
        "version_id": release.get("VERSION_ID", ""),
        "variant": release.get("VARIANT_ID", ""),
        "kernel_release": system.release,
        "kernel_version": system.version,
        "architecture": platform.machine(),
    }
    return {name: text[:_MAX_TEXT] for name, text in message.items()}


def os_release(places: Places) -> Dict[str, str]:
    """The names that the operating system gives itself."""
    found = {}
    for line in read_text(places.os_release).splitlines():
        name, sign, value = line.strip().partition("=")
        if sign and not name.startswith("#"):
            found[name] = value.strip("\"'")
    return found


def set_time(seconds: float) -> None:
    """Set this guest's clock. Raises ``PluginError`` where it may not be set."""
    try:
        time.clock_settime(time.CLOCK_REALTIME, seconds)
    except (OSError, OverflowError, ValueError) as exc:
        raise PluginError("The clock of this guest cannot be set: {}".format(exc)) from exc
