"""Update an Arch guest by pacman."""

import os
import re
import shutil
from typing import List

from innkeeper.agent.backends.backend import expect_success
from innkeeper.agent.backends.cause import cause
from innkeeper.agent.backends.stepped import Stepped
from innkeeper.agent.command import ask
from innkeeper.agent.journal import PackageChange
from innkeeper.agent.packages import Installed
from innkeeper.agent.report import Failure

#: ``name old -> new [ignored]``
_NEWER = re.compile(r"^(\S+) (\S+) -> (\S+)( \[ignored\])?$", re.MULTILINE)
#: pacman ends with 0 all the same.
_SCRIPT_FAILED = "command failed to execute correctly"
_STEP = re.compile(
    r"(?:\(\d+/\d+\) )?(?:upgrading|installing|removing|reinstalling|downgrading) (\S+?)\.\.\.|(\(.*)"
)


class Pacman(Stepped):
    """pacman, which updates all or nothing: Arch supports no other way."""

    program = "pacman"
    _acts = re.compile(r":: (Running pre-transaction hooks|Processing package changes)")
    _core = re.compile(r"linux(-lts|-zen|-hardened|-rt|-firmware)?\Z|systemd\Z|glibc\Z|dbus(-broker)?\Z")

    def look(self, packages: List[str], refresh: bool = True) -> List[PackageChange]:
        """Refresh a copy of the databases: half a refresh would make the next installation half an update."""
        if packages:
            raise Failure(
                "Not updated: on this guest pacman updates everything or nothing, and packages were named."
            )
        if refresh or not os.path.isdir(self._copy):
            self._make_copy()
            answer = self._run(["pacman", "-Sy", *self._on_copy], may_stop=True)
            expect_success(answer, "Not looked for updates: pacman -Sy")
        newer = _NEWER.findall(ask(["pacman", "-Qu", *self._on_copy], timeout=300).output)
        self.held_back = [f"{name} (ignored)" for name, _, _, is_ignored in newer if is_ignored]
        return [(name, old, new) for name, old, new, is_ignored in newer if not is_ignored]

    def _download(self, packages: List[str], planned: List[PackageChange]) -> List[PackageChange]:
        answer = self._run(["pacman", "-Suw", "--noconfirm", *self._on_copy], may_stop=True)
        expect_success(answer, "The download")
        return planned

    def _apply(self, packages: List[str]) -> None:
        answer = self._run_applying(["pacman", "-Syu", "--noconfirm"])
        # Past its lock it refreshes: over old packages that makes the next installation half an update.
        self.has_acted = True
        done = expect_success(answer, "pacman -Syu")
        if _SCRIPT_FAILED in done.output:
            raise Failure(
                "pacman installed the packages, but a script failed: "
                f"{', '.join(read_failed(done.output))}: {cause(done.output)}"
            )

    @property
    def _copy(self) -> str:
        # Since version 7 pacman downloads as a user of its own, who has to come here.
        return self._places.under("var/cache/innkeeper/pacman")

    @property
    def _on_copy(self) -> List[str]:
        return ["--dbpath", self._copy, "--logfile", "/dev/null"]

    def _make_copy(self) -> None:
        """Make databases with the installed packages of the real ones, and nothing of their sources."""
        found = ask(["pacman-conf", "DBPath"])
        real = found.output.strip() if found.code == 0 else "/var/lib/pacman"
        shutil.rmtree(self._copy, ignore_errors=True)
        os.makedirs(self._copy)
        os.symlink(os.path.join(real, "local"), os.path.join(self._copy, "local"))

    def installed(self) -> Installed:
        """What ``pacman -Q`` lists."""
        rows = (line.split() for line in ask(["pacman", "-Q"]).output.splitlines())
        return {row[0]: row[1] for row in rows if len(row) == 2}

    def complaints(self) -> List[str]:
        """What ``pacman -Dk`` finds."""
        answer = ask(["pacman", "-Dk"], timeout=120)
        return [] if answer.code == 0 else answer.output.splitlines()


def read_failed(text: str) -> List[str]:
    """Name the packages, or hooks, whose scripts failed."""
    found: List[str] = []
    step = "a script"
    for line in text.splitlines():
        match = _STEP.match(line)
        if match:
            step = match.group(1) or match.group(2)
        elif _SCRIPT_FAILED in line and step not in found:
            found.append(step)
    return found
