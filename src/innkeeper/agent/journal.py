"""Remember updates and unsent notices across restarts of the agent and reboots of the guest."""

import json
import os
from typing import Dict, List, NamedTuple, Optional, Tuple, cast

from innkeeper.agent.places import write_durably
from innkeeper.agent.reserve import is_full
from innkeeper.agent.status import Status
from innkeeper.wire.session import Message

#: A package, its version before and its version after; empty where it was not there.
PackageChange = Tuple[str, str, str]

#: How many ended updates are remembered.
KEPT_TASKS = 32
#: How many notices may wait for the host.
MAX_NOTICES = 256
MAX_PACKAGES = 5000
MAX_TEXT_CHARS = 500
_MAX_NAME_CHARS = 255


class TaskEntry:
    """One update the agent was given, and how far it is."""

    def __init__(self, identifier: str, label: str, boot_id: str, attempt: str = "") -> None:
        self.identifier = identifier
        #: Which of the host's runs asked for it; empty from hosts of former releases.
        self.attempt = attempt
        #: Whether it failed before it changed anything.
        self.unchanged = False
        self.label = label
        self.status = Status.SEARCHING
        self.percent: Optional[int] = None
        self.text = ""
        self.packages: List[PackageChange] = []
        #: The boot in which it took its present state.
        self.boot_id = boot_id
        #: How much of its run's events was taken in.
        self.offset = 0

    def report(self) -> Message:
        """Return the update's report for the host, all but the packages."""
        return {
            "identifier": self.identifier,
            "status": int(self.status),
            "percent": self.percent,
            "text": self.text[:MAX_TEXT_CHARS],
            "unchanged": self.unchanged,
        }

    def full_report(self) -> Message:
        """Return the update's report for the host, with the packages."""
        packages = [[part[:_MAX_NAME_CHARS] for part in change] for change in self.packages[:MAX_PACKAGES]]
        return dict(self.report(), packages=packages)

    def to_json(self) -> Message:
        """Return it for the journal."""
        return dict(
            self.full_report(),
            label=self.label,
            boot_id=self.boot_id,
            offset=self.offset,
            attempt=self.attempt,
        )

    @classmethod
    def from_json(cls, data: Dict[str, object]) -> "TaskEntry":
        """Read it from the journal."""
        entry = cls(str(data["identifier"]), str(data["label"]), str(data["boot_id"]))
        entry.status = Status(cast(int, data["status"]))
        entry.percent = cast(Optional[int], data["percent"])
        entry.text = str(data["text"])
        entry.packages = [(p[0], p[1], p[2]) for p in cast(List[List[str]], data["packages"])]
        entry.offset = cast(int, data["offset"])
        # Agents of former releases kept neither.
        entry.attempt, entry.unchanged = str(data.get("attempt", "")), data.get("unchanged") is True
        return entry


class Notice(NamedTuple):
    """A message the host must have, until it says that it has it."""

    number: int
    message: Message


class Journal:
    """The agent's memory: a small JSON file, replaced whole."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.tasks: Dict[str, TaskEntry] = {}
        self.notices: List[Notice] = []
        self._last_number = 0
        self._load()

    @property
    def live_tasks(self) -> List[TaskEntry]:
        """The updates that have not ended."""
        return [task for task in self.tasks.values() if not task.status.is_final]

    def save(self) -> None:
        """Make what is remembered durable."""
        self._prune()
        data = {
            "number": self._last_number,
            "tasks": [task.to_json() for task in self.tasks.values()],
            "notices": [[notice.number, notice.message] for notice in self.notices],
        }
        try:
            write_durably(self._path, json.dumps(data).encode())
        except OSError as error:
            # An agent that ends cannot tell why the disk is full; what it knows is written by the next save.
            if not is_full(error):
                raise

    def add_notice(self, boot_id: str, message: Message) -> Notice:
        """Keep a message for the host; ``save`` makes it durable."""
        self._last_number += 1
        notice = Notice(self._last_number, dict(message, boot_id=boot_id, seq=self._last_number))
        self.notices.append(notice)
        return notice

    def drop_notice(self, number: int) -> bool:
        """Forget the notice the host has; whether it was known."""
        before = len(self.notices)
        self.notices = [notice for notice in self.notices if notice.number != number]
        return len(self.notices) < before

    def _prune(self) -> None:
        ended = [task.identifier for task in self.tasks.values() if task.status.is_final]
        for identifier in ended[:-KEPT_TASKS]:
            del self.tasks[identifier]
        # The greeting names every task's state, so the oldest notices are the ones to lose.
        del self.notices[:-MAX_NOTICES]

    def _load(self) -> None:
        text = _read_whole(self._path)
        if not text:
            return
        try:
            data = json.loads(text)
            for item in data["tasks"]:
                entry = TaskEntry.from_json(item)
                self.tasks[entry.identifier] = entry
            self.notices = [Notice(number, message) for number, message in data["notices"]]
            self._last_number = data["number"]
        except (ValueError, KeyError, TypeError, IndexError):
            # Kept for a person to look at; the host's own journal is the truth.
            self.tasks, self.notices = {}, []
            os.rename(self._path, self._path + ".broken")


def _read_whole(path: str) -> str:
    """Return a file's text, or empty where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return ""
