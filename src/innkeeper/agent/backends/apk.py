"""Update an Alpine guest by apk."""

import os
import re
import shutil
from typing import Callable, List

from innkeeper.agent.backends.cause import cause
from innkeeper.agent.backends.room import expect_room
from innkeeper.agent.backends.stepped import Stepped
from innkeeper.agent.command import Answer, ask
from innkeeper.agent.journal import PackageChange
from innkeeper.agent.packages import Installed
from innkeeper.agent.places import read_text
from innkeeper.agent.report import Failure

#: ``(1/3) Upgrading name (old -> new)``, ``Installing name (new)``, ``Purging name (old)``
_STEP = re.compile(r"^\(\s*\d+/\d+\) (\w+) (\S+) \((\S+)(?: -> (\S+))?\)", re.MULTILINE)
#: A repository that was read, as ``v3.22.1 [https://…]``; and one that was not.
_READ = re.compile(r"^[^:\n]*\[\S+\]$", re.MULTILINE)
_UNREAD = re.compile(r"^(?:WARNING|ERROR): (.*)$", re.MULTILINE)
_ERROR = re.compile(r"^ERROR: ", re.MULTILINE)
#: A package whose script failed once makes every later call end with 1: with these words and no error.
_OLD_ERROR = re.compile(r"^\d+ errors?; ", re.MULTILINE)
#: apk 3 refuses to go on without a repository; apk 2 goes on, and has no such option.
_FORCE = "--force-missing-repositories"
_OLDER = re.compile(r"^(\S+)-\d\S*-r\d+\s+<", re.MULTILINE)


class Apk(Stepped):
    """apk 3, and apk 2 as its manual says."""

    program = "apk"
    _acts = re.compile(r"\(\s*\d+/\d+\) \w")
    #: What the last simulation printed.
    _plan = ""
    _core = re.compile(r"linux-(?!headers|firmware|pam)\w+|musl\Z")

    def look(self, packages: List[str], refresh: bool = True) -> List[PackageChange]:
        """Refresh, and simulate."""
        if refresh:
            self._refresh()
        # Only where it is to say more it says how much room it takes.
        self._plan = self._upgrade(["--simulate", "--verbose"], packages).output
        planned = read_plan(self._plan)
        older = _OLDER.findall(ask(self._apk("version", "-l", "<"), timeout=300).output)
        wanted = [name for name in older if not packages or name in packages]
        will_be = [name for name, _, _ in planned]
        self.held_back = [f"{name} (pinned)" for name in wanted if name not in will_be]
        return planned

    def _refresh(self) -> None:
        """Read the indexes anew; one that cannot be read is named, and all of them are a failure."""
        if not self._repositories():
            raise Failure("Not looked for updates: apk has no repository (/etc/apk/repositories).")
        answer = self._run(self._apk("update"), may_stop=True)
        if answer.code == 0:
            return
        self.not_looked = _UNREAD.findall(answer.output) or [cause(answer.output)]
        if not _READ.search(answer.output):
            raise Failure(f"Not looked for updates: {'; '.join(self.not_looked)}")

    def _repositories(self) -> List[str]:
        more = self._places.under("etc/apk/repositories.d")
        files = [os.path.join(more, name) for name in (os.listdir(more) if os.path.isdir(more) else [])]
        texts = [read_text(path) for path in (self._places.under("etc/apk/repositories"), *files)]
        lines = [line.strip() for text in texts for line in text.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]

    def _download(self, packages: List[str], planned: List[PackageChange]) -> List[PackageChange]:
        expect_room(self._places, self._plan, planned)
        # A name alone would be the version that is installed.
        names = [f"{name}={new}" for name, _, new in planned if new]
        argv = self._apk("cache", "download", *names)
        try:
            _expect_good(_forced(lambda words: self._run(words, may_stop=True), argv), "The download")
        except BaseException:
            # What came would fill the guest's disk for good.
            shutil.rmtree(self._cache, ignore_errors=True)
            raise
        return planned

    def _apply(self, packages: List[str]) -> None:
        self._upgrade([], packages)
        shutil.rmtree(self._cache, ignore_errors=True)

    @property
    def _cache(self) -> str:
        return self._places.under("var/cache/innkeeper/apk")

    def _apk(self, *words: str) -> List[str]:
        """A command of apk, on a cache of ours where the guest has none: else it downloads as it installs."""
        if os.path.isdir(self._places.under("etc/apk/cache")):
            return ["apk", *words]
        os.makedirs(self._cache, exist_ok=True)
        return ["apk", *words, "--cache-dir", self._cache]

    def _upgrade(self, options: List[str], packages: List[str]) -> Answer:
        names = [name for name in packages if name in self.installed()] if packages else []
        if packages and not names:
            return Answer(0, "")
        argv = self._apk("upgrade", *options, *names)
        return _expect_good(_forced(self._run if options else self._run_applying, argv), "apk upgrade")

    def installed(self) -> Installed:
        """What ``apk info -v`` lists, as ``name-version-rN``."""
        rows = (line.strip().rsplit("-", 2) for line in ask(["apk", "info", "-v"]).output.splitlines())
        return {row[0]: f"{row[1]}-{row[2]}" for row in rows if len(row) == 3 and re.match(r"r\d", row[2])}

    def complaints(self) -> List[str]:
        """Return whether apk can read its database."""
        answer = ask(["apk", "info"], timeout=120)
        return [] if answer.code == 0 else [f"apk cannot read its database: {cause(answer.output)}"]


def read_plan(text: str) -> List[PackageChange]:
    """Read what a simulation would change."""
    planned: List[PackageChange] = []
    for verb, name, first, second in _STEP.findall(text):
        if verb == "Purging":
            planned.append((name, first, ""))
        else:
            planned.append((name, first, second) if second else (name, "", first))
    return planned


def _forced(run: Callable[[List[str]], Answer], argv: List[str]) -> Answer:
    """Run apk, and once more where it does not go on without a repository."""
    answer = run(argv)
    return run([*argv, _FORCE]) if answer.code != 0 and _FORCE in answer.output else answer


def _expect_good(answer: Answer, what: str) -> Answer:
    is_old = _OLD_ERROR.search(answer.output) and not _ERROR.search(answer.output)
    if answer.code != 0 and not is_old:
        raise Failure(f"{what} failed (exit code {answer.code}): {cause(answer.output)}")
    return answer
