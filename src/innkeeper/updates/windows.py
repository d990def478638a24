"""Add, list and remove windows, and say which is open for a machine."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Sequence

from innkeeper.errors import ChangedMeanwhile, ErrorCode, InvalidArgument, UpdateError
from innkeeper.machines.places import Places
from innkeeper.schedule.calendar import zone_database
from innkeeper.updates.machine_name import is_glob
from innkeeper.updates.ports import WindowStore
from innkeeper.updates.window import Window

#: The longest a window stays open.
MAX_DURATION = dt.timedelta(days=7)


class Windows:
    """The windows of the service, by name."""

    def __init__(self, store: WindowStore, places: Places) -> None:
        self._store = store
        self._places = places

    async def add(self, window: Window, *, seen: Window | None = None) -> Window:
        """Add a window, or replace the one of this name, where that is still as it was seen.

        A machine that is named and is there is kept by its UUID. Raises ``InvalidArgument``, also as
        ``ChangedMeanwhile``, or ``MachineAmbiguous`` for a name that several machines have.
        """
        _refuse_impossible(window)
        window = dataclasses.replace(window, pins=tuple(self._pins(window)))
        if seen is None:
            await self._store.put(window)
        elif not await self._store.replace(seen, window):
            raise ChangedMeanwhile(f"The window “{window.name}”")
        return window

    async def list(self) -> Sequence[Window]:
        """By name."""
        return await self._store.list()

    async def get(self, name: str) -> Window:
        """Raises ``UpdateError`` where there is no such window."""
        for window in await self._store.list():
            if window.name == name:
                return window
        raise _unknown(name)

    def _pins(self, window: Window) -> Iterator[tuple[str, str]]:
        """The UUIDs of the machines that are named whole, and are there."""
        for named in dict.fromkeys(each.casefold() for each in window.machines):
            if not is_glob(named) and (place := self._places.only(named)) is not None:
                yield named, place.uuid

    async def remove(self, name: str, *, seen: Window | None = None) -> None:
        """Raises ``UpdateError`` where there is none, ``ChangedMeanwhile`` where it is not as seen."""
        if seen is not None:
            if not await self._store.replace(seen, None):
                raise ChangedMeanwhile(f"The window “{name}”")
        elif not await self._store.delete(name):
            raise _unknown(name)


def _unknown(name: str) -> UpdateError:
    return UpdateError(
        f"There is no window “{name}”.",
        code=ErrorCode.ERROR_NOT_FOUND,
        advice="List the windows to see their names.",
    )


def _refuse_impossible(window: Window) -> None:
    """Refuse a window that could never open."""
    if not window.name or not window.name.isprintable():
        raise InvalidArgument("A window needs a printable name.", advice="Name the window.")
    if not window.weekdays and not window.dates:
        raise InvalidArgument(
            f"The window “{window.name}” has neither weekdays nor dates, so it would never open.",
            advice="Give it weekdays, dates, or both.",
        )
    if not dt.timedelta() < window.duration <= MAX_DURATION:
        raise InvalidArgument(
            f"The window “{window.name}” would stay open for {window.duration}.",
            advice=f"Give a duration above zero and up to {MAX_DURATION.days} days.",
        )
    if not window.machines:
        raise InvalidArgument(
            f"The window “{window.name}” covers no machine.", advice="Name machines, globs, or “all”."
        )
    if window.start.tzinfo is not None:
        raise InvalidArgument(
            f"The opening time of the window “{window.name}” carries a zone of its own.",
            advice="Give a plain time, and the zone apart.",
        )
    _refuse_unknown_zone(window)


def _refuse_unknown_zone(window: Window) -> None:
    try:
        zone_database.find(window.zone)
    except (KeyError, ValueError, OSError) as exc:
        raise InvalidArgument(
            f"The window “{window.name}” names the time zone “{window.zone}”, which is not known.",
            advice="Use an IANA name such as Europe/Madrid, or UTC.",
        ) from exc
