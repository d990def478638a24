"""Ports that channels may reach, as the guest's administrator allows."""

import os
from typing import Optional, Tuple

from innkeeper.agent.places import read_text

#: What may be reached where nothing is configured: remote shells, web servers and what is no system service.
DEFAULT_PORTS = "22, 80, 443, 1024-65535"


class AllowedPorts:
    """The ports that the host may reach: ``ports = …`` in the file, read again when it changes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._read_at: Optional[int] = -1
        self._ranges = parse_ports("none")

    def __contains__(self, port: int) -> bool:
        self._refresh()
        return any(first <= port <= last for first, last in self._ranges)

    def __str__(self) -> str:
        self._refresh()
        return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in self._ranges) or "none"

    def _refresh(self) -> None:
        changed_at = _changed_at(self._path)
        if changed_at == self._read_at:
            return
        self._read_at = changed_at
        try:
            self._ranges = parse_ports(_setting(read_text(self._path)))
        except ValueError:
            # Whoever wrote it meant to allow less than all.
            self._ranges = ()


def parse_ports(text: str) -> Tuple[Tuple[int, int], ...]:
    """Read ``22, 80, 1024-65535``, ``all`` or ``none``; raises ``ValueError``."""
    words = text.strip().lower()
    if words == "none":
        return ()
    if words == "all":
        return ((1, 65535),)
    return tuple(_range(part) for part in words.split(","))


def _range(text: str) -> Tuple[int, int]:
    first, _, last = text.strip().partition("-")
    bounds = int(first), int(last or first)
    if not 1 <= bounds[0] <= bounds[1] <= 65535:
        raise ValueError(text)
    return bounds


def _setting(text: str) -> str:
    for line in text.splitlines():
        name, found, value = line.partition("=")
        if found and name.strip() == "ports":
            return value
    return DEFAULT_PORTS


def _changed_at(path: str) -> Optional[int]:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
