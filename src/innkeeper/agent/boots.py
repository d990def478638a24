"""Learn how this guest usually comes up: when each port is listened on, boot by boot."""

import json
import os
from typing import Dict, List, NamedTuple

from innkeeper.agent.listeners import any_ports, listening_ports
from innkeeper.agent.loop import Loop
from innkeeper.agent.places import Places, read_text
from innkeeper.wire.session import Message

#: So many boots are remembered.
_BOOTS = 10
#: Looks, in seconds after the boot; the last one ends what is learnt of it.
_LOOKS_S = (15, 30, 45, 60, 90, 120, 180, 240, 300, 420, 600, 900, 1200, 1800)
#: A guest with more ports than this is not learnt.
_MOST_PORTS = 500


class Boot(NamedTuple):
    """One boot, as far as it was watched."""

    boot_id: str
    #: How long it was watched, in seconds after the boot.
    watched: int
    #: ``tcp/80`` → at most so many seconds after the boot somebody listened on it.
    ports: Dict[str, int]
    #: The load at the last look, in hundredths, and the memory that could be had then, in MiB.
    load: int
    free_mib: int


class Boots:
    """The boots of this guest, the newest last; each look is a file or two of ``/proc``."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._path = places.boots
        self._boots = [boot for boot in _read(self._path) if boot.boot_id != places.boot_id]
        former = [boot for boot in _read(self._path) if boot.boot_id == places.boot_id]
        self._now = former[0] if former else Boot(places.boot_id, 0, {}, 0, 0)

    def watch(self, loop: Loop) -> None:
        """Look now and then for as long as the boot is young."""
        uptime = uptime_of(self._places)
        due = next((second for second in _LOOKS_S if second > uptime), None)
        if due is not None and self._now.watched < _LOOKS_S[-1]:
            loop.after(due - uptime, lambda: self._look_and_go_on(loop))

    def look(self) -> None:
        """Note which ports are listened on by now."""
        uptime = int(uptime_of(self._places))
        if uptime > 2 * _LOOKS_S[-1]:
            return  # the guest was asleep meanwhile: nothing tells when its ports came up
        ports = dict(self._now.ports)
        for port in listening_ports(self._places, any_ports(self._places)):
            ports.setdefault(port, uptime)
        if len(ports) <= _MOST_PORTS:
            load = int(100 * _number(read_text(self._places.under("proc/loadavg"))))
            self._now = Boot(self._now.boot_id, uptime, ports, load, _free_mib(self._places))
            self._save()

    def told(self) -> List[Message]:
        """Return the boots before this one, for the host."""
        return [dict(boot._asdict()) for boot in self._boots[-_BOOTS:]]

    def _look_and_go_on(self, loop: Loop) -> None:
        self.look()
        self.watch(loop)

    def _save(self) -> None:
        kept = [*self._boots[-(_BOOTS - 1) :], self._now]
        fresh = self._path + ".new"
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(fresh, "w", encoding="utf-8") as file:
                json.dump([boot._asdict() for boot in kept], file)
            os.replace(fresh, self._path)
        except OSError:
            pass  # a full disk is no reason to end: what is learnt is a help, and no more


def uptime_of(places: Places) -> float:
    """Return the seconds since the boot; 0 where they cannot be read."""
    return _number(read_text(places.under("proc/uptime")))


def _number(text: str) -> float:
    """Read the number that a file of ``/proc`` begins with."""
    try:
        return float(text.partition(" ")[0])
    except ValueError:
        return 0.0


def _read(path: str) -> List[Boot]:
    try:
        told = json.loads(read_text(path) or "[]")
        return [
            Boot(
                str(each["boot_id"]),
                int(each["watched"]),
                {str(port): int(second) for port, second in each["ports"].items()},
                int(each["load"]),
                int(each["free_mib"]),
            )
            for each in told
        ][-_BOOTS:]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []  # written by a crash, or by another release


def _free_mib(places: Places) -> int:
    for line in read_text(places.under("proc/meminfo")).splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable" and value.split():
            return int(value.split()[0]) // 1024
    return 0
