"""Update a SUSE guest by zypper."""

from typing import List

from innkeeper.agent.backends.backend import DOWNLOADED_PERCENT, RpmBackend, last_line
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
_GOOD = (0, _REBOOT_NEEDED, _REPOSITORY_SKIPPED)
#: It asks to be run again after it has updated itself; more than this is a loop.
_MOST_RUNS = 3


class Zypper(RpmBackend):
    """zypper, by its exit codes."""

    program = "zypper"

    def update(self, request: Request, packages: List[str]) -> None:
        """Refresh, download, apply; again where zypper has replaced itself."""
        report, zypper = self._report, ["zypper", "--non-interactive"]
        report.state(Status.SEARCHING, "Looking for updates")
        _expect_good(self._run([*zypper, "refresh"], may_stop=True), "zypper refresh")
        argv = [*zypper, "update", "--auto-agree-with-licenses"]
        report.state(Status.DOWNLOADING, "Downloading updates", 0)
        _expect_good(self._run([*argv, "--download-only", *packages], may_stop=True), "The download")
        report.state(Status.APPLYING, "Applying updates", DOWNLOADED_PERCENT)
        for _ in range(_MOST_RUNS):
            answer = self._run_counted([*argv, *packages])
            if answer.code != _RUN_AGAIN:
                break
        _expect_good(answer, "zypper update")

    def needs_reboot(self) -> bool:
        """What ``zypper needs-rebooting`` says."""
        return ask(["zypper", "needs-rebooting"]).code == _REBOOT_NEEDED or super().needs_reboot()


def _expect_good(answer: Answer, what: str) -> None:
    if answer.code == _SCRIPT_FAILED:
        raise Failure(f"{what} installed the packages, but a package's script failed: {last_line(answer)}")
    if answer.code not in _GOOD:
        raise Failure(f"{what} failed (exit code {answer.code}): {last_line(answer)}")
