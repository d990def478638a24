"""``/etc/inittab`` of BusyBox and of System V: what init itself starts anew whenever it ends."""

import os
import signal
from typing import Dict, Iterator, List, NamedTuple, Set

from innkeeper.agent.inits.agent_files import BUNDLE, LAUNCHER, SERVICE
from innkeeper.agent.inits.init import Init, Main, Owner
from innkeeper.agent.inits.processes import Processes
from innkeeper.agent.inits.runlevel import runlevel
from innkeeper.agent.inits.syslog import last_words
from innkeeper.agent.inits.unit import Look, Unit
from innkeeper.agent.places import Places, read_text, write_durably

_TABLE = "etc/inittab"
#: First processes that read such a table; with others one may lie there too.
_READERS = ("init", "busybox", "linuxrc", "")
#: What somebody may log in at, whether or not there is a terminal.
_LOGINS = ("getty", "agetty", "mingetty", "login", "sulogin", "sh", "-sh", "askfirst")
#: Among the first words of a process are its interpreter, that one's options, and its script.
_FIRST_WORDS = 5
#: System V has a name of four characters at most, and runlevels; BusyBox has a terminal, so it gets none.
_SYSTEM_V = "ika:2345:respawn:/{} run\n".format(LAUNCHER)
_BUSYBOX = "::respawn:/{} run\n".format(LAUNCHER)
#: The script that starts the services of a System V runlevel, which the agent does not wait for.
_RUNLEVEL_SCRIPT = "/rc"


class _Entry(NamedTuple):
    """One line: what is kept running."""

    name: str
    words: List[str]


class Inittab(Init):
    """The first process, as far as it looks after anything itself."""

    name = "init"

    @classmethod
    def runs(cls, places: Places) -> bool:
        """Return whether the first process has such a table."""
        first = read_text(places.under("proc/1/comm"))
        return cls.is_installed(places) and first in _READERS and not places.has_systemd

    @classmethod
    def is_installed(cls, places: Places) -> bool:
        """Return whether there is such a table."""
        return os.path.isfile(places.under(_TABLE))

    def look(self) -> Look:
        """Return which of its programs run: of one that does not look like its line nothing is told."""
        running = self.mains()
        names = sorted(entry.name for entry in self._entries())
        units = [
            Unit(name=name, sub="running", enablement="enabled", wanted=True) for name in sorted(running)
        ]
        return Look(units=units, failed=[], files=names, state="", mounts={})

    def mains(self) -> Dict[str, Main]:
        """Return those that run. A table knows no numbers: processes are known by their words."""
        processes = Processes(self._places)
        free = {pid: processes.words(pid) for pid in processes.children(1)}
        found: Dict[str, Main] = {}
        # Whoever has a line's very words is it; one that runs as something else may have a namesake.
        for is_it in (_has_words, _is_program):
            for entry in self._entries():
                pid = next((pid for pid, words in free.items() if is_it(self._places, entry, words)), 0)
                if pid and entry.name not in found:
                    found[entry.name] = Main(pid)
                    del free[pid]
        return found

    def owner(self) -> Owner:
        """Return what looks for the program that a process descends from."""
        processes = Processes(self._places)
        known = {main.pid: name for name, main in self.mains().items()}
        return lambda pid: processes.first_of(pid, known)

    def evidence(self, unit: str) -> List[str]:
        """Return whether it runs, and its last lines in syslog's files."""
        if not any(entry.name == unit for entry in self._entries()):
            return []
        main = self.mains().get(unit)
        state = "it runs, as process {}".format(main.pid) if main else "it does not run"
        return [state, *last_words(self._places, unit)]

    def restart(self, units: List[str]) -> List[str]:
        """End them: init starts them anew."""
        mains = self.mains()
        return [unit for unit in units if unit in mains and _end(mains[unit].pid)]

    def install(self) -> str:
        """Add a line for the agent, and let init read its table again."""
        lines = [line for line in self._lines() if LAUNCHER not in line]
        services = [number for number, line in enumerate(lines) if _starts_services(line)]
        # Before the services of a runlevel are started: one that hangs is then told of.
        at = services[0] if services else len(lines)
        lines.insert(at, _BUSYBOX if self._is_busybox() else _SYSTEM_V)
        self._write(lines)
        return "Installed; init starts it." if self._is_read() else "Installed; it starts with the next boot."

    def remove(self) -> bool:
        """Take the line away; init goes on until it is told, and ends the agent then."""
        lines = self._lines()
        kept = [line for line in lines if LAUNCHER not in line]
        if len(kept) == len(lines):
            return False
        self._write(kept)
        main = self.mains().get(SERVICE)
        if self._is_read() and main is not None:
            _end(main.pid)
        return True

    def _entries(self) -> Iterator[_Entry]:
        """Yield what is to run in this runlevel; BusyBox has none, and takes every line."""
        level = "" if self._is_busybox() else runlevel(self._places)
        seen: Dict[str, int] = {}
        for line in self._lines():
            fields = line.strip().split(":", 3)
            if fields[0].startswith("#") or len(fields) < 4 or fields[2] != "respawn":
                continue
            words = fields[3].lstrip("+-@ ").split()
            name = os.path.basename(words[0]) if words else ""
            if not name or name in _LOGINS or (fields[1] and level and level not in fields[1]):
                continue
            seen[name] = seen.get(name, 0) + 1
            yield _Entry(name if seen[name] == 1 else "{}-{}".format(name, seen[name]), words)

    def _is_busybox(self) -> bool:
        """Return whether the table is BusyBox's: by the program that reads it, else by what it holds."""
        for path in map(self._places.under, ("proc/1/exe", "sbin/init")):
            try:
                # A link may lead out of a guest that is no root of ours, as by "/bin/busybox".
                if os.path.islink(path) and os.path.basename(os.readlink(path)) == "busybox":
                    return True
                with open(path, "rb") as file:
                    return b"BusyBox" in file.read()
            except OSError:
                continue
        return not any(line.strip().split(":")[2:3] == ["initdefault"] for line in self._lines())

    def _lines(self) -> List[str]:
        try:
            with open(self._places.under(_TABLE), encoding="utf-8", errors="surrogateescape") as file:
                return [line.rstrip("\n") + "\n" for line in file]
        except OSError:
            return []

    def _write(self, lines: List[str]) -> None:
        path = self._places.under(_TABLE)
        mode = os.stat(path).st_mode & 0o777
        write_durably(path, "".join(lines).encode("utf-8", "surrogateescape"))
        os.chmod(path, mode)

    def _is_read(self) -> bool:
        """Make init read its table; returns whether there is one: an agent under its own root has none."""
        return self._places.root == "/" and _signal(1, signal.SIGHUP)


def _starts_services(line: str) -> bool:
    fields = line.strip().split(":", 3)
    words = fields[3].split() if len(fields) == 4 else []
    return bool(words) and fields[2] == "wait" and words[0].endswith(_RUNLEVEL_SCRIPT) and len(words) > 1


def _has_words(places: Places, entry: _Entry, words: List[str]) -> bool:
    return words == entry.words


def _is_program(places: Places, entry: _Entry, words: List[str]) -> bool:
    return bool(_programs(places, entry.words) & set(words[:_FIRST_WORDS]))


def _programs(places: Places, words: List[str]) -> Set[str]:
    """Return what a line's process may be called: its program, or what a script of one becomes."""
    if words[0] == "/" + LAUNCHER:
        return {"/" + BUNDLE}
    found = {words[0]}
    text = read_text(places.under(words[0].lstrip("/")))
    if text.startswith("#!"):
        for line in text.splitlines():
            if line.strip().startswith("exec ") and len(line.split()) > 1:
                found.add(line.split()[1].strip("\"'"))
    return found


def _end(pid: int) -> bool:
    return _signal(pid, signal.SIGTERM)


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True
