"""Work out for all that a guest has what its loss would mean: by the rules themselves, one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from innkeeper.channels.guest_details import GuestDetails
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health import listeners, mounts, routes, units
from innkeeper.updates.health.finding import Finding, Judgement


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stake:
    """One thing that a guest has, and what its loss would count."""

    subject: str
    #: What it is like now, for a person.
    now: str
    #: What would be found if it were lost; ``None`` where that is nothing.
    loss: Finding | None


def what_counts(report: HealthReport, ignored: Iterable[str] = ()) -> tuple[Stake, ...]:
    """Return all that a guest could lose by an update, by subject; nothing for the guest of an old agent."""
    details = report.details
    if details is None:
        return ()
    patterns = tuple(ignored)
    stakes = (*_units(details), *_listeners(report, details), *_mounts(report, details),
              *_routes(report, details))  # fmt: skip
    return tuple(
        dataclasses.replace(stake, loss=_counted(stake.loss, patterns))
        for stake in sorted(stakes, key=lambda stake: stake.subject)
    )


def _counted(loss: Finding | None, patterns: tuple[str, ...]) -> Finding | None:
    return None if loss is None else Judgement(findings=(loss,)).ignoring(patterns).findings[0]


def _units(details: GuestDetails) -> Iterator[Stake]:
    for unit in details.units.values():
        yield Stake(subject=f"unit:{unit.name}", now=units.words_of(unit), loss=units.loss_of(unit, details))


def _listeners(report: HealthReport, details: GuestDetails) -> Iterator[Stake]:
    for protocol, port in sorted({(one.protocol, one.port) for one in details.listeners}):
        here = [one for one in details.listeners if (one.protocol, one.port) == (protocol, port)]
        rest = tuple(one for one in details.listeners if one not in here)
        after = dataclasses.replace(report, details=dataclasses.replace(details, listeners=rest))
        yield Stake(
            subject=f"listener:{protocol}/{port}",
            now=listeners.words_of(here[0], details.usual_seconds(f"{protocol}/{port}")),
            loss=_first(listeners.findings(report, after)),
        )


def _mounts(report: HealthReport, details: GuestDetails) -> Iterator[Stake]:
    for mount in details.mounts:
        after = dataclasses.replace(report, mounts=report.mounts - {mount.place})
        yield Stake(
            subject=mounts.subject_of(mount),
            now=f"{mount.kind}{', which can only be read' if mount.read_only else ''}",
            loss=_first(mounts.findings(report, after)),
        )


def _routes(report: HealthReport, details: GuestDetails) -> Iterator[Stake]:
    told = [route for route in details.routes or () if route.network]
    for subject in dict.fromkeys(map(routes.subject_of, told)):
        lost = [route for route in told if routes.subject_of(route) == subject]
        rest = tuple(route for route in details.routes or () if route not in lost)
        after = dataclasses.replace(report, details=dataclasses.replace(details, routes=rest))
        yield Stake(
            subject=subject,
            now=", ".join(dict.fromkeys(routes.words_of(route) for route in lost)),
            loss=_first(routes.findings(report, after)),
        )


def _first(findings: Iterator[Finding]) -> Finding | None:
    found = list(findings)
    return next((each for each in found if each.is_fault), found[0] if found else None)
