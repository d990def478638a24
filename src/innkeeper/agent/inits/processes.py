"""The guest's processes at one moment: who is whose child."""

import os
from typing import Dict, Iterator, List, Tuple

from innkeeper.agent.places import Places, read_text


class Processes:
    """A look at ``/proc``; a process that ends meanwhile is as one that was never there."""

    def __init__(self, places: Places) -> None:
        self._proc = places.under("proc")
        self._known = dict(_processes(self._proc))

    def named(self, name: str) -> List[int]:
        """Return the processes of this name, the oldest first."""
        return sorted(pid for pid, (found, _) in self._known.items() if found == name[:15])

    def is_of_root(self, pid: int) -> bool:
        """Return whether a process is root's, or of whoever has the whole ``/proc``."""
        try:
            return os.stat(f"{self._proc}/{pid}").st_uid in (0, os.stat(self._proc).st_uid)
        except OSError:
            return False

    def children(self, parent: int) -> List[int]:
        """Return the processes that this one has started, or has taken up."""
        return sorted(pid for pid, (_, found) in self._known.items() if found == parent)

    def lineage(self, pid: int) -> Iterator[int]:
        """Yield a process, who started it, and so on to the first of all."""
        for _ in range(len(self._known)):
            if pid not in self._known:
                return
            yield pid
            pid = self._known[pid][1]

    def is_there(self, pid: int) -> bool:
        """Return whether there is such a process."""
        return pid in self._known

    def words(self, pid: int) -> List[str]:
        """Return a process' command line; empty for the kernel's own, and for one that has ended."""
        try:
            with open("{}/{}/cmdline".format(self._proc, pid), "rb") as file:
                data = file.read(64 * 1024)
        except OSError:
            return []
        return [word.decode("utf-8", "replace") for word in data.rstrip(b"\0").split(b"\0")] if data else []

    def link(self, pid: int, name: str) -> str:
        """Return where ``exe`` or ``cwd`` of a process leads; empty where that cannot be seen."""
        try:
            return os.readlink("{}/{}/{}".format(self._proc, pid, name))
        except OSError:
            return ""

    def first_of(self, pid: int, known: Dict[int, str]) -> str:
        """Return what is known of a process, or of the nearest that it descends from; empty for nothing."""
        return next((known[one] for one in self.lineage(pid) if one in known), "")


def _processes(proc: str) -> Iterator[Tuple[int, Tuple[str, int]]]:
    """Yield number, name and parent; a zombie has ended."""
    try:
        names = os.listdir(proc)
    except OSError:
        return
    for number in filter(str.isdigit, names):
        # 77 (a name) with) S 1 77 …: the name may hold anything.
        head, bracket, rest = read_text("{}/{}/stat".format(proc, number)).rpartition(") ")
        fields = rest.split()
        if bracket and len(fields) > 1 and fields[0] not in ("Z", "X") and fields[1].isdigit():
            yield int(number), (head.partition("(")[2], int(fields[1]))
