"""Excuse what is not listened on any more by its owner: a port is missed as its unit is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from innkeeper.channels.guest_details import GuestDetails, UnitFacts
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health import units
from innkeeper.updates.health.finding import Finding


class Owners:
    """The units that listened before an update, by what has become of them."""

    def __init__(self, before: HealthReport, after: HealthReport) -> None:
        self._before = before
        self._after = after

    def excuse(self, name: str, before: GuestDetails, after: GuestDetails) -> str:
        """Return why the loss of what a unit listened on does not count; empty where it may."""
        was, now = before.unit(name), after.unit(name)
        if was is None:
            return ""
        if now is not None and now.active in units.ACTIVE:
            flaps = units.is_flapping(was, before) and units.is_flapping(now, after)
            return f"{name} ends and is started again, as it did before the update" if flaps else ""
        return self._excuse_of_lost(name, was, now, before)

    def _excuse_of_lost(self, name: str, was: UnitFacts, now: UnitFacts | None, before: GuestDetails) -> str:
        told = self._told.get(name if now is None else now.name) or self._told.get(was.name)
        if told is None:
            if was.triggered and was.is_expected:
                return ""  # the boot starts it, whatever started it last, and it would listen
            why = units.why_not_missed(was, before, has_rebooted=self._before.boot_id != self._after.boot_id)
            return f"{name} {why}" if why else ""
        # What a job of the boot's has left running is judged by itself: of the job it is only told.
        is_excused = not told.is_fault and not (was.type == "oneshot" and was.remains)
        return f"{name} does not count either" if is_excused else ""

    @cached_property
    def _told(self) -> Mapping[str, Finding]:
        return {finding.unit: finding for finding in units.findings(self._before, self._after)}
