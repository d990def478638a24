"""Parsers of a guest's health report; nothing in it is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innkeeper.channels.guest_details import (
    Effect,
    GuestDetails,
    Listener,
    Mount,
    PastBoot,
    Route,
    StaleProgram,
    UnitFacts,
)
from innkeeper.channels.ports import HealthReport
from innkeeper.channels.statements import (
    MAX_CHECKS,
    MAX_ITEMS,
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    Reader,
    Unbelievable,
    clean,
    said_nothing,
)
from innkeeper.wire.events import Json
from innkeeper.wire.guest_facts import MAX_EVIDENCE_UNITS

_MOST = (1 << 53) - 1
_MAX_ALIASES = 64
_MAX_LINES = 12
_MAX_BOOTS = 16
_MAX_PORTS = 500
_MAX_ROUTES = 500
#: What a guest claims to take longer than this is not waited for.
_LONGEST_SECONDS = 3600
_MAX_LINE_CHARS = 400


def read_health(response: object) -> HealthReport:
    """Read the guest's report of its own health."""
    reader = Reader(response)
    checks = reader.mapping("failed_checks", MAX_CHECKS)
    return HealthReport(
        boot_id=reader.name("boot_id"),
        kernel=reader.text("kernel", MAX_NAME_CHARS),
        system_state=reader.text("system_state", 64),
        failed_units=frozenset(reader.texts("failed_units", MAX_ITEMS)),
        listeners=frozenset(reader.texts("listeners", MAX_ITEMS)),
        mounts=frozenset(reader.texts("mounts", MAX_ITEMS)),
        package_database_ok=reader.truth("package_database_ok"),
        reboot_required=reader.truth("reboot_required"),
        failed_checks={clean(name, MAX_NAME_CHARS): clean(text, MAX_TEXT_CHARS) for name, text in checks},
        details=None if said_nothing(response, "details") else read_details(reader.member("details")),
    )


def read_evidence(response: object, units: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Read what the guest says of units that it was asked about; of others it says nothing."""
    told = Reader(response).mapping("evidence", MAX_EVIDENCE_UNITS)
    return {unit: _lines(lines) for unit, lines in told if unit in units}


def _lines(value: object) -> Sequence[str]:
    if not isinstance(value, list) or len(value) > _MAX_LINES:
        raise Unbelievable(f"the evidence of a unit is not a list of at most {_MAX_LINES}")
    return tuple(clean(line, _MAX_LINE_CHARS) for line in value)


def read_effect(response: object) -> Effect:
    """Read whether an update has taken effect."""
    reader = Reader(response)
    rows = [_Row(row, 3) for row in reader.items("stale", MAX_ITEMS)]
    return Effect(
        reboot=reader.text("reboot", MAX_TEXT_CHARS),
        stale=tuple(StaleProgram(unit=row.text(0), program=row.text(1), path=row.text(2)) for row in rows),
    )


def read_details(response: object) -> GuestDetails:
    """Read the details of a report; also of one that is kept in a journal."""
    reader = Reader(response)
    low, high = (_Row(reader.member("any_ports"), 2).number(at, 0, 65535) for at in (0, 1))
    units = [_unit(_Row(row, 13)) for row in reader.items("units", MAX_ITEMS)]
    return GuestDetails(
        uptime=reader.number("uptime", 0, _MOST),
        units={unit.name: unit for unit in units},
        unit_files=frozenset(reader.texts("unit_files", MAX_ITEMS)),
        listeners=tuple(_listener(_Row(row, 5)) for row in reader.items("listeners", MAX_ITEMS)),
        any_ports=(low, high),
        mounts=tuple(_mount(_Row(row, 5)) for row in reader.items("mounts", MAX_ITEMS)),
        routes=None if said_nothing(response, "routes") else _routes(reader),
        floating=frozenset(
            () if said_nothing(response, "floating") else reader.texts("floating", _MAX_ROUTES)
        ),
        complaints=frozenset(reader.texts("complaints", MAX_ITEMS)),
        failed_lately=frozenset(reader.texts("failed_lately", MAX_ITEMS)),
        boots=() if said_nothing(response, "boots") else tuple(map(_boot, reader.items("boots", _MAX_BOOTS))),
    )


def details_to_json(details: GuestDetails) -> Json:
    """The form that ``read_details`` reads, without what is of no use as a baseline."""
    return {
        "uptime": details.uptime,
        "units": [_unit_row(unit) for unit in details.units.values()],
        "unit_files": [],
        "listeners": [
            [one.protocol, one.address, one.port, one.unit, one.program] for one in details.listeners
        ],
        "any_ports": [*details.any_ports],
        "mounts": [
            [one.place, one.kind, one.read_only, one.origin, ",".join(sorted(one.options))]
            for one in details.mounts
        ],
        "routes": None if details.routes is None else [_route_row(route) for route in details.routes],
        "floating": [*sorted(details.floating)],
        "complaints": [*sorted(details.complaints)],
        "failed_lately": [*sorted(details.failed_lately)],
        "boots": [
            {"watched": boot.watched, "ports": {**boot.ports}, "load": boot.load, "free_mib": boot.free_mib}
            for boot in details.boots
        ],
    }


class _Row:
    """Takes members out of a list, each with its type and bounds; a newer agent may have appended some."""

    def __init__(self, value: object, least: int) -> None:
        if not isinstance(value, list) or len(value) < least:
            raise Unbelievable(f"a row is not a list of {least}")
        self._values: list[object] = value

    def __len__(self) -> int:
        return len(self._values)

    def text(self, at: int) -> str:
        return clean(self._values[at], MAX_NAME_CHARS)

    def texts(self, at: int) -> tuple[str, ...]:
        value = self._values[at]
        if not isinstance(value, list) or len(value) > _MAX_ALIASES:
            raise Unbelievable(f"a member of a row is not a list of at most {_MAX_ALIASES}")
        return tuple(clean(text, MAX_NAME_CHARS) for text in value)

    def number(self, at: int, least: int, most: int) -> int:
        value = self._values[at]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Unbelievable(f"a member of a row is not a number from {least} to {most}")
        return value

    def truth(self, at: int) -> bool:
        value = self._values[at]
        if not isinstance(value, bool):
            raise Unbelievable("a member of a row is neither true nor false")
        return value


def _unit(row: _Row) -> UnitFacts:
    return UnitFacts(
        name=row.text(0),
        aliases=row.texts(1),
        active=row.text(2),
        sub=row.text(3),
        type=row.text(4),
        restarts=row.number(5, 0, _MOST),
        remains=row.truth(6),
        enablement=row.text(7),
        wanted=row.truth(8),
        triggered=row.truth(9),
        triggers=row.texts(10),
        has_job=row.truth(11),
        age=row.number(12, 0, _MOST),
    )


def _unit_row(unit: UnitFacts) -> Json:
    return [
        unit.name, [*unit.aliases], unit.active, unit.sub, unit.type, unit.restarts, unit.remains,
        unit.enablement, unit.wanted, unit.triggered, [*unit.triggers], unit.has_job, unit.age,
    ]  # fmt: skip


def _boot(told: object) -> PastBoot:
    reader = Reader(told)
    ports = {}
    for name, seconds in reader.mapping("ports", _MAX_PORTS):
        if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
            raise Unbelievable("a port is not listened on so many seconds after a boot")
        ports[clean(name, 32)] = min(seconds, _LONGEST_SECONDS)
    return PastBoot(
        watched=reader.number("watched", 0, _MOST),
        ports=ports,
        load=reader.number("load", 0, _MOST),
        free_mib=reader.number("free_mib", 0, _MOST),
    )


def _listener(row: _Row) -> Listener:
    return Listener(
        protocol=row.text(0),
        address=row.text(1),
        port=row.number(2, 0, 65535),
        unit=row.text(3),
        program=row.text(4),
    )


def _routes(reader: Reader) -> tuple[Route, ...]:
    rows = [_Row(row, 5) for row in reader.items("routes", _MAX_ROUTES)]
    return tuple(
        Route(
            family=row.text(0), network=row.text(1), device=row.text(2), kind=row.text(3),
            is_linked=row.truth(4),
            # Agents of former releases tell neither.
            is_up=len(row) < 7 or row.truth(5), addresses=row.texts(6) if len(row) > 6 else (),
        )
        for row in rows
    )  # fmt: skip


def _route_row(route: Route) -> Json:
    return [
        route.family, route.network, route.device, route.kind, route.is_linked,
        route.is_up, [*route.addresses],
    ]  # fmt: skip


def _mount(row: _Row) -> Mount:
    return Mount(
        place=row.text(0),
        kind=row.text(1),
        read_only=row.truth(2),
        origin=row.text(3),
        options=frozenset(filter(None, row.text(4).split(","))),
    )
