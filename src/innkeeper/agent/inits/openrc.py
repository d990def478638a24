"""OpenRC: services in runlevels, some of them kept running by ``supervise-daemon``."""

import os
import time
from typing import Iterator, List, Optional, Set, Tuple

from innkeeper.agent.command import ask, begin
from innkeeper.agent.inits.agent_files import LAUNCHER, SERVICE, put, take_away
from innkeeper.agent.inits.init import Init, Owner
from innkeeper.agent.inits.processes import Processes
from innkeeper.agent.inits.syslog import last_words
from innkeeper.agent.inits.unit import Look, Unit
from innkeeper.agent.places import Places, read_text
from innkeeper.agent.plugin import PluginError

_STATE = "run/openrc"
_SCRIPTS = ("etc/init.d", "usr/local/etc/init.d")
_RUNLEVELS = "etc/runlevels"
#: What every boot goes through before its runlevel.
_EARLY = ("sysinit", "boot")
_PROGRAM = "sbin/openrc-run"
_LINK = "etc/runlevels/default/" + SERVICE
_SCRIPT_PATH = "etc/init.d/" + SERVICE
_SCRIPT = """\
#!/sbin/openrc-run
description="Innkeeper task agent"
supervisor=supervise-daemon
command=/{}
command_args=run
respawn_delay=1
respawn_max=0
# Its updates go on when it is stopped.
rc_cgroup_cleanup=no

depend() {{
	after localmount
	keyword -shutdown
}}
"""


class OpenRc(Init):
    """Whichever program is the first process: OpenRC's own, BusyBox' or that of System V."""

    name = "OpenRC"

    @classmethod
    def runs(cls, places: Places) -> bool:
        """Return whether it has brought this guest into a runlevel."""
        return os.path.exists(places.under(_STATE + "/softlevel"))

    @classmethod
    def is_installed(cls, places: Places) -> bool:
        """Return whether it can run services, and has a runlevel."""
        is_there = os.path.exists(places.under(_PROGRAM)) or os.path.exists(places.under("usr/" + _PROGRAM))
        return is_there and os.path.isdir(places.under(_RUNLEVELS + "/default"))

    def look(self) -> Look:
        """Read what it writes down below ``/run/openrc``, and whether its daemons are there."""
        processes = Processes(self._places)
        wanted = self._wanted()
        names = sorted({*wanted, *self._names("started"), *self._names("starting")})
        units = [self._unit(name, name in wanted, processes) for name in names]
        marks = (_STATE + "/rc.starting", _STATE + "/rc.stopping")
        is_busy = any(os.path.exists(self._places.under(mark)) for mark in marks)
        level = read_text(self._places.under(_STATE + "/softlevel"))
        return Look(
            units=units,
            failed=[unit.name for unit in units if unit.active == "failed"],
            files=sorted(set(self._scripts())),
            state="starting" if is_busy else "maintenance" if level == "single" else "",
            mounts={},
        )

    def owner(self) -> Owner:
        """Return what looks for the daemon, or its supervisor, that a process descends from."""
        processes = Processes(self._places)
        known = {}
        for name in self._names("started"):
            known.update({pid: name for pid in self._daemons(name) if processes.is_there(pid)})
        return lambda pid: processes.first_of(pid, known) or _of_group(self._places, pid)

    def evidence(self, unit: str) -> List[str]:
        """Return its state, and its last lines in syslog's files."""
        if unit not in self._scripts():
            return []
        told = self._unit(unit, unit in self._wanted(), Processes(self._places))
        words = ["{} ({})".format(told.active, told.sub)]
        if told.restarts:
            words.append("started again {} times".format(told.restarts))
        if told.age:
            words.append(
                "since {}".format(time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(_ago(told.age))))
            )
        return [", ".join(words), *last_words(self._places, unit)]

    def restart(self, units: List[str]) -> List[str]:
        """Begin it by ``rc-service``, one after the other; it takes along what needs them."""
        chosen = [unit for unit in units if unit in self._names("started")]
        words = ["/bin/sh", "-c", 'for service do rc-service "$service" restart; done', "sh", *chosen]
        return chosen if chosen and begin(words) else []

    def install(self) -> str:
        """Write a service that is supervised, add it to the default runlevel, and start it."""
        put(self._places, _SCRIPT_PATH, _SCRIPT.format(LAUNCHER).encode(), 0o755)
        link = self._places.under(_LINK)
        os.makedirs(os.path.dirname(link), exist_ok=True)
        if not os.path.lexists(link):
            os.symlink("/" + _SCRIPT_PATH, link)
        if not self.runs(self._places):
            return "Installed; it starts with the next boot."
        answer = ask(["rc-service", SERVICE, "restart"])
        if answer.code != 0:
            raise PluginError("rc-service failed: " + answer.output.strip()[-300:])
        return "Installed and started."

    def remove(self) -> bool:
        """Stop the service, and take it away."""
        there = os.path.lexists(self._places.under(_SCRIPT_PATH))
        if there and self.runs(self._places):
            ask(["rc-service", SERVICE, "stop"])
        take_away(self._places, _LINK, _SCRIPT_PATH)
        return there

    def _unit(self, name: str, is_wanted: bool, processes: Processes) -> Unit:
        active, sub = self._state(name, processes)
        return Unit(
            name=name,
            active=active,
            sub=sub,
            restarts=_number(self._option(name, "start_count")),
            enablement="enabled" if is_wanted else "disabled",
            wanted=is_wanted,
            age=self._age(name),
        )

    def _state(self, name: str, processes: Processes) -> Tuple[str, str]:
        if name in self._names("starting"):
            return "activating", "starting"
        if name in self._names("inactive"):
            return "activating", "inactive"  # it waits for something, as a network for its cable
        if name not in self._names("started"):
            return ("failed", "failed") if name in self._names("failed") else ("inactive", "stopped")
        daemons = self._daemons(name)
        child = self._option(name, "child_pid")
        if not all(map(processes.is_there, daemons)):
            return "failed", "crashed"
        if child and not processes.is_there(_number(child)):
            return "activating", "auto-restart"
        return "active", "started"

    def _daemons(self, name: str) -> List[int]:
        """Return the processes that it noted of a service; 0 for one that has no number any more.

        Debian's ``start-stop-daemon`` is not OpenRC's, and notes none: then there is the script's own word.
        """
        folder = self._places.under("{}/daemons/{}".format(_STATE, name))
        noted = [_pid_file(read_text(folder + "/" + each)) for each in _names(folder)]
        paths = [path for path in noted if path] or [self._option(name, "pidfile")]
        return [self._pid(path) for path in paths if path]

    def _pid(self, path: str) -> int:
        return _number(read_text(self._places.under(path.lstrip("/"))).partition("\n")[0])

    def _age(self, name: str) -> int:
        """Return for how long it has run: by its last start, or by when it was marked as started."""
        try:
            began = time.mktime(time.strptime(self._option(name, "start_time"), "%Y-%m-%d %H:%M:%S"))
        except (ValueError, OverflowError):
            began = self._marked(name)
        return int(max(0.0, time.time() - began)) if began else 0

    def _marked(self, name: str) -> float:
        try:
            return os.lstat(self._places.under("{}/started/{}".format(_STATE, name))).st_mtime
        except OSError:
            return 0.0

    def _option(self, name: str, option: str) -> str:
        return read_text(self._places.under("{}/options/{}/{}".format(_STATE, name, option)))

    def _names(self, state: str) -> Set[str]:
        return _names(self._places.under("{}/{}".format(_STATE, state)))

    def _wanted(self) -> Set[str]:
        level = read_text(self._places.under(_STATE + "/softlevel"))
        return {name for each in (*_EARLY, level or "default") for name in self._in_level(each)}

    def _in_level(self, level: str) -> Iterator[str]:
        """Yield the services of a runlevel, and of those stacked below it."""
        folder = self._places.under("{}/{}".format(_RUNLEVELS, level))
        for name in _names(folder):
            if os.path.isdir("{}/{}".format(folder, name)):
                yield from _names("{}/{}".format(folder, name))
            else:
                yield name

    def _scripts(self) -> Iterator[str]:
        for folder in _SCRIPTS:
            yield from _names(self._places.under(folder))


def _of_group(places: Places, pid: int) -> str:
    """Return the service of a process by its control group: ``openrc:/nginx``, or ``/openrc.nginx``."""
    for line in read_text(places.under("proc/{}/cgroup".format(pid))).splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers == "name=openrc":
            return path.strip("/").partition("/")[0]
        if not controllers and path.startswith("/openrc."):
            return path[len("/openrc.") :].partition("/")[0]
    return ""


def _pid_file(noted: str) -> Optional[str]:
    """Return what OpenRC noted of a daemon: ``pidfile=/run/crond.pid``."""
    lines = (line.partition("=") for line in noted.splitlines())
    return next((value for name, _, value in lines if name == "pidfile"), None)


def _ago(seconds: int) -> float:
    return time.time() - seconds


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _names(folder: str) -> Set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()
