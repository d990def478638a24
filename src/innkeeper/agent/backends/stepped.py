"""Updates in three steps: look, download, apply."""

import re
from typing import List

from innkeeper.agent.backends.backend import DOWNLOADED_PERCENT, Backend
from innkeeper.agent.command import Answer, Conversation
from innkeeper.agent.journal import PackageChange
from innkeeper.agent.packages import Installed
from innkeeper.agent.places import Places
from innkeeper.agent.report import Report
from innkeeper.agent.run import Request
from innkeeper.agent.status import Status

_COUNT = re.compile(r"(\d{1,6})/(\d{1,6})\b")


class Stepped(Backend):
    """A package manager that can look and download without changing anything but its caches."""

    can_prepare = True
    #: The first line of this form that it prints as it applies tells that packages are being changed.
    _acts = re.compile("")
    #: What wants a reboot when it is new, where no program of the guest's says so.
    _core = re.compile(r"\Z.")

    def __init__(self, places: Places, report: Report) -> None:
        super().__init__(places, report)
        self._applied: List[str] = []
        #: Of the packages that were named, those that are locked: one would stop the others.
        self._locked: List[str] = []
        #: What was installed before what changes packages was run.
        self._before: Installed = {}

    def prepare(self, packages: List[str]) -> List[PackageChange]:
        """Look, and download."""
        return self._fetch(packages, refresh=True)

    def update(self, request: Request, packages: List[str]) -> None:
        """Look, download and apply."""
        planned = self._fetch(packages, refresh=not request.is_prepared)
        if planned:
            self._report.state(Status.APPLYING, f"Applying {count(planned)}", DOWNLOADED_PERCENT)
            self._applied = [name for name, _, _ in planned]
            self._apply(self._without_locked(packages))

    def needs_reboot(self) -> bool:
        """Whether the core of the system was updated."""
        return any(self._core.match(name) for name in self._applied) or super().needs_reboot()

    def _fetch(self, packages: List[str], refresh: bool) -> List[PackageChange]:
        self._report.state(Status.SEARCHING, "Looking for updates")
        planned = self.look(packages, refresh)
        if packages and not self._without_locked(packages):
            return []  # without a name it would be an update of everything
        if planned:
            self._report.state(Status.DOWNLOADING, f"Downloading {count(planned)}", 0)
            planned = self._download(self._without_locked(packages), planned)
        return planned

    def _without_locked(self, packages: List[str]) -> List[str]:
        return [name for name in packages if name not in self._locked]

    def _download(self, packages: List[str], planned: List[PackageChange]) -> List[PackageChange]:
        """Download; returns what is left of the plan where only now more is known."""
        raise NotImplementedError

    def _apply(self, packages: List[str]) -> None:
        """Apply what was downloaded; raises ``Failure``."""
        raise NotImplementedError

    def _run_applying(self, argv: List[str]) -> Answer:
        """Run what changes packages and prints ``3/10`` as it goes; it is past stopping.

        One whose lock was waited for in vain has changed nothing, though it has said that it begins.
        """
        self._before = self.installed()
        answer = self._past_locks(lambda: self._converse(argv))
        self.has_acted = self.has_acted or self._has_begun
        return answer

    def _converse(self, argv: List[str]) -> Answer:
        try:
            return Conversation(self._take_line, lambda: False).run(argv)
        except OSError:  # its lines find no room on the disk
            self.has_acted = self.has_acted or self._has_begun
            raise

    def _is_changing(self) -> bool:
        # rpm takes its lock after zypper has said that it begins.
        return self._has_begun and self.installed() != self._before

    def _take_line(self, line: str) -> None:
        self._has_begun = self._has_begun or bool(self._acts.match(line))
        self._report.output(line)
        found = _COUNT.search(line)
        if found and 0 < int(found.group(1)) <= int(found.group(2)):
            share = int(found.group(1)) / int(found.group(2))
            self._report.progress(int(DOWNLOADED_PERCENT + share * (99 - DOWNLOADED_PERCENT)), line.strip())


def count(planned: List[PackageChange]) -> str:
    """Return how many packages these are, in words."""
    return f"{len(planned)} package{'' if len(planned) == 1 else 's'}"
