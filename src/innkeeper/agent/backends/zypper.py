"""Update a SUSE guest by zypper."""

import re
from typing import List
from xml.sax.saxutils import unescape

from innkeeper.agent.backends.backend import UNMET
from innkeeper.agent.backends.cause import cause
from innkeeper.agent.backends.room import expect_room
from innkeeper.agent.backends.rpm import RpmBackend
from innkeeper.agent.command import Answer, ask
from innkeeper.agent.journal import PackageChange
from innkeeper.agent.report import Failure

_ZYPPER = ["zypper", "--non-interactive"]
_UPDATE = ["update", "--auto-agree-with-licenses"]
#: zypper's exit codes that are no plain success and no failure.
_REBOOT_NEEDED = 102
#: What is named cannot be had, or is locked.
_REFUSED = 4
_RUN_AGAIN = 103
#: A repository was skipped: what the others have is applied.
_REPOSITORY_SKIPPED = 106
_SCRIPT_FAILED = 107
_GOOD = (0, _REBOOT_NEEDED, _RUN_AGAIN, _REPOSITORY_SKIPPED)
#: ``zypper refresh`` ends so where repositories could not be read, some or all.
_SOME_SKIPPED = 4
_NONE_READ = re.compile(r"Could not refresh the repositories", re.IGNORECASE)
#: What is printed of each repository that cannot be read, and the line that ends it.
_SKIPPED = re.compile(r"Skipping repository '([^']+)'")
#: zypper ends with 0 all the same, or asks for another run, which knows nothing of the first.
_SCRIPT = re.compile(r"%posttrans script failed|scriptlet failed, exit status", re.IGNORECASE)
#: It asks to be run again after it has updated itself; more than this is a loop.
_MOST_RUNS = 3
_NOTHING = re.compile(r"^Nothing to do\.$", re.MULTILINE)
_SOLVABLE = re.compile(r'<solvable type="package" name="([^"]+)" edition="([^"]+)"([^>]*)>')
_SECTION = re.compile(r"<(to-[a-z-]+)>")
_FORMER = re.compile(r'edition-old="([^"]+)"')


class Zypper(RpmBackend):
    """zypper, by its exit codes and what it prints."""

    program = "zypper"
    _acts = re.compile(r"\(\s*\d+/\d+\) \w")
    _reboot_asked = False

    def look(self, packages: List[str], refresh: bool = True) -> List[PackageChange]:
        """Refresh, and simulate."""
        if refresh:
            self._refresh()
        # Its words for people have the names that are left out, its XML the versions.
        answer = self._simulate(packages)
        if packages and answer.code == _REFUSED:
            self._locked = self._find_locked(packages)
            packages = self._without_locked(packages)
            answer = self._simulate(packages) if packages else Answer(0, "Nothing to do.")
        _expect_good(answer, "zypper update --dry-run")
        if answer.code == _REPOSITORY_SKIPPED and not self.not_looked:
            self.not_looked = read_unread(answer.output)
        self.held_back = [f"{name} (locked)" for name in self._locked] + read_left_out(answer.output)
        if _NOTHING.search(answer.output):
            return []
        argv = [_ZYPPER[0], "--xmlout", *_ZYPPER[1:], *_UPDATE, "--dry-run", *packages]
        planned = read_plan(self._past_locks(lambda: ask(argv, timeout=600)).output)
        if not planned:
            raise Failure(f"zypper's plan cannot be read: {cause(answer.output)}")
        return planned

    def _simulate(self, packages: List[str]) -> Answer:
        return self._run([*_ZYPPER, *_UPDATE, "--dry-run", *packages], may_stop=True)

    def _find_locked(self, packages: List[str]) -> List[str]:
        """Of the packages that are named, those whose update is locked: it says so of all updates."""
        left_out = read_left_out(self._simulate([]).output)
        return [name for name in packages if f"{name} (locked)" in left_out]

    def _refresh(self) -> None:
        """Read the repositories anew; where none can be read, nothing was looked for."""
        answer = self._run([*_ZYPPER, "refresh"], may_stop=True)
        if answer.code == 0:
            return
        self.not_looked = read_unread(answer.output)
        if answer.code != _SOME_SKIPPED or _NONE_READ.search(answer.output):
            why = "; ".join(self.not_looked) or cause(answer.output)
            raise Failure(f"Not looked for updates: {why}")

    def _download(self, packages: List[str], planned: List[PackageChange]) -> List[PackageChange]:
        answer = self._run([*_ZYPPER, *_UPDATE, "--download-only", *packages], may_stop=True)
        _expect_good(answer, "The download")
        # Files of two owners are found in what is downloaded alone.
        answer = self._simulate(packages)
        _expect_good(answer, "The test of the download")
        expect_room(self._places, answer.output, planned)
        return planned

    def _apply(self, packages: List[str]) -> None:
        said = ""
        for _ in range(_MOST_RUNS):
            answer = self._run_applying([*_ZYPPER, *_UPDATE, *packages])
            said += answer.output + "\n"
            self._reboot_asked = self._reboot_asked or answer.code == _REBOOT_NEEDED
            if answer.code != _RUN_AGAIN:
                break
        else:
            raise Failure(f"zypper asks for another run for ever (exit code {_RUN_AGAIN})")
        _expect_good(answer, "zypper update")
        if _SCRIPT.search(said):
            raise Failure(f"zypper installed the packages, but a package's script failed: {cause(said)}")

    def needs_reboot(self) -> bool:
        """What the update itself and ``zypper needs-rebooting`` say."""
        return (
            self._reboot_asked
            or ask([*_ZYPPER, "needs-rebooting"]).code == _REBOOT_NEEDED
            or super().needs_reboot()
        )


def read_unread(text: str) -> List[str]:
    """Name each repository that was skipped, with why."""
    found = {}
    block: List[str] = []
    for line in text.splitlines():
        skipped = _SKIPPED.search(line)
        if skipped:
            found[skipped.group(1)] = cause("\n".join(block))
            block = []
        elif line.startswith(("Retrieving repository", "Building repository")):
            block = []
        else:
            block.append(line)
    return [f"{name} ({why})" for name, why in found.items()]


def read_left_out(text: str) -> List[str]:
    """Name what has a newer version and is not installed, and whether a lock is why."""
    locked = _below(text, re.compile(r"The following (?:\d+ )?items? (?:is|are) locked"))
    names = _below(text, re.compile(r"The following (?:\d+ )?package updates? will NOT be installed"))
    why = {name: "locked" if name in locked else UNMET for name in names}
    return [f"{name} ({reason})" for name, reason in why.items()]


def _below(text: str, heading: "re.Pattern[str]") -> List[str]:
    found: List[str] = []
    is_list = False
    for line in text.splitlines():
        if heading.match(line):
            is_list = True
        elif line.startswith(" "):
            found += line.split() if is_list else []
        else:
            is_list = False
    return [name for name in found if not name.endswith(":")]


def read_plan(xml: str) -> List[PackageChange]:
    """Read what ``zypper --xmlout update --dry-run`` would change."""
    planned: List[PackageChange] = []
    for section in _SECTION.finditer(xml):
        kind = section.group(1)
        body = xml[section.end() : xml.find(f"</{kind}>", section.end())]
        for name, edition, rest in _SOLVABLE.findall(body):
            former = _FORMER.search(rest)
            old, new = former.group(1) if former else "", edition
            planned.append((unescape(name), *((new, "") if kind == "to-remove" else (old, new))))
    return planned


def _expect_good(answer: Answer, what: str) -> None:
    if answer.code == _SCRIPT_FAILED:
        raise Failure(f"{what} installed the packages, but a package's script failed: {cause(answer.output)}")
    if answer.code not in _GOOD:
        raise Failure(f"{what} failed (exit code {answer.code}): {cause(answer.output)}")
