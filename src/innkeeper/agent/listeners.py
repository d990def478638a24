"""Report what listens in the guest: where, and which unit and program it belongs to."""

import os
import re
import socket
import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from innkeeper.agent.inits.init import Owner
from innkeeper.agent.places import Places, read_text

#: The state of a listening TCP socket, and of an unconnected UDP one, in /proc/net.
_LISTENING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
_SOCKET = re.compile(r"socket:\[(\d+)\]\Z")
#: The kernel's own range of ports for whoever asks for any, where it cannot be read.
_USUAL_RANGE = (32768, 60999)


class Listener(NamedTuple):
    """A socket that waits for somebody."""

    #: ``tcp`` or ``udp``.
    protocol: str
    address: str
    port: int
    #: Empty where no process of this guest's holds it, as with the kernel's own.
    unit: str
    program: str


def listeners(places: Places, owner: Owner) -> List[Listener]:
    """Return them in order, each once; ``owner`` says which unit a process is of."""
    owners = _Owners(places, owner)
    found = {
        Listener(protocol.rstrip("6"), *_address(fields[1]), *owners.of(fields))
        for protocol, listening in _LISTENING.items()
        for fields in _lines(places.under(f"proc/net/{protocol}"))
        if len(fields) > 3 and fields[3] == listening
    }
    return sorted(found)


def listening_ports(places: Places, any_range: Tuple[int, int]) -> List[str]:
    """Return ``tcp/80`` and the like, without owners; not those that the kernel gave to whoever asked."""
    low, high = any_range
    ports = {
        (protocol.rstrip("6"), _address(fields[1])[1])
        for protocol, listening in _LISTENING.items()
        for fields in _lines(places.under(f"proc/net/{protocol}"))
        if len(fields) > 3 and fields[3] == listening
    }
    return [f"{protocol}/{port}" for protocol, port in sorted(ports) if not low <= port <= high]


def is_passing(one: Listener, any_range: Tuple[int, int]) -> bool:
    """Return whether it may be there for one question: an unconnected UDP socket that was given any port.

    rpcbind tells of its programs' ports, which are any.
    """
    is_any = any_range[0] <= one.port <= any_range[1]
    return one.protocol == "udp" and is_any and not one.program.startswith(("rpc", "yp"))


def any_ports(places: Places) -> Tuple[int, int]:
    """Return the range of ports that the kernel gives to whoever asks for any."""
    low, _, high = read_text(places.under("proc/sys/net/ipv4/ip_local_port_range")).partition("\t")
    return (int(low), int(high)) if low.isdigit() and high.strip().isdigit() else _USUAL_RANGE


class _Owners:
    """Who holds a socket: its number is looked for once, in every process."""

    def __init__(self, places: Places, owner: Owner) -> None:
        self._places = places
        self._owner = owner
        self._pids: Optional[Dict[str, int]] = None

    def of(self, fields: List[str]) -> Tuple[str, str]:
        """Return unit and program of a line of /proc/net."""
        if self._pids is None:
            self._pids = dict(_holders(self._places.under("proc")))
        pid = self._pids.get(fields[9]) if len(fields) > 9 else None
        if pid is None:
            return "", ""
        return self._owner(pid), read_text(self._places.under(f"proc/{pid}/comm"))


def _holders(proc: str) -> Iterator[Tuple[str, int]]:
    """Yield socket and process; the oldest process of several comes last."""
    pids = sorted((int(name) for name in os.listdir(proc) if name.isdigit()), reverse=True)
    for pid in pids:
        directory = f"{proc}/{pid}/fd"
        try:
            names = os.listdir(directory)
        except OSError:
            continue  # It has ended, or is not ours to look at.
        for name in names:
            try:
                found = _SOCKET.match(os.readlink(f"{directory}/{name}"))
            except OSError:
                continue
            if found:
                yield found.group(1), pid


def _lines(path: str) -> Iterator[List[str]]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            next(file, None)
            for line in file:
                yield line.split()
    except OSError:
        return


def _address(field: str) -> Tuple[str, int]:
    """Read ``0100007F:0016``: words of the machine's own byte order."""
    digits, _, port = field.partition(":")
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)
