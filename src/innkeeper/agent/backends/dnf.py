"""Update a Fedora, RHEL or kin guest by dnf."""

import re
import time
from typing import List

from innkeeper.agent.backends.backend import DOWNLOADED_PERCENT, RpmBackend, expect_success
from innkeeper.agent.backends.cause import cause
from innkeeper.agent.command import ask
from innkeeper.agent.places import read_text
from innkeeper.agent.report import Failure
from innkeeper.agent.run import Request
from innkeeper.agent.status import Status

#: ``dnf check-update`` ends so when there is something to update.
_UPDATES = 100
#: A repository that cannot be read is a failure, whatever the distribution's default; another dnf is named.
_DNF = ["dnf", "-y", "--setopt=*.skip_if_unavailable=0", "--setopt=exit_on_lock=True"]
#: dnf 4 ends with 0 all the same.
_SCRIPT_FAILED = re.compile(r"scriptlet failed, exit status|Error in \w+ scriptlet")
#: What wants a reboot when it is new.
_CORE = ["kernel-core", "kernel", "glibc", "systemd", "dbus", "dbus-daemon", "dbus-broker"]


class Dnf(RpmBackend):
    """dnf 4 and dnf 5, by what both print."""

    program = "dnf"

    def update(self, request: Request, packages: List[str]) -> None:
        """Refresh, download, apply."""
        report = self._report
        report.state(Status.SEARCHING, "Looking for updates")
        found = self._run([*_DNF, "--refresh", "check-update", *packages], may_stop=True)
        if found.code == 0:
            return
        if found.code != _UPDATES:
            expect_success(found, "Not looked for updates: dnf check-update")
        report.state(Status.DOWNLOADING, "Downloading updates", 0)
        argv = [*_DNF, "upgrade", *packages]
        expect_success(self._run([*argv, "--downloadonly"], may_stop=True), "The download")
        report.state(Status.APPLYING, "Applying updates", DOWNLOADED_PERCENT)
        self.has_acted = True
        done = expect_success(self._run_counted(argv), "dnf upgrade")
        self.held_back = read_skipped(done.output)
        if _SCRIPT_FAILED.search(done.output):
            raise Failure(f"dnf installed the packages, but a package's script failed: {cause(done.output)}")

    def needs_reboot(self) -> bool:
        """What ``dnf needs-restarting`` says: its exit code alone is also that of a missing plug-in."""
        answer = ask(["dnf", "needs-restarting", "-r"], timeout=300)
        if answer.code == 0 or "Reboot is required" in answer.output:
            return answer.code == 1 or super().needs_reboot()
        # The plug-in is missing.
        return self._has_newer_core() or super().needs_reboot()

    def _has_newer_core(self) -> bool:
        """Whether what runs from the boot on was installed since the boot."""
        since_boot = read_text(self._places.under("proc/uptime")).partition(" ")[0]
        booted = time.time() - float(since_boot or 0.0)
        times = ask(["rpm", "-q", "--qf", "%{INSTALLTIME}\n", *_CORE]).output.split()
        return bool(since_boot) and any(int(at) > booted for at in times if at.isdigit())


def read_skipped(text: str) -> List[str]:
    """Read the packages of the tables of what dnf skipped."""
    found: List[str] = []
    is_table = False
    for line in text.splitlines():
        if line.startswith("Skipping packages with"):
            is_table = True
        elif is_table and line.startswith(" ") and len(line.split()) >= 4:
            found.append(line.split()[0])
        elif not line.startswith(" "):
            is_table = False
    return found
