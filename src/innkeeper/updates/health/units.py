"""Compare what a guest's init runs: what has failed, and what was there and is not any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from innkeeper.channels.guest_details import GuestDetails, UnitFacts
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health.finding import Finding

#: A unit that its init has started again this often, and so often a day, does so whatever is updated.
_FLAPS = 3
_DAY_SECONDS = 24 * 3600
_HOUR_SECONDS = 3600
#: A service that has run for this share of a guest's uptime does not end when nobody asks it.
_ALWAYS = 0.9
#: The states of a unit that runs.
ACTIVE = ("active", "reloading", "refreshing")
#: What a loss of is no harm at once: it is told.
_LATER = (".timer", ".path")
#: What systemd-logind starts with a user, and stops after him.
_OF_LOGINS = ("user@", "user-runtime-dir@")


def findings(before: HealthReport, after: HealthReport) -> Iterator[Finding]:
    """What runs worse than before."""
    new = sorted(after.failed_units - before.failed_units)
    if before.details is None or after.details is None:
        # An old agent tells no more than which have failed.
        yield from (_failed(name) for name in new)
        return
    for name in new:
        was = words_of(before.details.unit(name))
        yield dataclasses.replace(_judge_failed(name, before.details, after.details), was=was)
    for unit in before.details.units.values():
        if unit.active in ACTIVE and unit.name not in after.failed_units:
            has_rebooted = before.boot_id != after.boot_id
            found = _judge_present(unit, before.details, after.details, has_rebooted=has_rebooted)
            if found is not None:
                yield found


def is_flapping(unit: UnitFacts, before: GuestDetails) -> bool:
    """Whether the unit ended and was started again before the update as well."""
    often = unit.restarts >= _FLAPS and unit.restarts * _DAY_SECONDS >= _FLAPS * before.uptime
    return often or unit.is_between_starts or unit.name in before.failed_lately


def loss_of(unit: UnitFacts, details: GuestDetails) -> Finding | None:
    """Return what would be found if the unit stood still after a reboot, and nothing else had changed."""
    if unit.active not in ACTIVE:
        return None
    lost = dataclasses.replace(unit, active="inactive", sub="dead", has_job=False)
    after = dataclasses.replace(details, units={**details.units, unit.name: lost})
    return _judge_present(unit, details, after, has_rebooted=True)


def why_not_missed(unit: UnitFacts, before: GuestDetails, *, has_rebooted: bool) -> str:
    """Return why nobody misses what a unit served that is not active any more; empty where somebody may."""
    if unit.enablement == "transient":
        return "was started for once"
    if unit.type == "oneshot" and not unit.remains:
        return "is a job that is over"
    is_young = unit.age < min(_HOUR_SECONDS, _ALWAYS * before.uptime)
    if (unit.triggered and (is_young or not unit.is_expected)) or (
        unit.type == "dbus" and not unit.is_expected
    ):
        return "is started when it is asked for"
    is_by_hand = unit.enablement == "disabled" and not unit.is_expected
    return "was started by hand" if is_by_hand and has_rebooted else ""


def words_of(unit: UnitFacts | None) -> str:
    """Return what a unit was like, for a person."""
    if unit is None:
        return "not there"
    state = f"{unit.active} ({unit.sub})" if unit.sub else unit.active
    again = f", started again {unit.restarts} times" if unit.restarts else ""
    return f"{state}{_for(unit.age)}{again}"


def _for(seconds: int) -> str:
    """For how long, in the largest unit that says it."""
    for name, length in (("days", _DAY_SECONDS), ("hours", _HOUR_SECONDS), ("minutes", 60), ("seconds", 1)):
        if seconds >= 2 * length:
            return f", for {seconds // length} {name}"
    return ""


def _failed(name: str, why_not: str = "") -> Finding:
    """A new failure; ``why_not``: why it does not count."""
    return Finding(
        subject=f"unit:{name}",
        sentence=f"The unit {name} has failed{f', which does not count: {why_not}' if why_not else ''}.",
        is_fault=not why_not,
        unit=name,
    )


def _judge_failed(name: str, before: GuestDetails, after: GuestDetails) -> Finding:
    was, now = before.unit(name), after.unit(name)
    if _failed_lately(name, now, before):
        return _failed(name, "it failed in the week before the update too")
    if was is not None and is_flapping(was, before):
        return _failed(name, "it did not run steadily before the update either")
    if name.endswith((".mount", ".automount", ".swap")):
        return _failed(name, "what is mounted is judged by itself")
    if now is not None and now.enablement == "transient":
        return _failed(name, "somebody started it for once")
    if now is not None and _is_job(now, was, after):
        return _failed(name, "it is a job that is started again at its time")
    if "@" in name and was is None:
        return _failed(name, "it did not run before the update")
    return _failed(name)


def _failed_lately(name: str, now: UnitFacts | None, before: GuestDetails) -> bool:
    """Return whether it failed in the week before, under whatever of its names."""
    return bool({name, *(now.aliases if now is not None else ())} & before.failed_lately)


def _is_job(now: UnitFacts, was: UnitFacts | None, after: GuestDetails) -> bool:
    """Return whether it works at its time and ends; one that has a timer and ran beside it is none."""
    if now.triggered and now.type == "oneshot":
        return True
    timers = (unit for unit in after.units.values() if unit.name.endswith(".timer"))
    has_timer = any(now.name in timer.triggers for timer in timers)
    return has_timer and not now.is_expected and (was is None or not was.is_expected)


def _judge_present(
    unit: UnitFacts, before: GuestDetails, after: GuestDetails, *, has_rebooted: bool
) -> Finding | None:
    """Look whether a unit that was active still is, and is missed if not."""
    now = after.unit(unit.name)
    if now is not None and now.active in (*ACTIVE, "failed"):
        return None
    if now is not None and now.is_between_starts:
        if is_flapping(unit, before):
            return _gone(unit, "ends and is started again, as it did before the update", is_fault=False)
        return _gone(unit, "keeps ending, and being started again", may_pass=True)
    if now is not None and now.is_starting:
        return _gone(unit, "is still starting", may_pass=True, is_fault=False)
    if not _is_missed(unit, before, after, has_rebooted=has_rebooted):
        return None
    if not after.is_installed(unit.name) and unit.enablement != "generated":
        return _gone(unit, "is not installed any more", is_fault=False)
    if unit.type == "oneshot":
        return _gone(unit, "has not been done again", is_fault=False)
    if not unit.is_expected:
        return _gone(unit, "does not run any more, and nothing starts it by itself", is_fault=False)
    if "/" in unit.name and is_flapping(unit, before):
        # Of users' own managers nobody is told how a service ended, nor that it is between two starts.
        return _gone(unit, "does not run now, and did not run steadily before the update", is_fault=False)
    was_turned_off = now is None
    return _gone(unit, "is not active any more", is_fault=not (unit.name.endswith(_LATER) and was_turned_off))


def _is_missed(unit: UnitFacts, before: GuestDetails, after: GuestDetails, *, has_rebooted: bool) -> bool:
    """Whether somebody relied on the unit: not on what comes with a login, a question or a moment."""
    is_of_login = unit.name.startswith(_OF_LOGINS) and "/" not in unit.name
    if is_of_login or unit.enablement == "transient" or _is_asked_for(unit, before):
        return False
    if unit.type == "oneshot":
        return unit.remains and unit.enablement.startswith("enabled")
    if unit.name.endswith(".socket"):
        started = map(after.unit, unit.triggers)
        return unit.is_expected and not any(one is not None and one.active in ACTIVE for one in started)
    if unit.is_expected:
        return True
    # Somebody started it by hand, or a question on the bus did: neither is repeated by a boot.
    return unit.enablement == "disabled" and unit.type != "dbus" and not has_rebooted


def _is_asked_for(unit: UnitFacts, before: GuestDetails) -> bool:
    """Whether just a question started it: not so where it has run all the time beside its socket."""
    if not unit.triggered:
        return False
    has_always_run = unit.is_expected and unit.age >= _ALWAYS * before.uptime
    return not (has_always_run and before.uptime >= _HOUR_SECONDS)


def _gone(unit: UnitFacts, what: str, *, is_fault: bool = True, may_pass: bool = False) -> Finding:
    return Finding(
        subject=f"unit:{unit.name}",
        sentence=f"The unit {unit.name}, which was active, {what}.",
        is_fault=is_fault,
        may_pass=may_pass,
        was=words_of(unit),
        unit=unit.name,
    )
