"""Update a SUSE guest by zypper."""

import re
from typing import List

from innkeeper.agent.backends.backend import DOWNLOADED_PERCENT, RpmBackend
from innkeeper.agent.backends.cause import cause
from innkeeper.agent.command import Answer, ask
from innkeeper.agent.report import Failure
from innkeeper.agent.run import Request
from innkeeper.agent.status import Status

#: zypper's exit codes that are no plain success and no failure.
_REBOOT_NEEDED = 102
_RUN_AGAIN = 103
#: A repository was skipped: what the others have is applied.
_REPOSITORY_SKIPPED = 106
_SCRIPT_FAILED = 107
#: ``zypper refresh`` ends so where repositories could not be read, some or all.
_SOME_SKIPPED = 4
_NONE_READ = re.compile(r"Could not refresh the repositories|no enabled repositories", re.IGNORECASE)
#: zypper ends with 0 all the same.
_POSTTRANS = re.compile(r"%posttrans script failed", re.IGNORECASE)
_GOOD = (0, _REBOOT_NEEDED, _REPOSITORY_SKIPPED)
#: It asks to be run again after it has updated itself; more than this is a loop.
_MOST_RUNS = 3


class Zypper(RpmBackend):
    """zypper, by its exit codes."""

    program = "zypper"
    _reboot_asked = False

    def update(self, request: Request, packages: List[str]) -> None:
        """Refresh, download, apply; again where zypper has replaced itself."""
        report, zypper = self._report, ["zypper", "--non-interactive"]
        report.state(Status.SEARCHING, "Looking for updates")
        refreshed = self._run([*zypper, "refresh"], may_stop=True)
        if refreshed.code != 0:
            self._note_unseen(refreshed)
        argv = [*zypper, "update", "--auto-agree-with-licenses"]
        report.state(Status.DOWNLOADING, "Downloading updates", 0)
        _expect_good(self._run([*argv, "--download-only", *packages], may_stop=True), "The download")
        report.state(Status.APPLYING, "Applying updates", DOWNLOADED_PERCENT)
        self.has_acted = True
        for _ in range(_MOST_RUNS):
            answer = self._run_counted([*argv, *packages])
            if answer.code != _RUN_AGAIN:
                break
        _expect_good(answer, "zypper update")
        self._reboot_asked = answer.code == _REBOOT_NEEDED
        if answer.code == _REPOSITORY_SKIPPED and not self.not_looked:
            self.not_looked = [cause(answer.output)]
        if _POSTTRANS.search(answer.output):
            raise Failure(
                f"zypper installed the packages, but a package's script failed: {cause(answer.output)}"
            )

    def _note_unseen(self, refreshed: Answer) -> None:
        """Name the repositories that cannot be read; where none can, nothing was looked for."""
        if refreshed.code != _SOME_SKIPPED or _NONE_READ.search(refreshed.output):
            _expect_good(refreshed, "Not looked for updates: zypper refresh")
        self.not_looked = [cause(refreshed.output)]

    def needs_reboot(self) -> bool:
        """What the update itself and ``zypper needs-rebooting`` say."""
        return (
            self._reboot_asked
            or ask(["zypper", "needs-rebooting"]).code == _REBOOT_NEEDED
            or super().needs_reboot()
        )


def _expect_good(answer: Answer, what: str) -> None:
    if answer.code == _SCRIPT_FAILED:
        raise Failure(f"{what} installed the packages, but a package's script failed: {cause(answer.output)}")
    if answer.code not in _GOOD:
        raise Failure(f"{what} failed (exit code {answer.code}): {cause(answer.output)}")
