"""Update a Debian or Ubuntu guest by apt."""

import os
import re
from typing import List, Optional, Set

from innkeeper.agent.backends.backend import DOWNLOADED_PERCENT, UNMET, Backend, expect_success
from innkeeper.agent.backends.cause import cause
from innkeeper.agent.backends.room import expect_room
from innkeeper.agent.backends.stepped import count
from innkeeper.agent.command import Answer, ask
from innkeeper.agent.journal import PackageChange
from innkeeper.agent.packages import Installed, parse_installed
from innkeeper.agent.places import Places
from innkeeper.agent.report import Failure, Report
from innkeeper.agent.run import Request
from innkeeper.agent.status import Status

#: Wait for another apt instead of failing; keep the administrator's changed configuration files.
_OPTIONS = [
    "-q",
    "-y",
    "-o",
    "DPkg::Lock::Timeout=600",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "Dpkg::Use-Pty=0",
]
#: Else the exit code is 0 for a source that cannot be reached; an option's name is no fault in an old apt.
_ALL_SOURCES = ["-o", "APT::Update::Error-Mode=any"]
_URI = re.compile(r"^'\S+:", re.MULTILINE)
#: What is printed of each file of a source, and of a source as a whole that is not to be trusted.
_FILE = re.compile(r"^(Hit|Get|Ign|Err):\d+ (\S+) (\S+)", re.MULTILINE)
_REFUSED = re.compile(r"^[EW]: The repository '(\S+) (\S+)", re.MULTILINE)
#: ``Inst name [old] (new …)``; without ``[old]`` for what is new.
_PLANNED = re.compile(r"^Inst (\S+)(?: \[([^\]]*)\])? \((\S+)", re.MULTILINE)
#: Name and source of ``Inst name [old] (new Debian-Security:12/stable-security [amd64])``.
_ORIGIN = re.compile(r"^Inst (\S+)(?: \[[^\]]*\])? \(\S+((?: [^\[\)]*)?)", re.MULTILINE)
#: The headings of what has a newer version and stays, in apt's plan.
_NOT_YET = "phased: not yet for this machine"
_KEPT = "The following packages have been kept back:"
_PHASED = "The following upgrades have been deferred due to phasing:"
_REMOVED = re.compile(r"^Remv (\S+)", re.MULTILINE)
#: A plan ends so where installed packages lack what they depend on.
_BROKEN = re.compile(r"--fix-broken|-f install|Unmet dependencies")
_UNREAD = re.compile(
    r"^[EW]: (?:Failed to fetch|The repository|GPG error|Release file for|Repository ').*", re.MULTILINE
)
_ERROR = re.compile(r"^E: .*", re.MULTILINE)
_MEND = ["-f", "install"]
_STATUS = ["-o", "APT::Status-Fd={status_fd}"]
#: So begins what apt and dpkg say on their status channel from when packages are being changed.
_CHANGING = ("pm", "status", "processing")
_FORMAT = "${binary:Package}\t${Version}\t${db:Status-Status}\n"


class Apt(Backend):
    """apt-get and dpkg."""

    program = "apt-get"
    can_prepare = True

    def __init__(self, places: Places, report: Report) -> None:
        super().__init__(places, report)
        #: The packages that dpkg complained of before the update, and those that it still cannot configure.
        self._troubled: Set[str] = set()
        self._still: Set[str] = set()
        #: What was named, has a newer version and is on hold.
        self._on_hold: List[str] = []

    def prepare(self, packages: List[str]) -> Optional[List[PackageChange]]:
        """Refresh, simulate, download."""
        self._report.state(Status.SEARCHING, "Looking for updates")
        self._refresh()
        what = self._command(packages)
        plan = self._simulate(what)
        if self._was_interrupted() or (_BROKEN.search(plan.output) and self._can_mend()):
            return None
        planned = self._read(plan)
        if planned:
            self._download(what, planned)
        return planned

    def look(self, packages: List[str], refresh: bool = True) -> List[PackageChange]:
        """Refresh, and simulate what an update does: what it keeps back is no part of it."""
        if refresh:
            self._refresh()
        return self._read(self._simulate(self._command(packages)))

    def update(self, request: Request, packages: List[str]) -> None:
        """Repair, refresh, download, apply."""
        self._report.state(Status.SEARCHING, "Looking for updates")
        self._troubled = {complaint.partition(":")[0] for complaint in self.complaints()}
        repaired = self._repair()
        if not request.is_prepared:
            self._refresh()
        what = self._command(packages)
        plan = self._simulate(what)
        if _BROKEN.search(plan.output) and self._can_mend():
            self._mend()
            plan = self._simulate(what)
        else:
            self._expect(repaired, "dpkg --configure -a")
        planned = self._read(plan)
        if planned:
            self._download(what, planned)
            self._apply(what, planned)
        self.held_back += sorted(f"{name} (not configured, as before the update)" for name in self._still)

    def _repair(self) -> Answer:
        """Finish what was interrupted: a dpkg in the middle of its work refuses everything else."""
        self.has_acted = self.has_acted or self._was_interrupted() or bool(self._troubled)
        if self.has_acted:
            self._report.acting()
        argv = ["dpkg", "--status-fd", "{status_fd}", "--force-confdef", "--force-confold"]
        return self._run([*argv, "--configure", "-a"], on_status=self._note_begin)

    def _expect(self, answer: Answer, what: str) -> None:
        """Raise ``Failure`` where dpkg failed, but for packages that it could not configure before either."""
        failed = set(read_failed(answer.output)) if answer.code != 0 else set()
        if not failed or not failed <= self._troubled:
            expect_success(answer, what)
        self._still |= failed

    def _mend(self) -> None:
        """Install what installed packages lack."""
        self._report.output("Installing what installed packages lack")
        self.has_acted = True
        self._report.acting()
        answer = self._run(["apt-get", *_OPTIONS, *_STATUS, *_MEND], on_status=self._note_begin)
        expect_success(answer, "apt-get -f install")

    def _can_mend(self) -> bool:
        """Whether apt can install what is lacking; raises ``Failure`` where it would remove packages."""
        plan = self._simulate(_MEND)
        removed = ", ".join(_REMOVED.findall(plan.output))
        if removed:
            raise Failure(
                "Installed packages lack what they depend on, and apt would remove "
                f"{removed} to mend that (apt-get -f install): {cause(self._simulate(['upgrade']).output)}"
            )
        return plan.code == 0 and bool(_PLANNED.search(plan.output))

    def _was_interrupted(self) -> bool:
        """Whether apt would refuse everything but a simulation until dpkg is run again."""
        updates = self._places.under("var/lib/dpkg/updates")
        return os.path.isdir(updates) and any(name.isdigit() for name in os.listdir(updates))

    def _command(self, packages: List[str]) -> List[str]:
        """What apt is to do. Of the packages that are named, one on hold would stop all: it is left out."""
        if not packages:
            return ["--with-new-pkgs", "upgrade"]
        held = ask(["apt-mark", "showhold"]).output.split()
        on_hold = [name for name in packages if name in held or _bare(name) in held]
        newer = read_names(self._simulate(["upgrade"]).output, _KEPT) if on_hold else []
        self._on_hold = [name for name in on_hold if name in newer or _bare(name) in newer]
        return ["--only-upgrade", "install", "--", *(name for name in packages if name not in on_hold)]

    def _simulate(self, what: List[str]) -> Answer:
        return ask(["apt-get", *_OPTIONS, "-s", *what], timeout=600)

    def _read(self, plan: Answer) -> List[PackageChange]:
        """Read from a simulation what would be changed, and what is left as it is."""
        expect_success(plan, "apt-get -s")
        self.security = read_security(plan.output)
        self.held_back = [f"{name} (on hold)" for name in self._on_hold] + self._held_back(plan.output)
        return [(name, old, new) for name, old, new in _PLANNED.findall(plan.output)]

    def _held_back(self, text: str) -> List[str]:
        """Name what has a newer version and stays, each with why."""
        why = dict.fromkeys(read_names(text, _PHASED), _NOT_YET)
        kept = read_names(text, _KEPT)
        if kept:
            held = ask(["apt-mark", "showhold"]).output.split()
            phased = read_phased(ask(["apt-cache", "policy", *kept]).output)
            removing = {name for name, _, _ in _PLANNED.findall(self._simulate(["dist-upgrade"]).output)}
            for name in kept:
                if name in held:
                    why[name] = "on hold"
                elif name in phased:
                    why[name] = _NOT_YET
                else:
                    why[name] = "others would have to be removed" if name in removing else UNMET
        return [f"{name} ({reason})" for name, reason in why.items()]

    def _refresh(self) -> None:
        """Read the sources anew; one that cannot be read is named, and all of them are a failure."""
        sources = ask(["apt-get", "-q", "--print-uris", "update"])
        expect_success(sources, "Not looked for updates: apt-get --print-uris update")
        if not _URI.search(sources.output):
            raise Failure("Not looked for updates: apt has no package source (/etc/apt/sources.list).")
        answer = self._run(["apt-get", *_OPTIONS, *_ALL_SOURCES, "update"], may_stop=True)
        if answer.code == 0:
            return
        if not reads_any(answer.output):
            expect_success(answer, "Not looked for updates: apt-get update")
        told = _UNREAD.findall(answer.output) or [cause(answer.output)]
        self.not_looked = list(dict.fromkeys(line.rstrip(". ") for line in told))

    def _download(self, what: List[str], planned: List[PackageChange]) -> None:
        self._report.state(Status.DOWNLOADING, f"Downloading {count(planned)}", 0)
        argv = ["apt-get", *_OPTIONS, *_STATUS, "-d", *what]
        answer = self._run(argv, True, self._follow_status)
        expect_success(answer, "The download")
        expect_room(self._places, answer.output, planned)

    def _apply(self, what: List[str], planned: List[PackageChange]) -> None:
        self._report.state(Status.APPLYING, f"Applying {count(planned)}", DOWNLOADED_PERCENT)
        answer = self._run(["apt-get", *_OPTIONS, *_STATUS, *what], False, self._follow_status)
        self._expect(answer, "apt-get")
        if answer.code != 0:
            # apt stops behind the first call of dpkg that fails: what is left of the plan is no old trouble.
            self._expect(self._repair(), "dpkg --configure -a")
            if not has_all(self.installed(), planned):
                expect_success(answer, "apt-get")

    def _follow_status(self, line: str) -> None:
        """Take percent from ``dlstatus:item:percent:text`` and ``pmstatus:package:percent:text``."""
        kind, _, rest = line.partition(":")
        self._note_begin(line)
        # The first of these comes before dpkg is started; whatever fails until then has changed nothing.
        self.has_acted = self.has_acted or self._has_begun
        fields = rest.split(":", 2)
        share = _share(fields)
        if share is None:
            return
        if kind == "dlstatus":
            self._report.progress(int(share * DOWNLOADED_PERCENT), fields[-1].strip())
        elif kind == "pmstatus":
            span = 99 - DOWNLOADED_PERCENT
            self._report.progress(int(DOWNLOADED_PERCENT + share * span), fields[-1].strip())

    def _note_begin(self, line: str) -> None:
        self._has_begun = self._has_begun or line.startswith(_CHANGING)

    def installed(self) -> Installed:
        """What dpkg has unpacked or configured."""
        lines = ask(["dpkg-query", "-W", "-f", _FORMAT]).output.splitlines()
        whole = (line.rpartition("\t") for line in lines)
        return parse_installed(
            "\n".join(head for head, _, state in whole if state not in ("config-files", "not-installed"))
        )

    def complaints(self) -> List[str]:
        """What ``dpkg --audit`` finds, by package."""
        answer = ask(["dpkg", "--audit"], timeout=120)
        if answer.code != 0:
            return [f"dpkg cannot read its database: {cause(answer.output)}"]
        return read_audit(answer.output)


def _bare(name: str) -> str:
    """Return a name without its architecture."""
    return name.partition(":")[0]


def reads_any(text: str) -> bool:
    """Return whether ``apt-get update`` could read any source: one without an error."""
    files = _FILE.findall(text)
    bad = {(uri, suite) for kind, uri, suite in files if kind == "Err"} | set(_REFUSED.findall(text))
    errors = _ERROR.findall(text)
    return any((uri, suite) not in bad and not _is_named(uri, suite, errors) for _, uri, suite in files)


def _is_named(uri: str, suite: str, errors: List[str]) -> bool:
    """Whether an error is about this source: as in its line, or by the address of its ``Release``."""
    uri = uri.rstrip("/")
    names = (f"{uri} {suite} ", f"{uri}/ {suite} ", f"{uri}/dists/{suite}/", f"{uri}/{suite.rstrip('/')}/")
    return any(name in error for error in errors for name in names)


def read_failed(text: str) -> List[str]:
    """Read which packages dpkg could not process, in all of its calls; without their architecture."""
    found: List[str] = []
    is_list = False
    for line in text.splitlines():
        if line.startswith("Errors were encountered while processing:"):
            is_list = True
        elif is_list and line.startswith(" "):
            found.append(line.strip().partition(":")[0])
        else:
            is_list = False
    return found


def has_all(installed: Installed, planned: List[PackageChange]) -> bool:
    """Return whether each package of a plan is there in its new version, whatever its architecture."""
    there = {
        (name.partition(":")[0], one) for name, all_of in installed.items() for one in all_of.split(", ")
    }
    return all((name.partition(":")[0], new) in there for name, _, new in planned)


def read_names(text: str, heading: str) -> List[str]:
    """Read the names below a heading of apt's plan."""
    found: List[str] = []
    is_list = False
    for line in text.splitlines():
        if line.startswith(heading):
            is_list = True
        elif is_list and line.startswith("  "):
            found += line.split()
        else:
            is_list = False
    return found


def read_phased(text: str) -> Set[str]:
    """Read from ``apt-cache policy`` which packages' candidates are not for every machine yet."""
    found = set()
    name = candidate = ""
    for line in text.splitlines():
        words = line.replace("***", "").split()
        if words and not line.startswith(" "):
            name = words[0].rstrip(":")
        elif line.startswith("  Candidate:"):
            candidate = words[-1]
        elif words and words[0] == candidate and "(phased" in words:
            found.add(name)
    return found


def read_security(text: str) -> Set[str]:
    """Read which packages of apt's plan come from a security source."""
    found = _ORIGIN.findall(text)
    return {name for name, origin in found if "security" in origin.lower()}


def read_audit(text: str) -> List[str]:
    """Read blocks of a sentence and the packages that it is of, each of them in a line with a space first."""
    found = []
    for block in text.split("\n\n"):
        lines = block.splitlines()
        sentence = " ".join(line.strip() for line in lines if not line.startswith(" "))
        what = re.split(r"[.,:]", sentence, maxsplit=1)[0]
        what = re.sub(r"^The following packages (?:are|have been) ", "", what)
        if what.endswith("configured"):
            what = "not configured"  # each try makes "unpacked" to "half configured", and no better or worse
        found += [f"{line.split()[0]}: {what}" for line in lines if line.startswith(" ") and line.strip()]
    return found


def _share(fields: List[str]) -> Optional[float]:
    try:
        return min(max(float(fields[1]) / 100, 0.0), 1.0)
    except (ValueError, IndexError):
        return None
