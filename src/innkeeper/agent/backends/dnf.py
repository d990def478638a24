"""Update a Fedora, RHEL or kin guest by dnf."""

import re
import time
from typing import List, Optional, Tuple

from innkeeper.agent.backends.backend import UNMET, expect_success
from innkeeper.agent.backends.cause import cause
from innkeeper.agent.backends.room import expect_room
from innkeeper.agent.backends.rpm import RpmBackend
from innkeeper.agent.command import Answer, ask
from innkeeper.agent.journal import PackageChange
from innkeeper.agent.places import Places, read_text
from innkeeper.agent.report import Failure, Report

#: ``dnf check-update`` ends so when there is something to update.
_UPDATES = 100
#: In the words of dnf 4 and 5, and of yum.
_UNREADABLE = re.compile(
    r"metadata.* for repo(?:sitory)? ['\"]([^'\"]+)['\"]"
    r"|^failure: \S+ from ([^:\s]+): |valid baseurl for repo: ([^/\s]+)",
    re.MULTILINE,
)
#: dnf 4 ends with 0 all the same.
_SCRIPT_FAILED = re.compile(r"scriptlet failed, exit status|rror in \S+ scriptlet|Non-fatal \S+ scriptlet")
#: ``name.arch   version   repository``
_TABLE = re.compile(r"(\S+\.\w+)\s+(\S+)\s+\S+\s*\Z")
#: dnf.conf may silence what is read here.
_LOUD = "--setopt=debuglevel=2"
_UNFILTERED = ["--disableexcludes=all", "--disableplugin=versionlock"]
#: What wants a reboot when it is new; dnf's own plug-in has the same list.
_CORE = ["kernel", "kernel-core", "kernel-rt", "glibc", "linux-firmware", "systemd"]
_CORE += ["dbus", "dbus-broker", "dbus-daemon"]


class Dnf(RpmBackend):
    """dnf 4, and dnf 5 as its sources say."""

    program = "dnf"
    #: Distributions differ: a repository that cannot be read is a failure, and another dnf is named.
    _options: Tuple[str, ...] = ("-y", "--setopt=*.skip_if_unavailable=0", "--setopt=exit_on_lock=True")
    _ask_restarting: Tuple[str, ...] = ("dnf", "needs-restarting", "-r")
    #: The first step, or script, of dnf 4 and yum, and of dnf 5: "Running transaction" comes before the lock.
    _acts = re.compile(
        r"\s+(Preparing|Running scriptlet|[A-Z][a-z]+ing|Cleanup|Erase) *: |.*scriptlet"
        r"|\[ *\d+/\d+\] (Verify|Prepare|[A-Z][a-z]+ing) "
    )

    def __init__(self, places: Places, report: Report) -> None:
        super().__init__(places, report)
        #: Repositories that cannot be read.
        self._without: List[str] = []
        self._version_5: Optional[bool] = None

    @property
    def _is_5(self) -> bool:
        if self._version_5 is None:
            self._version_5 = "dnf5" in ask([self.program, "--version"]).output
        return self._version_5

    def look(self, packages: List[str], refresh: bool = True) -> List[PackageChange]:
        """Ask for what is newer, and for what would be without locks and exclusions."""
        waiting = read_table(self._check_update(packages, refresh))
        if not waiting and self._is_5 and not self._repositories():
            raise Failure("Not looked for updates: there are no enabled repositories (/etc/yum.repos.d).")
        installed = self.installed()
        filtered = self._filtered(packages, waiting)
        self.held_back = [f"{name} (locked or excluded)" for name in filtered]
        free = [_bare(name) for name, _ in waiting]
        self._locked = [name for name in packages if name in filtered and name not in free]
        return [(_bare(name), installed.get(name, ""), version) for name, version in waiting]

    def _check_update(self, packages: List[str], refresh: bool) -> str:
        """Ask what waits; a repository that cannot be read is named and left out."""
        while True:
            argv = [*self._dnf(), *(["--refresh"] if refresh else []), "check-update", *packages]
            answer = self._run(argv, may_stop=True)
            if answer.code in (0, _UPDATES):
                return answer.output
            found = _UNREADABLE.search(answer.output)
            name = next(filter(None, found.groups())) if found else ""
            if not name or name in self._without:
                self._fail_to_look(answer)
            self._leave_out(name, answer)

    def _leave_out(self, repository: str, answer: Answer) -> None:
        self._without.append(repository)
        self.not_looked.append(f"{repository} ({cause(answer.output)})")
        if not set(self._repositories()) - set(self._without):
            self._fail_to_look(answer)

    def _fail_to_look(self, answer: Answer) -> None:
        if self.not_looked:
            raise Failure(f"Not looked for updates: {'; '.join(self.not_looked)}")
        expect_success(answer, f"Not looked for updates: {self.program} check-update")

    def _repositories(self) -> List[str]:
        """The repositories that are enabled, by name."""
        lines = ask([self.program, "-q", "repolist"], timeout=300).output.splitlines()
        names = [line.split()[0] for line in lines if line.strip() and not line.startswith("repo")]
        # yum marks them, and adds version and architecture.
        return [name.lstrip("!*").partition("/")[0] for name in names]

    def _filtered(self, packages: List[str], waiting: List[Tuple[str, str]]) -> List[str]:
        """What has a newer version and is locked (``versionlock``) or excluded, by name."""
        # dnf 4 says nothing where it has no such plug-in; dnf 5 has no such option.
        unfiltered = ["--setopt=disable_excludes=*"] if self._is_5 else _UNFILTERED
        answer = ask([*self._dnf(), "-q", "-C", *unfiltered, "check-update", *packages], timeout=300)
        all_names = [name for name, _ in read_table(answer.output)] if answer.code == _UPDATES else []
        return [_bare(name) for name in all_names if name not in dict(waiting)]

    def _download(self, packages: List[str], planned: List[PackageChange]) -> List[PackageChange]:
        # A test downloads, keeps what it has downloaded, and finds full disks and files of two owners.
        argv = [*self._dnf(), "upgrade", "--setopt=tsflags=test", *packages]
        answer = expect_success(self._run(argv, may_stop=True), "The download and its test")
        # rpm's test knows what the packages themselves take, and nothing of the initramfs.
        expect_room(self._places, answer.output, planned)
        skipped = read_skipped(answer.output)
        self.held_back += [f"{name} ({UNMET})" for name in skipped]
        return [change for change in planned if change[0] not in skipped]

    def _apply(self, packages: List[str]) -> None:
        answer = self._run_applying([*self._dnf(), "upgrade", *packages])
        done = expect_success(answer, f"{self.program} upgrade")
        if _SCRIPT_FAILED.search(done.output):
            raise Failure(
                f"{self.program} installed the packages, but a package's script failed: {cause(done.output)}"
            )

    def needs_reboot(self) -> bool:
        """What ``needs-restarting`` says: its exit code alone is also that of a missing plug-in."""
        answer = ask([*self._ask_restarting], timeout=300)
        if answer.code == 0 or "Reboot is required" in answer.output:
            return answer.code == 1 or super().needs_reboot()
        self._report.output("There is no needs-restarting: times of installation are compared with the boot")
        return self._has_newer_core() or super().needs_reboot()

    def _has_newer_core(self) -> bool:
        """Whether what runs from the boot on was installed since the boot."""
        since_boot = read_text(self._places.under("proc/uptime")).partition(" ")[0]
        booted = time.time() - float(since_boot or 0.0)
        times = ask(["rpm", "-q", "--qf", "%{INSTALLTIME}\n", *_CORE]).output.split()
        return bool(since_boot) and any(int(at) > booted for at in times if at.isdigit())

    def _dnf(self) -> List[str]:
        loud = [] if self._is_5 else [_LOUD]
        return [self.program, *self._options, *loud, *(f"--disablerepo={name}" for name in self._without)]


def _bare(name: str) -> str:
    """Return a name without its architecture."""
    return name.rpartition(".")[0]


def read_table(text: str) -> List[Tuple[str, str]]:
    """Read name and version of what ``dnf check-update`` lists, and of what replaces another package."""
    found = []
    name = ""
    for line in text.splitlines():
        # Old ones give a long name a line for itself.
        match = _TABLE.match(name + line)
        name = line if len(line.split()) == 1 else ""
        if match:
            found.append((match.group(1), match.group(2)))
    return found


def read_skipped(text: str) -> List[str]:
    """Read the packages of the tables of what dnf skipped; a long name has a line for itself."""
    found: List[str] = []
    is_table = False
    for line in text.splitlines():
        if line.startswith("Skipping packages with"):
            is_table = True
        elif not line.startswith(" "):
            is_table = False
        elif is_table and not line.startswith("  "):
            found.append(line.split()[0])
    return found
