"""System V: a script for each service, and a directory of links for each runlevel."""

import os
import re
from typing import Dict, Iterator, List, Match, Optional, Set, Tuple

from innkeeper.agent.command import ask, begin
from innkeeper.agent.inits.init import Init, Owner
from innkeeper.agent.inits.openrc import OpenRc
from innkeeper.agent.inits.processes import Processes
from innkeeper.agent.inits.runlevel import runlevel
from innkeeper.agent.inits.syslog import last_words
from innkeeper.agent.inits.unit import Look, Unit
from innkeeper.agent.places import Places, read_text

#: Where scripts and links are, by distribution.
_SCRIPTS = ("etc/init.d", "etc/rc.d/init.d")
_LEVELS = ("etc/rc{}.d", "etc/rc.d/rc{}.d")
#: Where nobody tells the runlevel: that of Debian, and of those with rpm.
_USUAL = ("2", "3")
_SINGLE = ("S", "s", "1")
_LINK = re.compile(r"S\d\d(.+)")
#: What a status says by its exit code, in the Linux Standard Base ("Init Script Actions"); any other, and
#: no such action, says nothing.
_STATES = {
    0: ("active", "running"),
    1: ("failed", "dead, with its process file"),
    2: ("failed", "dead, with its lock file"),
    3: ("inactive", "not running"),
}
_STATUS_S = 15.0
#: Answers ``status`` for the scripts that it interprets.
_INTERPRETER = "init-d-script"
_DAEMON = re.compile(r"^[ \t]*(?:DAEMON|daemon|exec)=[\"']?([^\s\"';]+)", re.MULTILINE)
_PID_FILE = re.compile(
    r"^(?:[ \t]*(?:PIDFILE|pidfile|PID_FILE|pid_file)=[\"']?|#[ \t]*pidfile:[ \t]*)([^\s\"';]+)", re.MULTILINE
)
_NAME = re.compile(r"^[ \t]*(?:NAME|prog|name)=[\"']?([\w.-]+)", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


class SysVinit(Init):
    """The scripts; what the first process itself keeps running is told by its table."""

    name = "System V init"
    #: The first process itself does, by its table; links for runlevels are in guests of systemd's too.
    takes_services = False

    @classmethod
    def runs(cls, places: Places) -> bool:
        """Return whether there are links for a runlevel, and nobody who runs the scripts in another way."""
        return cls.is_installed(places) and not places.has_systemd and not OpenRc.runs(places)

    @classmethod
    def is_installed(cls, places: Places) -> bool:
        """Return whether there are links for a runlevel."""
        return any(_level_directory(places, level) for level in (*_USUAL, "5"))

    def look(self) -> Look:
        """Ask each script of this runlevel for its service's status; what has no answer is not told."""
        units = []
        for name, path in self._wanted():
            state = _status(path) if _can_say(read_text(path)) else None
            if state is not None:
                units.append(
                    Unit(name=name, active=state[0], sub=state[1], enablement="enabled", wanted=True)
                )
        level = runlevel(self._places)
        return Look(
            units=units,
            failed=[unit.name for unit in units if unit.active == "failed"],
            files=[name for name, path in self._scripts() if self._has_program(read_text(path))],
            state="maintenance" if level in _SINGLE else "starting" if self._is_starting() else "",
            mounts={},
        )

    def owner(self) -> Owner:
        """Return what knows a service's processes by its script: by their file, and by their program."""
        processes = Processes(self._places)
        programs: Dict[str, str] = {}
        known: Dict[int, str] = {}
        for name, path in self._scripts():
            text = read_text(path)
            number = read_text(self._places.under(_pid_file(text).lstrip("/"))).partition("\n")[0]
            if number.isdigit() and processes.is_there(int(number)):
                known[int(number)] = name
            programs.setdefault(_value(_DAEMON.search(text), text) or path, name)

        def owner(pid: int) -> str:
            by_file = processes.first_of(pid, known)
            return by_file or programs.get(processes.link(pid, "exe").replace(" (deleted)", ""), "")

        return owner

    def evidence(self, unit: str) -> List[str]:
        """Return what its script says, and its last lines in syslog's files."""
        path = dict(self._scripts()).get(unit)
        if path is None:
            return []
        said = ask([path, "status"], timeout=_STATUS_S) if _can_say(read_text(path)) else None
        lines = [] if said is None else ["exit code {} of its status".format(said.code), *_last(said.output)]
        return [*lines, *(last_words(self._places, unit) or last_words(self._places, self._program(path)))]

    def restart(self, units: List[str]) -> List[str]:
        """Begin it by their scripts, one after the other."""
        paths = dict(self._scripts())
        chosen = [unit for unit in units if unit in paths]
        words = ["/bin/sh", "-c", 'cd /; for script do "$script" restart; done', "sh"]
        return chosen if chosen and begin([*words, *(paths[unit] for unit in chosen)]) else []

    def _program(self, path: str) -> str:
        text = read_text(path)
        return os.path.basename(_value(_DAEMON.search(text), text)) or os.path.basename(path)

    def _has_program(self, text: str) -> bool:
        """Return whether a script's program is there: a package that was removed leaves its script."""
        path = _value(_DAEMON.search(text), text)
        return not path.startswith("/") or os.path.exists(self._places.under(path.lstrip("/")))

    def _wanted(self) -> Iterator[Tuple[str, str]]:
        """Yield name and script of what this runlevel starts."""
        scripts = dict(self._scripts())
        levels = [runlevel(self._places)] if runlevel(self._places) not in ("", *_SINGLE) else list(_USUAL)
        directory = next(filter(None, (_level_directory(self._places, level) for level in levels)), "")
        seen: Set[str] = set()
        for link in _names(directory):
            found = _LINK.match(link)
            name = os.path.basename(os.path.realpath(os.path.join(directory, link))) if found else ""
            if name in scripts and name not in seen and self._has_program(read_text(scripts[name])):
                seen.add(name)
                yield name, scripts[name]

    def _scripts(self) -> Iterator[Tuple[str, str]]:
        for folder in map(self._places.under, _SCRIPTS):
            for name in _names(folder):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and os.access(path, os.X_OK):
                    yield name, path

    def _is_starting(self) -> bool:
        """Return whether the services of a runlevel are being started at this moment."""
        processes = Processes(self._places)
        return bool(processes.named("startpar") or processes.named("rc") or processes.named("rcS"))


def _level_directory(places: Places, level: str) -> str:
    for pattern in _LEVELS:
        path = places.under(pattern.format(level))
        if any(map(_LINK.match, _names(path))):
            return path
    return ""


def _can_say(text: str) -> bool:
    """Return whether a script knows the action: one that does not might take it for a start."""
    return "status" in text or _INTERPRETER in text.partition("\n")[0]


def _status(path: str) -> Optional[Tuple[str, str]]:
    return _STATES.get(ask([path, "status"], timeout=_STATUS_S).code)


def _pid_file(text: str) -> str:
    return _value(_PID_FILE.search(text), text)


def _value(found: Optional[Match[str]], text: str) -> str:
    """Return what a script sets, with its own name put in; empty where it takes more to know."""
    if found is None:
        return ""
    name, daemon = _NAME.search(text), _DAEMON.search(text)
    known = {"NAME": name, "prog": name, "name": name, "DAEMON": daemon if daemon is not found else None}

    def put_in(variable: Match[str]) -> str:
        value = known.get(variable.group(1))
        return value.group(1) if value is not None and "$" not in value.group(1) else "$"

    value = _VARIABLE.sub(put_in, found.group(1))
    return "" if "$" in value or "`" in value else value


def _last(output: str) -> List[str]:
    return [line for line in output.strip().splitlines() if line.strip()][-1:]


def _names(directory: str) -> List[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except OSError:
        return []
