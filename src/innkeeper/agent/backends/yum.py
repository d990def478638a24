"""Update an old guest of RHEL's kin by yum 3."""

import shutil
from typing import List

from innkeeper.agent.backends.dnf import Dnf
from innkeeper.agent.places import Places
from innkeeper.agent.report import Report


class Yum(Dnf):
    """yum 3, where it is no other name of dnf; after its sources, and not tried."""

    program = "yum"
    # Its default for repositories is the one that is wanted.
    _options = ("-y", "--setopt=exit_on_lock=1")
    _ask_restarting = ("needs-restarting", "-r")

    def __init__(self, places: Places, report: Report) -> None:
        super().__init__(places, report)
        self._version_5 = False

    @classmethod
    def is_present(cls, places: Places) -> bool:
        """Whether this guest has it, and no dnf."""
        return super().is_present(places) and shutil.which("dnf") is None

    def _check_update(self, packages: List[str], refresh: bool) -> str:
        if refresh:
            self._run([*self._dnf(), "clean", "expire-cache"], may_stop=True)
        return super()._check_update(packages, refresh=False)
