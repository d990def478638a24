"""Update a Fedora, RHEL or kin guest by dnf."""

from typing import List

from innkeeper.agent.backends.backend import DOWNLOADED_PERCENT, RpmBackend, expect_success, last_line
from innkeeper.agent.command import ask
from innkeeper.agent.report import Failure
from innkeeper.agent.run import Request
from innkeeper.agent.status import Status

#: ``dnf check-update`` ends so when there is something to update.
_UPDATES = 100


class Dnf(RpmBackend):
    """dnf 4 and dnf 5, by what both print."""

    program = "dnf"

    def update(self, request: Request, packages: List[str]) -> None:
        """Refresh, download, apply."""
        report = self._report
        report.state(Status.SEARCHING, "Looking for updates")
        found = self._run(["dnf", "-y", "--refresh", "check-update", *packages], may_stop=True)
        if found.code == 0:
            return
        if found.code != _UPDATES:
            raise Failure(f"dnf check-update failed (exit code {found.code}): {last_line(found)}")
        report.state(Status.DOWNLOADING, "Downloading updates", 0)
        argv = ["dnf", "-y", "upgrade", *packages]
        expect_success(self._run([*argv, "--downloadonly"], may_stop=True), "The download")
        report.state(Status.APPLYING, "Applying updates", DOWNLOADED_PERCENT)
        expect_success(self._run_counted(argv), "dnf upgrade")

    def needs_reboot(self) -> bool:
        """What ``dnf needs-restarting`` says: its exit code alone is also that of a missing plug-in."""
        answer = ask(["dnf", "needs-restarting", "-r"], timeout=300)
        advised = answer.code == 1 and "Reboot is required" in answer.output
        return advised or super().needs_reboot()
