"""What the package managers over rpm share."""

import re
from typing import List

from innkeeper.agent.backends.backend import DOWNLOADED_PERCENT
from innkeeper.agent.backends.cause import cause
from innkeeper.agent.backends.stepped import Stepped
from innkeeper.agent.command import Answer, Conversation, ask
from innkeeper.agent.packages import Installed, parse_installed

_COUNT = re.compile(r"(\d{1,6})/(\d{1,6})\b")


class RpmBackend(Stepped):
    """A package manager whose packages are rpms."""

    #: The first line of this form that it prints tells that packages are being changed.
    _acts = re.compile("")

    def installed(self) -> Installed:
        """What rpm says is installed."""
        return parse_installed(ask(["rpm", "-qa", "--qf", "%{NAME}.%{ARCH}\t%{VERSION}-%{RELEASE}\n"]).output)

    def complaints(self) -> List[str]:
        """Return what rpm finds wrong with its database."""
        answer = ask(["rpm", "-qa"], timeout=120)
        return [] if answer.code == 0 else [f"rpm cannot read its database: {cause(answer.output)}"]

    def _run_counted(self, argv: List[str]) -> Answer:
        """Run what prints ``3/10`` as it goes; it is past stopping."""
        return self._past_locks(lambda: Conversation(self._take_line, lambda: False).run(argv))

    def _take_line(self, line: str) -> None:
        self.has_acted = self.has_acted or bool(self._acts.match(line))
        self._report.output(line)
        found = _COUNT.search(line)
        if found and 0 < int(found.group(1)) <= int(found.group(2)):
            share = int(found.group(1)) / int(found.group(2))
            self._report.progress(int(DOWNLOADED_PERCENT + share * (99 - DOWNLOADED_PERCENT)), line.strip())
