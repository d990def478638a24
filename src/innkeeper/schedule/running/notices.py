"""Notices of the settings and triggers of a task that have no effect on this computer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from innkeeper.schedule.events import inn, journal
from innkeeper.schedule.events.query import Subscription
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.registered import Watch
from innkeeper.schedule.running import due
from innkeeper.schedule.running.sources import Sources

_INN: Final = frozenset(name.casefold() for name in (inn.CHANNEL, *inn.CHANNELS.values()))
_JOURNAL: Final = frozenset(name.casefold() for name in journal.CHANNELS)
_WINDOWS_ONLY: Final = "it is a notification of Windows, and nothing here sends it"

#: Why something is missing, for a person; empty where it is there.
Missing = Callable[[], str]


def _nothing() -> str:
    return ""


class Notices:
    """Collects what this computer cannot do, asked of its sources anew each time."""

    def __init__(
        self,
        *,
        sources: Sources,
        journal: Missing = _nothing,
        wake: Missing = _nothing,
        idle: Missing = _nothing,
    ) -> None:
        self._sources = sources
        self._journal = journal
        self._wake = wake
        self._idle = idle

    def of(self, definition: TaskDefinition) -> tuple[str, ...]:
        """A sentence for each trigger and setting that has no effect here. May block for a moment."""
        return (*self._of_triggers(definition), *self._of_settings(definition))

    def _of_triggers(self, definition: TaskDefinition) -> Iterator[str]:
        for number, trigger in enumerate(definition.triggers, 1):
            for reason in self._missing(trigger) if trigger.enabled else ():
                yield f"Trigger {number} ({trigger.tag}) is not available here: {reason}."

    def _missing(self, trigger: t.Trigger) -> Iterator[str]:
        if isinstance(trigger, t.CustomTrigger):
            yield _WINDOWS_ONLY
        elif isinstance(trigger, t.EventTrigger):
            yield from self._of_channels(trigger)
        else:
            watch = due.watch_of(trigger)
            if watch is not Watch.NOTHING and (reason := self._sources.missing(watch)):
                yield reason

    def _of_channels(self, trigger: t.EventTrigger) -> Iterator[str]:
        for channel in sorted(Subscription(trigger.subscription or "").channels):
            if channel.casefold() in _INN:
                continue
            reason = self._journal() if channel.casefold() in _JOURNAL else "nothing writes there"
            if reason:
                yield f"channel {channel}: {reason}"

    def _of_settings(self, definition: TaskDefinition) -> Iterator[str]:
        settings = definition.settings
        wishes: list[tuple[bool, str, Missing]] = [
            (settings.wake_to_run, "WakeToRun", self._wake),
            (settings.run_only_if_idle, "RunOnlyIfIdle", self._idle),
        ]
        for is_wished, name, missing in wishes:
            if is_wished and (reason := missing()):
                yield f"{name} has no effect here: {reason}."
