"""Reports of a worker, as events of its run."""

import time
from typing import List, Optional, Tuple

from innkeeper.agent.command import Conversation, Stopped
from innkeeper.agent.journal import MAX_TEXT_CHARS, PackageChange
from innkeeper.agent.run import Run
from innkeeper.agent.status import Status

#: How much of an update's output is passed on.
MAX_OUTPUT_CHARS = 1024 * 1024
_MAX_LINE_CHARS = 2000
#: How many packages of a plan are named: one event holds them.
_MAX_PLANNED = 200


class Failure(Exception):
    """The update has failed, with a sentence for a person."""


class Report:
    """The worker's voice: states, percent, output, and how it ended."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._said: Tuple[Optional[Status], Optional[int], str] = (None, None, "")
        self._status = Status.SEARCHING
        self._room = MAX_OUTPUT_CHARS

    @property
    def context_path(self) -> str:
        """The file with the booking's context."""
        return self._run.context_path

    def state(self, status: Status, text: str, percent: Optional[int] = None) -> None:
        """Report the present step; percent is of the whole update, and never goes back."""
        if status is Status.APPLYING:
            self._run.note_acting()
        message = (status, percent, text)
        if message != self._said:
            self._said, self._status = message, status
            self._run.write({"status": int(status), "percent": percent, "text": text[:MAX_TEXT_CHARS]})

    def acting(self) -> None:
        """Report that the guest is about to be changed, by whatever is done in the present state."""
        self._run.note_acting()

    def progress(self, percent: int, text: str) -> None:
        """Report progress within the present state."""
        self.state(self._status, text, percent)

    def output(self, line: str) -> None:
        """Pass a printed line on, while there is room."""
        if self._room > 0:
            line = line[:_MAX_LINE_CHARS]
            self._room -= len(line) + 1
            self._run.write({"output": line if self._room > 0 else "(the rest is not passed on)"})

    def packages(self, changes: List[PackageChange]) -> None:
        """Report what was changed."""
        self._run.write({"packages": [list(change) for change in changes]})

    def end(self, end: str, text: str) -> None:
        """Report the result: ``success`` or ``reboot``. Nothing follows."""
        self._run.write({"end": end, "text": text[:MAX_TEXT_CHARS]})

    def fail(self, text: str, unchanged: bool) -> None:
        """Report a failure, and whether the guest is as it was before. Nothing follows."""
        self._run.write({"end": "failed", "text": text[:MAX_TEXT_CHARS], "unchanged": unchanged})

    def prepared(self, end: str, text: str, planned: List[PackageChange]) -> None:
        """Report what a preparation came to: ``ready`` or ``nothing``. Nothing follows."""
        packages = [list(change) for change in planned[:_MAX_PLANNED]]
        self._run.write({"end": end, "text": text[:MAX_TEXT_CHARS], "packages": packages})

    def pause(self, seconds: float) -> None:
        """Wait; raises ``Stopped`` where the host asks for a stop meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._run.must_stop:
                raise Stopped
            time.sleep(0.1)

    def conversation(self, may_stop: bool) -> Conversation:
        """Return the means to run a program whose output is passed on."""
        return Conversation(self.output, lambda: may_stop and self._run.must_stop)
