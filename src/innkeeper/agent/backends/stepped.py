"""Updates in three steps: look, download, apply."""

from typing import List

from innkeeper.agent.backends.backend import DOWNLOADED_PERCENT, Backend
from innkeeper.agent.journal import PackageChange
from innkeeper.agent.run import Request
from innkeeper.agent.status import Status


class Stepped(Backend):
    """A package manager that can look and download without changing anything but its caches."""

    can_prepare = True

    def prepare(self, packages: List[str]) -> List[PackageChange]:
        """Look, and download."""
        return self._fetch(packages, refresh=True)

    def update(self, request: Request, packages: List[str]) -> None:
        """Look, download and apply."""
        planned = self._fetch(packages, refresh=not request.is_prepared)
        if planned:
            self._report.state(Status.APPLYING, f"Applying {count(planned)}", DOWNLOADED_PERCENT)
            self._apply(packages)

    def _fetch(self, packages: List[str], refresh: bool) -> List[PackageChange]:
        self._report.state(Status.SEARCHING, "Looking for updates")
        planned = self.look(packages, refresh)
        if planned:
            self._report.state(Status.DOWNLOADING, f"Downloading {count(planned)}", 0)
            planned = self._download(packages, planned)
        return planned

    def _download(self, packages: List[str], planned: List[PackageChange]) -> List[PackageChange]:
        """Download; returns what is left of the plan where only now more is known."""
        raise NotImplementedError

    def _apply(self, packages: List[str]) -> None:
        """Apply what was downloaded; sets ``has_acted`` with the first act, raises ``Failure``."""
        raise NotImplementedError


def count(planned: List[PackageChange]) -> str:
    """Return how many packages these are, in words."""
    return f"{len(planned)} package{'' if len(planned) == 1 else 's'}"
