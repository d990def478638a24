"""The interface of a package manager's back end."""

import os
import shutil
from typing import Callable, List, Optional, Set

from innkeeper.agent.backends.cause import cause
from innkeeper.agent.backends.locks import WAIT_S, past_locks
from innkeeper.agent.command import Answer, OnLine
from innkeeper.agent.journal import PackageChange
from innkeeper.agent.packages import Installed
from innkeeper.agent.places import Places
from innkeeper.agent.report import Failure, Report
from innkeeper.agent.run import Request

#: Where downloading ends and applying begins, in percent of the whole update.
DOWNLOADED_PERCENT = 40
#: Why a package is held back.
UNMET = "its dependencies are not met"


class Backend:
    """One package manager, used by the worker. Every step looks at what is there before it acts."""

    #: The program whose presence says that the guest has it.
    program = ""
    #: Whether it can refresh, simulate and download before anything is protected.
    can_prepare = False

    def __init__(self, places: Places, report: Report) -> None:
        self._places = places
        self._report = report
        #: Packages that have a newer version and were left as they are.
        self.held_back: List[str] = []
        #: What of it comes from a security source; ``None`` where the manager does not tell.
        self.security: Optional[Set[str]] = None
        #: How long another package manager is waited for before each call, in seconds.
        self.lock_wait_s = WAIT_S
        #: Why some sources could not be looked at.
        self.not_looked: List[str] = []
        #: Whether the guest may have been changed: set before the first act that can, and never taken back.
        self.has_acted = False
        #: Whether the program that runs has begun to change packages.
        self._has_begun = False

    @classmethod
    def is_present(cls, places: Places) -> bool:
        """Whether this guest has it."""
        return shutil.which(cls.program) is not None

    def look(self, packages: List[str], refresh: bool = True) -> List[PackageChange]:
        """Return what an update would change; sets ``held_back`` and ``not_looked``, raises ``Failure``."""
        raise Failure("This guest has no package manager that its agent knows.")

    def prepare(self, packages: List[str]) -> Optional[List[PackageChange]]:
        """Refresh the sources, simulate the update, and download it; raises ``Failure``.

        The guest works on meanwhile and has no undo point: nothing is touched but caches, and nothing is
        repaired, stopped or started. Returns what the update will change, and sets ``held_back`` and
        ``not_looked``; ``None`` where that cannot be said before something is repaired.
        """
        raise NotImplementedError

    def update(self, request: Request, packages: List[str]) -> None:
        """Bring the packages (all, where none is named) up to date; raises ``Failure``.

        Where ``request.is_prepared``, the sources were refreshed and the packages downloaded a while ago.
        """
        raise NotImplementedError

    def installed(self) -> Installed:
        """What is installed."""
        return {}

    def complaints(self) -> List[str]:
        """Return what is wrong with the package database, a line each; nothing when it is consistent."""
        return []

    def needs_reboot(self) -> bool:
        """Whether what was updated wants a reboot."""
        return any(os.path.exists(mark) for mark in self._places.reboot_marks)

    def _run(self, argv: List[str], may_stop: bool = False, on_status: Optional[OnLine] = None) -> Answer:
        return self._past_locks(lambda: self._report.conversation(may_stop).run(argv, on_status))

    def _past_locks(self, call: Callable[[], Answer]) -> Answer:
        def begin() -> Answer:
            self._has_begun = False
            return call()

        return past_locks(self._places, self._report, begin, self.lock_wait_s, self._is_changing)

    def _is_changing(self) -> bool:
        return self._has_begun


def expect_success(answer: Answer, what: str) -> Answer:
    """Return the answer, or raise ``Failure`` with what the program says is the cause."""
    if answer.code != 0:
        raise Failure(f"{what} failed (exit code {answer.code}): {cause(answer.output)}")
    return answer
