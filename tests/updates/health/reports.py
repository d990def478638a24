"""Health reports of an ordinary server, to be changed by tests."""

from __future__ import annotations

import dataclasses

from innkeeper.channels.guest_details import GuestDetails, Listener, Mount, UnitFacts
from innkeeper.channels.ports import HealthReport
from innkeeper.updates import health

WEEK_SECONDS = 7 * 24 * 3600


def unit(name: str, active: str = "active", **facts: object) -> UnitFacts:
    """A unit that the boot wants, as most are."""
    usual = {"sub": "running", "type": "simple", "enablement": "enabled", "wanted": True}
    return UnitFacts(name=name, active=active, **(usual | facts))  # type: ignore[arg-type] # a test's shorthand


def details(*units: UnitFacts, **facts: object) -> GuestDetails:
    """What a guest with these units tells: all of them are installed."""
    files = {one.name.partition("@")[0] + "@.service" if "@" in one.name else one.name for one in units}
    usual = {"uptime": WEEK_SECONDS, "unit_files": frozenset(files)}
    return GuestDetails(units={one.name: one for one in units}, **(usual | facts))  # type: ignore[arg-type]


def report(*units: UnitFacts, boot_id: str = "one", **facts: object) -> HealthReport:
    """A guest's report with these units; ``details`` takes what it has beside them."""
    told = details(*units, **facts)
    return HealthReport(
        boot_id=boot_id,
        kernel="6.1",
        system_state="running",
        failed_units=frozenset(one.name for one in units if one.active == "failed"),
        listeners=frozenset(f"{one.protocol}:{one.address}:{one.port}" for one in told.listeners),
        mounts=frozenset(one.place for one in told.mounts),
        package_database_ok=not told.complaints,
        reboot_required=False,
        failed_checks={},
        details=told,
    )


def old(of: HealthReport) -> HealthReport:
    """The same from an agent of a former release."""
    return dataclasses.replace(of, details=None)


def judged(before: HealthReport, after: HealthReport) -> health.Judgement:
    """Their difference."""
    return health.judge(before, after, must_have_rebooted=False)


def tcp(port: int, unit: str = "", program: str = "", address: str = "0.0.0.0") -> Listener:
    """A TCP listener."""
    return Listener(protocol="tcp", address=address, port=port, unit=unit, program=program)


def udp(port: int, unit: str = "", program: str = "", address: str = "0.0.0.0") -> Listener:
    """A UDP socket that anybody may send to."""
    return Listener(protocol="udp", address=address, port=port, unit=unit, program=program)


def mount(place: str, options: str = "defaults", *, kind: str = "ext4", origin: str = "fstab") -> Mount:
    """A mount of fstab's."""
    return Mount(place=place, kind=kind, origin=origin, options=frozenset(options.split(",")))
