"""Find what keeps ending and being started again while a guest is watched: its init calls it well."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.channels.guest_details import GuestDetails, UnitFacts
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health.finding import Finding
from innkeeper.updates.health.units import is_flapping, words_of

#: So many starts again in one watch are a loop; fewer may be one, and another watch tells.
_LOOP = 3


def restarting(
    baseline: HealthReport, earlier: HealthReport, later: HealthReport, suspected: frozenset[str]
) -> tuple[Finding, ...]:
    """Return the units that their init has started again between two looks.

    One that did so before the update as well is only told of; so is one that has for the first time, and
    it may pass: the next watch has it among its ``suspected``.
    """
    if earlier.details is None or later.details is None or earlier.boot_id != later.boot_id:
        return ()
    before = baseline.details
    return tuple(
        _finding(unit, times, before, suspected)
        for unit, times in sorted(
            _started_again(earlier.details.units, later.details.units), key=lambda pair: pair[0].name
        )
    )


def _started_again(
    earlier: Mapping[str, UnitFacts], later: Mapping[str, UnitFacts]
) -> list[tuple[UnitFacts, int]]:
    """Return each unit with how often; a loop so slow that it only pauses at both looks counts as one."""
    found = []
    for name, unit in later.items():
        was = earlier.get(name)
        # The counter begins anew with every start by hand.
        times = unit.restarts - was.restarts if was is not None else unit.restarts
        if times > 0:
            found.append((unit, times))
        elif was is not None and was.is_between_starts and unit.is_between_starts:
            found.append((unit, 1))
    return found


def _finding(unit: UnitFacts, times: int, before: GuestDetails | None, suspected: frozenset[str]) -> Finding:
    was = None if before is None else before.unit(unit.name)
    subject = f"unit:{unit.name}"
    if before is not None and (unit.name in before.failed_lately or (was and is_flapping(was, before))):
        return Finding(
            subject=subject,
            sentence=f"The unit {unit.name} ends and is started again, as it did before the update.",
            is_fault=False,
            was=words_of(was),
            unit=unit.name,
        )
    often = f"{times} times" if times > 1 else "once"
    sentence = f"The unit {unit.name} has ended by itself, and was started again {often}"
    return Finding(
        subject=subject,
        sentence=f"{sentence} while it was watched.",
        is_fault=times >= _LOOP or subject in suspected,
        may_pass=times < _LOOP and subject not in suspected,
        was=words_of(was),
        unit=unit.name,
    )
