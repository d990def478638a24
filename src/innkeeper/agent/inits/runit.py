"""runit: ``runsvdir`` over a directory of services, each kept by a ``runsv``; BusyBox has both too."""

import os
import struct
import time
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from innkeeper.agent.command import begin
from innkeeper.agent.inits.agent_files import LAUNCHER, SERVICE, put, take_away
from innkeeper.agent.inits.init import Init, Main, Owner
from innkeeper.agent.inits.processes import Processes
from innkeeper.agent.inits.syslog import LINES, last_words, tail
from innkeeper.agent.inits.unit import Look, Unit
from innkeeper.agent.places import Places, read_text

#: Where services are defined, and where those that run are linked, by distribution.
_DEFINED = "etc/sv"
_LINKED = ("etc/runit/runsvdir/default", "etc/service", "var/service", "service")
#: ``supervise/status`` of a service (see runsv(8)): TAI64N of the last change, process, whether it is paused,
#: what is wanted (``u`` or ``d``), whether it was told to end, and 0 for down, 1 for run, 2 for finish.
_STATUS = struct.Struct(">QI4scccB")
_PID = struct.Struct("<I")
#: What TAI64 begins with at the epoch, as runit reckons it.
_EPOCH = (1 << 62) + 10
_DOWN, _RUN, _FINISH = range(3)
_RUN_TEXT = "#!/bin/sh\nexec 2>&1\nexec /{} run\n"


class _Status(NamedTuple):
    """What ``runsv`` says of its service."""

    #: Seconds since 1970.
    since: float
    pid: int
    is_wanted: bool
    #: One of the three above.
    state: int
    changed: str


class Runit(Init):
    """As the first process, or beside another init (GitLab brings one)."""

    name = "runit"

    @classmethod
    def runs(cls, places: Places) -> bool:
        """Return whether a ``runsvdir`` looks after a directory of this guest's."""
        return any(True for _ in _directories(places, Processes(places)))

    @classmethod
    def is_installed(cls, places: Places) -> bool:
        """Return whether its second stage is there, or a directory as distributions have it."""
        return os.path.exists(places.under("etc/runit/2"))

    def look(self) -> Look:
        """Read what each ``runsv`` writes down; it is asked nothing."""
        processes = Processes(self._places)
        units: Dict[str, Unit] = {}
        for directory, runsvdir in _directories(self._places, processes):
            watched = set(_watched(processes, runsvdir))
            for name in _services(directory):
                units.setdefault(name, _unit(directory, name, name in watched))
        failed = sorted(unit.name for unit in units.values() if unit.active == "failed")
        is_single = os.path.basename(os.path.realpath(self._places.under("etc/runit/runsvdir/current"))) == (
            "single"
        )
        return Look(
            units=sorted(unit for unit in units.values() if unit.active != "inactive" or unit.wanted),
            failed=failed,
            files=sorted({*units, *_names(self._places.under(_DEFINED))}),
            state="maintenance" if is_single else "",
            mounts={},
        )

    def mains(self) -> Dict[str, Main]:
        """Return what is wanted, with the number that changes at each start and end."""
        found = {}
        for directory, _ in _directories(self._places, Processes(self._places)):
            for name in _services(directory):
                status = _status(directory, name)
                if status is not None and status.is_wanted:
                    pid = status.pid if status.state == _RUN else 0
                    found[name] = Main(pid, status.changed)
        return found

    def owner(self) -> Owner:
        """Return what looks for the ``runsv`` that a process descends from."""
        processes = Processes(self._places)
        runsvs = {pid: os.path.basename(words[1]) for pid, words in _runsvs(processes)}
        return lambda pid: processes.first_of(pid, runsvs)

    def evidence(self, unit: str) -> List[str]:
        """Return its state, and the last lines of its own log, or of syslog."""
        for directory, runsvdir in _directories(self._places, Processes(self._places)):
            if unit in _services(directory):
                told = _unit(directory, unit, unit in _watched(Processes(self._places), runsvdir))
                since = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - told.age))
                lines = _log(self._places, "{}/{}/log".format(directory, unit))
                words = lines or last_words(self._places, unit)
                return ["{} ({}), since {}".format(told.active, told.sub, since), *words]
        return []

    def restart(self, units: List[str]) -> List[str]:
        """Begin it by ``sv``, one after the other."""
        chosen = []
        for directory, runsvdir in _directories(self._places, Processes(self._places)):
            program = _sv(Processes(self._places), runsvdir)
            known = [unit for unit in units if unit in _services(directory) and unit not in chosen]
            if known and begin([program, "restart", *("{}/{}".format(directory, unit) for unit in known)]):
                chosen += known
        return chosen

    def install(self) -> str:
        """Define a service and link it where those are that run; ``runsvdir`` sees it within seconds."""
        directory = self._linked()
        if not directory:
            return ""
        put(self._places, "{}/{}/run".format(_DEFINED, SERVICE), _RUN_TEXT.format(LAUNCHER).encode(), 0o755)
        link = "{}/{}".format(directory, SERVICE)
        if not os.path.lexists(link):
            os.symlink("/{}/{}".format(_DEFINED, SERVICE), link)
            return "Installed; runit starts it within seconds, or with the next boot."
        self.restart([SERVICE])
        return "Installed; runit starts it anew."

    def remove(self) -> bool:
        """Take the link away: ``runsvdir`` ends what it ran; then the definition."""
        links = ["{}/{}".format(directory, SERVICE) for directory in (*_LINKED, "etc/runit/runsvdir/current")]
        run = "{}/{}/run".format(_DEFINED, SERVICE)
        there = os.path.exists(self._places.under(run))
        take_away(self._places, *links, run)
        return there

    def _linked(self) -> str:
        """Return the directory of this system's services, as an absolute path."""
        running = [path for path, _ in _directories(self._places, Processes(self._places))]
        offline = filter(os.path.isdir, map(self._places.under, _LINKED))
        return next(iter((*running, *offline)), "")


def _directories(places: Places, processes: Processes) -> Iterator[Tuple[str, int]]:
    """Yield each directory of services, with its ``runsvdir``."""
    root = os.path.realpath(places.root)
    for pid in processes.named("runsvdir"):
        plain = [word for word in processes.words(pid)[1:] if not word.startswith("-")]
        path = os.path.join(processes.link(pid, "cwd") or "/", plain[0]) if plain else ""
        if path and os.path.realpath(path).startswith(root) and os.path.isdir(path):
            yield path, pid


def _runsvs(processes: Processes) -> Iterator[Tuple[int, List[str]]]:
    for pid in processes.named("runsv"):
        words = processes.words(pid)
        if len(words) > 1:
            yield pid, words


def _watched(processes: Processes, runsvdir: int) -> Iterator[str]:
    """Yield the services that have their ``runsv``."""
    for pid, words in _runsvs(processes):
        if runsvdir in processes.lineage(pid):
            yield os.path.basename(words[1])


def _services(directory: str) -> List[str]:
    """Return those that ``runsvdir`` takes for services: by their names, without a dot before them."""
    return [name for name in _names(directory) if os.path.isdir(directory + "/" + name)]


def _unit(directory: str, name: str, is_watched: bool) -> Unit:
    status = _status(directory, name)
    starts = not os.path.exists("{}/{}/down".format(directory, name))
    active, sub = _state(status, starts) if is_watched else ("failed", "not supervised")
    return Unit(
        name=name,
        active=active,
        sub=sub,
        enablement="enabled" if starts else "disabled",
        wanted=starts,
        age=int(max(0.0, time.time() - status.since)) if status else 0,
    )


def _state(status: Optional[_Status], starts: bool) -> Tuple[str, str]:
    if status is None:
        return "inactive", "dead"
    if status.state == _RUN:
        return ("active", "running") if status.is_wanted else ("deactivating", "stop")
    if status.is_wanted:
        return "activating", "auto-restart"
    return "inactive", "dead"


def _status(directory: str, name: str) -> Optional[_Status]:
    try:
        with open("{}/{}/supervise/status".format(directory, name), "rb") as file:
            data = file.read(_STATUS.size)
        seconds, nanoseconds, pid, _, want, _, state = _STATUS.unpack(data)
    except (OSError, struct.error):
        return None
    since = seconds - _EPOCH + nanoseconds / 1e9
    return _Status(since, _PID.unpack(pid)[0], want == b"u", state, data[:12].hex())


def _log(places: Places, log: str) -> List[str]:
    """Return the last lines of a service's logger: in the folders that its process was given."""
    processes = Processes(places)
    pid = read_text(log + "/supervise/pid")
    if not pid.isdigit():
        return []
    here = processes.link(int(pid), "cwd")
    for word in processes.words(int(pid))[1:]:
        lines = tail(os.path.join(here, word, "current"))
        if lines and not word.startswith("-"):
            return [_plain(line) for line in lines[-LINES:]]
    return []


def _plain(line: str) -> str:
    """Write a TAI64N time, as ``svlogd -t`` puts before a line, so that people can read it."""
    stamp, space, rest = line.partition(" ")
    if not (space and len(stamp) == 25 and stamp.startswith("@4")):
        return line
    try:
        seconds = int(stamp[1:17], 16) - _EPOCH
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds)) + " " + rest
    except (ValueError, OverflowError, OSError):
        return line


def _sv(processes: Processes, runsvdir: int) -> str:
    """Return the ``sv`` that came with a ``runsvdir``: it may lie beside it, and not on the search path."""
    beside = os.path.join(os.path.dirname(processes.link(runsvdir, "exe")), "sv")
    return beside if os.access(beside, os.X_OK) else "sv"


def _names(directory: str) -> List[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except OSError:
        return []
