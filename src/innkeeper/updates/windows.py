"""Add, list and remove windows, and say which is open for a machine."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Sequence

from innkeeper.errors import (
    AlreadyThere,
    ChangedMeanwhile,
    ErrorCode,
    InvalidArgument,
    MachineAmbiguous,
    UpdateError,
)
from innkeeper.machines.places import Places
from innkeeper.machines.selector import Aspect
from innkeeper.schedule.calendar import zone_database
from innkeeper.updates.bulk import Outcome
from innkeeper.updates.coverage import coverage_of
from innkeeper.updates.machine_name import MachineName, Named, is_glob
from innkeeper.updates.ports import WindowStore
from innkeeper.updates.window import Window

#: The longest a window stays open.
MAX_DURATION = dt.timedelta(days=7)
_ASPECTS = frozenset(aspect.value for aspect in Aspect)


class Windows:
    """The windows of the service, by name."""

    def __init__(
        self,
        store: WindowStore,
        places: Places,
        elsewhere: Callable[[str], Awaitable[Named | None]] | None = None,
    ) -> None:
        """``elsewhere`` finds a machine that another server looks after."""
        self._store = store
        self._places = places
        self._elsewhere = elsewhere

    async def add(self, window: Window, *, seen: Window | None = None, is_new: bool = False) -> Window:
        """Add a window, or replace the one of this name, where that is still as it was seen.

        ``is_new``, there is to be none of this name. A machine that is named and is known is kept by its
        UUID. Raises ``InvalidArgument``, also as ``ChangedMeanwhile`` or ``AlreadyThere``, or
        ``MachineAmbiguous`` for a name that several machines have.
        """
        _refuse_impossible(window)
        _refuse_words_of_selectors(window)
        window = dataclasses.replace(window, pins=await self._pins(window, seen))
        if is_new:
            if not await self._store.add(window):
                raise AlreadyThere(f"The window “{window.name}”")
        elif seen is None:
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

    async def cover(self, name: str, machines: Sequence[Named]) -> Sequence[Outcome]:
        """Put machines into a window, each kept by its UUID. Raises ``UpdateError``."""
        await self._change(name, lambda window: _with(window, machines))
        return [Outcome(machine=machine.title) for machine in machines]

    async def uncover(self, name: str, machines: Sequence[Named]) -> Sequence[Outcome]:
        """Take machines out of a window; one that a pattern of it means is told.

        Raises ``InvalidArgument`` where the window would be for none, or ``UpdateError``.
        """
        window = await self._change(name, lambda window: _without(window, machines))
        return _still_covered(window, machines)

    async def covered_still(self, name: str, machines: Sequence[Named]) -> Sequence[Outcome]:
        """Return what ``uncover`` would come to; nothing is changed."""
        return _still_covered(_without(await self.get(name), machines), machines)

    async def _change(self, name: str, change: Callable[[Window], Window]) -> Window:
        """Change a window as it is now, whoever else changes it too."""
        while True:
            seen = await self.get(name)
            changed = change(seen)
            _refuse_impossible(changed)
            if changed == seen or await self._store.replace(seen, changed):
                return changed

    async def _pins(self, window: Window, seen: Window | None) -> tuple[tuple[str, str], ...]:
        """The UUIDs of the machines of all servers that are named whole, and are known.

        A name that several have by now means the machine that it meant in the window as it was seen.
        """
        known = {} if seen is None else dict(seen.pins)
        pins = {}
        for named in dict.fromkeys(each.casefold() for each in window.machines):
            try:
                pins[named] = "" if is_glob(named) else await self._uuid(named)
            except MachineAmbiguous:
                if named not in known:
                    raise
                pins[named] = known[named]
        return tuple((named, uuid) for named, uuid in pins.items() if uuid)

    async def _uuid(self, named: str) -> str:
        if (place := self._places.only(named)) is not None:
            return place.uuid
        machine = None if self._elsewhere is None else await self._elsewhere(named)
        return "" if machine is None else machine.uuid

    async def remove(self, name: str, *, seen: Window | None = None) -> None:
        """Raises ``UpdateError`` where there is none, ``ChangedMeanwhile`` where it is not as seen."""
        if seen is not None:
            if not await self._store.replace(seen, None):
                raise ChangedMeanwhile(f"The window “{name}”")
        elif not await self._store.delete(name):
            raise _unknown(name)


def _with(window: Window, machines: Iterable[Named]) -> Window:
    """The window for these machines too."""
    coverage = coverage_of(((window.machines, window.pins),))
    names, pins = list(window.machines), dict(window.pins)
    for machine in machines:
        if not coverage.of(MachineName.of(machine)):
            # A machine that had the name before is kept by it still.
            name = _full_name(machine) if machine.title.casefold() in pins else machine.title
            names.append(name)
            pins[name.casefold()] = machine.uuid
    return dataclasses.replace(window, machines=tuple(names), pins=tuple(pins.items()))


def _without(window: Window, machines: Iterable[Named]) -> Window:
    """The window without the names that mean these machines alone."""
    pins = dict(window.pins)
    uuids = {machine.uuid for machine in machines}
    names = {name.casefold() for machine in machines for name in (machine.title, _full_name(machine))}
    kept = tuple(
        named
        for named in window.machines
        if (
            pins[named.casefold()] not in uuids if named.casefold() in pins else named.casefold() not in names
        )
    )
    left = {named.casefold() for named in kept}
    return dataclasses.replace(
        window, machines=kept, pins=tuple((named, uuid) for named, uuid in window.pins if named in left)
    )


def _still_covered(window: Window, machines: Iterable[Named]) -> Sequence[Outcome]:
    """Return of each machine whether the window is for it even now, by a pattern."""
    coverage = coverage_of(((window.machines, window.pins),))
    return [
        Outcome(machine=machine.title, error=_means(window, machine) if coverage.of(name) else None)
        for machine, name in ((machine, MachineName.of(machine)) for machine in machines)
    ]


def _full_name(machine: Named) -> str:
    return f"{machine.host}/{machine.name}"


def _means(window: Window, machine: Named) -> UpdateError:
    patterns = ", ".join(f"“{named}”" for named in window.machines if is_glob(named))
    return UpdateError(
        f"The window “{window.name}” is for {machine.title} by its pattern {patterns}.",
        code=ErrorCode.ERROR_NOT_SUPPORTED,
        advice="Add the window again with patterns that leave the machine out.",
    )


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


def _refuse_words_of_selectors(window: Window) -> None:
    """Refuse ``host:attic``: to a window it would be a machine's name, which none can have."""
    for named in window.machines:
        word, colon, _ = named.partition(":")
        if colon and word.casefold() in _ASPECTS:
            raise InvalidArgument(
                f"The window “{window.name}” names “{named}”, which only selectors have.",
                code=ErrorCode.ERROR_INVALID_NAME,
                advice="A window takes names, patterns (web-*), host/pattern (attic/*) or all. "
                "To put in what a selector means now: innkeeper window include WINDOW SELECTOR",
            )


def _refuse_unknown_zone(window: Window) -> None:
    try:
        zone_database.find(window.zone)
    except (KeyError, ValueError, OSError) as exc:
        raise InvalidArgument(
            f"The window “{window.name}” names the time zone “{window.zone}”, which is not known.",
            advice="Use an IANA name such as Europe/Madrid, or UTC.",
        ) from exc
