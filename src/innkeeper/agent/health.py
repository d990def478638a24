"""Report the guest's health, as facts to be compared with those of another moment."""

import os
import socket
import struct
from typing import Iterator, List, Tuple, Type

from innkeeper.agent.backends import BACKENDS
from innkeeper.agent.backends.backend import Backend
from innkeeper.agent.backends.scripts import executables
from innkeeper.agent.command import ask
from innkeeper.agent.places import Places, read_text
from innkeeper.agent.report import Report
from innkeeper.agent.run import Run
from innkeeper.wire.session import Message

#: How long one check script may take, in seconds.
CHECK_S = 60
_MAX_ITEMS = 2000
_MAX_CHECK_TEXT = 1000
#: The state of a listening TCP socket, and of an unconnected UDP one, in /proc/net.
_LISTENING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
#: File systems that say nothing of health, or come and go by themselves.
_PASSING = frozenset({"autofs", "overlay", "squashfs", "nsfs", "fuse.portal", "tracefs", "binfmt_misc"})


def health(places: Places) -> Message:
    """Return the report; takes as long as the slowest check."""
    problem = _package_problem(places)
    return {
        "boot_id": places.boot_id,
        "kernel": os.uname().release,
        "system_state": _system_state(places),
        "failed_units": _failed_units(places)[:_MAX_ITEMS],
        "listeners": sorted(set(_listeners(places)))[:_MAX_ITEMS],
        "mounts": sorted(set(_mounts(places)))[:_MAX_ITEMS],
        "package_database_ok": not problem,
        "reboot_required": any(os.path.exists(mark) for mark in places.reboot_marks),
        "failed_checks": dict(_failed_checks(places)),
    }


def _system_state(places: Places) -> str:
    if not places.has_systemd:
        return ""
    # Exit codes say the same again: any state but "running" is one.
    return ask(["systemctl", "is-system-running"], timeout=20).output.strip().split("\n")[-1]


def _failed_units(places: Places) -> List[str]:
    if not places.has_systemd:
        return []
    listed = ask(["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full"], timeout=20)
    return [line.split()[0] for line in listed.output.splitlines() if listed.code == 0 and line.strip()]


def _package_problem(places: Places) -> str:
    report = Report(Run(os.devnull))
    return _backend(places)(places, report).problem()


def _backend(places: Places) -> Type[Backend]:
    return next(backend for backend in BACKENDS.values() if backend.is_present(places))


def _listeners(places: Places) -> Iterator[str]:
    for protocol, listening in _LISTENING.items():
        for line in read_text(places.under(f"proc/net/{protocol}")).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[3] == listening:
                yield "{}:{}:{}".format(protocol.rstrip("6"), *_address(fields[1]))


def _address(field: str) -> Tuple[str, int]:
    """Read ``0100007F:0016``: words of the machine's own byte order."""
    digits, _, port = field.partition(":")
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)


def _mounts(places: Places) -> Iterator[str]:
    for line in read_text(places.under("proc/self/mounts")).splitlines():
        fields = line.split()
        if len(fields) > 2 and fields[2] not in _PASSING and not fields[1].startswith("/run/user/"):
            yield fields[1]


def _failed_checks(places: Places) -> Iterator[Tuple[str, str]]:
    """Run the check scripts; what only wants to be known of (``wanted.d``) is named as such."""
    for directory, prefix in ((places.required_checks, ""), (places.wanted_checks, "wanted: ")):
        for script in executables(directory):
            answer = ask([script], timeout=CHECK_S)
            if answer.code != 0:
                text = answer.output.strip()[-_MAX_CHECK_TEXT:] or f"exit code {answer.code}"
                yield prefix + os.path.basename(script), text
