"""Ask the kit as the host does, and read its answers by the host's own readers, which believe nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innkeeper.channels.guest_details import Effect
from innkeeper.channels.health_statements import read_effect, read_evidence, read_health
from innkeeper.channels.kits.powershell import word
from innkeeper.channels.ports import AgentTask, HealthReport, Preparation
from innkeeper.channels.statements import read_preparation, read_task_of
from tests.kits.windows.machine import Windows

IDENTIFIER = "-2026-11: März"


class Guest:
    """Questions to one guest."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def ask(self, verb: str, *words: str, stdin: bytes = b"") -> Mapping[str, object]:
        """Ask anything."""
        return self.windows.answer(verb, *map(word, words), stdin=stdin)

    def refusal(self, verb: str, *words: str, stdin: bytes = b"") -> str:
        """Ask what is refused."""
        return str(self.ask(verb, *words, stdin=stdin)["error"])

    def prepare(self, *, attempt: str = "1", offset: int = 0, context: bytes = b"") -> Preparation:
        """Prepare an update, or look how far that is."""
        answer = self.ask("prepare", "Security", IDENTIFIER, attempt, str(offset), stdin=context)
        return read_preparation(answer["preparation"])

    def prepared(self, *, attempt: str = "1", context: bytes = b"") -> Preparation:
        """Prepare an update to the end."""
        self.prepare(attempt=attempt, context=context)
        return self.prepare(attempt=attempt)

    def start(self, *, attempt: str = "1", context: bytes = b"") -> AgentTask:
        """Start an update."""
        return read_task_of(
            self.ask("start", "Security", IDENTIFIER, attempt, stdin=context)["task"], IDENTIFIER
        )

    def task(self) -> AgentTask:
        """Return how the update is."""
        return read_task_of(self.ask("task", IDENTIFIER)["task"], IDENTIFIER)

    def updated(self, *, attempt: str = "1", context: bytes = b"") -> AgentTask:
        """Prepare and update, to the end."""
        self.prepared(attempt=attempt, context=context)
        self.start(attempt=attempt, context=context)
        return self.task()

    def health(self, *, history: bool = False) -> HealthReport:
        """Return its health."""
        return read_health(self.ask("health", *(["history"] if history else []))["health"])

    def effect(self) -> Effect:
        """Return what has not taken effect."""
        return read_effect(self.ask("effect"))

    def evidence(self, *units: str) -> Mapping[str, Sequence[str]]:
        """Return what is known of units."""
        return read_evidence(self.ask("evidence", *units), units)
