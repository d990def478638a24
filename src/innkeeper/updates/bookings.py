"""Book updates for machines, by an administrator or by the guest itself."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from innkeeper.channels.ports import UpdateStatus
from innkeeper.errors import BookingNotFound, ErrorCode, InnkeeperError, InvalidArgument, UpdateError
from innkeeper.machines.asking import may_be_elsewhere
from innkeeper.machines.directory import MachineEntry
from innkeeper.machines.service import Machines
from innkeeper.tasks.ports import Clock
from innkeeper.updates.booking import (
    MAX_CONTEXT_BYTES,
    Booking,
    BookingCommand,
    BookingState,
    BookingVersion,
    Place,
    Verdict,
)
from innkeeper.updates.bulk import Outcome, booked, cancelled, has_started, is_running
from innkeeper.updates.policy import Policy
from innkeeper.updates.ports import BookingChange, BookingStore
from innkeeper.wire.events import Event, EventKind, Json, Publish

#: Who a booking is by when the guest made it.
GUEST = "guest"
#: The longest label and identifier, in characters.
MAX_NAME_LENGTH = 255


class Bookings:
    """The updates booked for all machines. Key: machine and identifier."""

    def __init__(
        self,
        *,
        store: BookingStore,
        machines: Machines,
        clock: Clock,
        publish: Publish,
        policy: Policy,
        elsewhere: Callable[[str], Awaitable[MachineEntry | None]] | None = None,
    ) -> None:
        """``elsewhere`` finds a machine that another server looks after: its booking is taken
        here while that one is away, and waits for it.
        """
        self._elsewhere = elsewhere
        self._store = store
        self._machines = machines
        self._clock = clock
        self._publish = publish
        self._policy = policy
        # Two bookings under one key must not both see the key free.
        self._writing = asyncio.Lock()

    async def book(
        self,
        machine: str,
        *,
        label: str,
        identifier: str,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        deadline: dt.datetime | None = None,
        context: bytes = b"",
        booked_by: str,
    ) -> Booking:
        """Book an update (``ScheduleTask``), or replace the one that has not started.

        ``start`` ``None`` means now. Raises ``MachineNotFound``, ``InvalidArgument``, or
        ``UpdateError`` where this identifier has started or the guest has booked too much.
        """
        title, key = await self._machine(machine)
        now = self._clock.now()
        booking = _new(
            title,
            key=key,
            identifier=identifier,
            label=label,
            context=context,
            start=now if start is None else start,
            end=end,
            deadline=deadline,
            booked_by=booked_by,
            booked_at=now,
        )
        _refuse_impossible(booking)
        async with self._writing:
            await self._refuse_started(booking)
            await self._refuse_flood(booking)
            only_of = GUEST if booked_by == GUEST else None
            while not await self._store.book(booking, only_of=only_of):
                await self._refuse_started(booking)  # another server has changed it since
        self._tell(EventKind.UPDATE_BOOKED, booking, {"label": label, "by": booked_by})
        return booking

    async def book_many(
        self,
        titles: Mapping[str, str],
        *,
        label: str,
        identifier: str,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        deadline: dt.datetime | None = None,
        context: bytes = b"",
        booked_by: str,
    ) -> Sequence[Outcome]:
        """Book one update for many machines, in one transaction; ``titles`` are by the machines' keys.

        Raises ``InvalidArgument`` where the update is refused for all; one that has started is told.
        """
        now = self._clock.now()
        pattern = _new(
            "",
            identifier=identifier,
            label=label,
            context=context,
            start=now if start is None else start,
            end=end,
            deadline=deadline,
            booked_by=booked_by,
            booked_at=now,
        )
        _refuse_impossible(pattern)
        wanted = [dataclasses.replace(pattern, machine=title, key=key) for key, title in titles.items()]
        async with self._writing:
            refused = await self._store.put_many(wanted)
        for booking in wanted:
            if (booking.of, booking.identifier) not in refused:
                self._tell(EventKind.UPDATE_BOOKED, booking, {"label": label, "by": booked_by})
        return booked(wanted, refused)

    async def cancel_many(self, keys: Collection[str], identifier: str | None = None) -> Sequence[Outcome]:
        """Take back what is booked for machines, all or one identifier; one that runs is told."""
        found = await self._booked(keys, identifier)
        async with self._writing:
            deleted = await self._store.delete_waiting([(b.of, b.identifier) for b in found])
        for booking in found:
            if (booking.of, booking.identifier) in deleted:
                self._tell(EventKind.UPDATE_DELETED, booking, {})
        return cancelled(found, deleted)

    async def cancellable(self, keys: Collection[str], identifier: str | None = None) -> Sequence[Outcome]:
        """What ``cancel_many`` would come to; nothing is changed."""
        found = await self._booked(keys, identifier)
        return cancelled(found, {(b.of, b.identifier) for b in found if b.is_waiting})

    async def list(self, *, machine: str | None = None, ended: bool | None = None) -> Sequence[Booking]:
        """By machine and identifier."""
        of = None if machine is None else self._of(machine)
        return [self._named(booking) for booking in await self._store.list(machine=of, ended=ended)]

    async def page(
        self,
        *,
        machine: str | None = None,
        ended: bool | None = None,
        after: Place | None = None,
        limit: int,
    ) -> Sequence[tuple[Place, Booking]]:
        """By start, machine and identifier, from behind a place on; each with its place.

        In the list a machine stands by the name that it was booked under.
        """
        of = None if machine is None else self._of(machine)
        found = await self._store.page(machine=of, ended=ended, after=after, limit=limit)
        return [(booking.place, self._named(booking)) for booking in found]

    async def versions(self) -> Mapping[tuple[str, str], BookingVersion]:
        """The versions of those that have not ended, by machine and identifier."""
        return await self._store.versions()

    async def get(self, machine: str, identifier: str) -> Booking:
        """Raises ``BookingNotFound``, or ``MachineAmbiguous``."""
        try:
            return self._named(await self._store.get(self._of(machine), identifier))
        except BookingNotFound as error:
            raise _not_booked(await self._called(machine), identifier) from error

    async def find(self, of: str, identifier: str) -> Booking:
        """A booking by the key of its machine (``Booking.of``). Raises ``BookingNotFound``."""
        try:
            return self._named(await self._store.get(of, identifier))
        except BookingNotFound as error:
            raise _not_booked(await self._called(of), identifier) from error

    async def move(self, key: str, to: str) -> None:
        """Give a machine's bookings to it at another host, which has it now."""
        await self._store.move(key, to)

    async def delete(self, machine: str, identifier: str) -> None:
        """Remove a booking (``DeleteSchedule``) that is not running. Raises ``BookingNotFound``."""
        of = self._of(machine)
        while (booking := await self._store.delete(of, identifier)) is None:
            _refuse_running(await self.get(machine, identifier))
        self._tell(EventKind.UPDATE_DELETED, self._named(booking), {})

    async def delete_for_guest(self, machine: str, identifier: str) -> None:
        """Remove a booking that the guest itself made. Raises ``UpdateError``."""
        of = self._of(machine)
        while (booking := await self._store.delete(of, identifier, only_of=GUEST)) is None:
            found = await self.find(of, identifier)
            if found.booked_by != GUEST:
                raise _not_the_guests(found, advice="An administrator can delete it.")
            _refuse_running(found)
        self._tell(EventKind.UPDATE_DELETED, self._named(booking), {})

    # What the trigger agent and the update runs write down

    async def started(self, machine: str, identifier: str, task_id: int) -> None:
        """Note that a run has begun for it; the first run has it.

        Raises ``BookingNotFound``, or ``UpdateError`` where it has another run, or its time is over.
        """
        change = BookingChange(machine=machine, identifier=identifier, task_id=task_id, reason="")
        while await self._store.apply(BookingCommand.START, change) is None:
            booking = await self.find(machine, identifier)
            if booking.task_id == task_id:
                return  # it has ended already
            _refuse_second_start(booking)

    async def status_changed(self, machine: str, identifier: str, task_id: int, status: UpdateStatus) -> None:
        """Note the state that the guest's agent, or the host, gives it (``OnTaskStateChange``)."""
        change = BookingChange(machine=machine, identifier=identifier, task_id=task_id, status=status)
        booking = await self._store.apply(BookingCommand.REPORT, change)
        if booking is not None:
            told: dict[str, Json] = {"status": status.name, "task": task_id}
            self._tell(EventKind.UPDATE_STATE_CHANGED, self._named(booking), told)
        else:
            await self.find(machine, identifier)

    async def ended(self, machine: str, identifier: str, task_id: int, verdict: Verdict, reason: str) -> None:
        """Note what its run came to; one that has another run, or was deleted, is left alone."""
        change = BookingChange(
            machine=machine, identifier=identifier, task_id=task_id, verdict=verdict, reason=reason
        )
        await self._end(BookingCommand.END, change)

    async def put_off(self, machine: str, identifier: str, task_id: int, reason: str) -> None:
        """Note that its run changed nothing, and why: it waits again, and is tried again after a while."""
        change = BookingChange(
            machine=machine, identifier=identifier, task_id=task_id, reason=reason, puts_off=True
        )
        booking = await self._store.apply(BookingCommand.PUT_OFF, change)
        if booking is not None:
            told: dict[str, Json] = {"reason": reason, "task": task_id}
            told["booked_at"] = booking.booked_at.isoformat()
            self._tell(EventKind.UPDATE_PUT_OFF, self._named(booking), told)

    async def on_probation(self, machine: str, identifier: str, task_id: int, reason: str) -> None:
        """Note that its update is kept past its window, on its undo disks, and for whom its merge waits."""
        change = BookingChange(machine=machine, identifier=identifier, task_id=task_id, reason=reason)
        booking = await self._store.apply(BookingCommand.REPORT, change)
        if booking is not None:
            told: dict[str, Json] = {"reason": reason, "task": task_id}
            self._tell(EventKind.UPDATE_ON_PROBATION, self._named(booking), told)

    async def expired(self, booking: Booking, reason: str) -> bool:
        """Note that its time is over; ``False`` where it was deleted, booked again or started since."""
        change = BookingChange(
            machine=booking.of,
            identifier=booking.identifier,
            booked_at=booking.booked_at,
            verdict=Verdict.NOT_STARTED,
            reason=reason,
        )
        return await self._end(BookingCommand.EXPIRE, change)

    async def _end(self, command: BookingCommand, change: BookingChange) -> bool:
        booking = await self._store.apply(command, change)
        if booking is None:
            return False
        told: dict[str, Json] = {"verdict": str(booking.verdict), "reason": booking.reason}
        self._tell(EventKind.UPDATE_ENDED, self._named(booking), told | {"task": booking.task_id})
        return True

    async def _machine(self, reference: str) -> tuple[str, str]:
        """What people and programs call a machine."""
        try:
            place = await self._machines.place_of(reference)
        except InnkeeperError as error:
            if self._elsewhere is None or not may_be_elsewhere(error):
                raise
            entry = await self._elsewhere(reference)
            if entry is None:
                raise
            return entry.title, entry.key
        return self._machines.places.title(place), place.key

    async def _booked(self, keys: Collection[str], identifier: str | None) -> Sequence[Booking]:
        wanted = set(keys)
        found = await self._store.list(ended=False)
        return [
            self._named(each) for each in found if each.of in wanted and identifier in (None, each.identifier)
        ]

    async def _refuse_started(self, booking: Booking) -> None:
        try:
            old = await self.find(booking.of, booking.identifier)
        except BookingNotFound:
            return
        if not old.is_replaceable:
            raise has_started(old)
        if booking.booked_by == GUEST and old.booked_by != GUEST:
            raise _not_the_guests(old, advice="The guest must use another identifier.")

    async def _refuse_flood(self, booking: Booking) -> None:
        if booking.booked_by != GUEST:
            return
        waiting = await self._store.list(machine=booking.of, ended=False)
        others = [old for old in waiting if old.booked_by == GUEST and old.identifier != booking.identifier]
        if len(others) >= self._policy.guest_bookings:
            raise UpdateError(
                f"The guest of {booking.machine} has {len(others)} updates booked, and may not book more.",
                code=ErrorCode.ERROR_BUSY,
                advice="It may book again once some of them have run or are deleted.",
            )

    def _of(self, machine: str) -> str:
        """A machine by its key, whatever it is called by; one that is gone by its name.

        Raises ``MachineAmbiguous``.
        """
        place = self._machines.places.only(machine)
        return machine if place is None else place.key

    async def _called(self, machine: str) -> str:
        """What people call a machine; one that is gone is what it was asked for by."""
        place = self._machines.places.only(machine)
        if place is not None:
            return self._machines.places.title(place)
        entry = None if self._elsewhere is None else await self._elsewhere(machine)
        return machine if entry is None else entry.title

    def _named(self, booking: Booking) -> Booking:
        """The booking with the name that its machine has now."""
        place = self._machines.places.with_key(booking.key) if booking.key else None
        title = booking.machine if place is None else self._machines.places.title(place)
        return booking if title == booking.machine else dataclasses.replace(booking, machine=title)

    def _tell(self, kind: EventKind, booking: Booking, data: dict[str, Json]) -> None:
        told: dict[str, Json] = {"machine": booking.machine, "identifier": booking.identifier, **data}
        if booking.key:
            told["key"] = booking.key
        subject = f"{booking.machine}/{booking.identifier}"
        self._publish(Event(kind=kind, subject=subject, at=self._clock.now(), data=told))


def _new(
    machine: str,
    *,
    key: str = "",
    identifier: str,
    label: str,
    context: bytes,
    start: dt.datetime,
    end: dt.datetime | None,
    deadline: dt.datetime | None,
    booked_by: str,
    booked_at: dt.datetime,
) -> Booking:
    return Booking(
        machine=machine,
        key=key,
        identifier=identifier,
        label=label,
        context=context,
        start=start,
        end=end,
        deadline=deadline,
        booked_by=booked_by,
        booked_at=booked_at,
        status=UpdateStatus.UNKNOWN,
        task_id=None,
        verdict=None,
        reason="",
        next_chance=None,
    )


def _refuse_running(booking: Booking) -> None:
    if booking.state is BookingState.RUNS:
        raise is_running(booking)


def _refuse_second_start(booking: Booking) -> None:
    if booking.state is BookingState.WAITS:
        return
    has = "has ended" if booking.task_id is None else f"has been started as task {booking.task_id}"
    raise UpdateError(
        f"The update “{booking.identifier}” of {booking.machine} {has}, and is not started again.",
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="List the machine's updates to see what became of it.",
    )


def _not_the_guests(booking: Booking, *, advice: str) -> UpdateError:
    return UpdateError(
        f"“{booking.identifier}” of {booking.machine} was booked by {booking.booked_by}, not by the guest.",
        code=ErrorCode.E_ACCESSDENIED,
        advice=advice,
    )


def _not_booked(machine: str, identifier: str) -> BookingNotFound:
    """The refusal in words for people: a key says nothing to them."""
    return BookingNotFound(
        f"No update “{identifier}” is booked for {machine}.", advice="List the machine's updates."
    )


def _refuse_impossible(booking: Booking) -> None:
    """Refuse what no run could ever do right."""
    _refuse_name("identifier", booking.identifier, empty=False)
    _refuse_name("label", booking.label, empty=True)
    if len(booking.context) > MAX_CONTEXT_BYTES:
        raise InvalidArgument(
            f"The context has {len(booking.context)} bytes; at most {MAX_CONTEXT_BYTES} are carried.",
            advice="Put the data where the guest can fetch it, and pass its name as the context.",
        )
    for name, moment in (("start", booking.start), ("end", booking.end), ("deadline", booking.deadline)):
        if moment is not None and moment.tzinfo is None:
            raise InvalidArgument(f"The {name} {moment} has no time zone.", advice="Give an offset, or a Z.")
    for name, moment in (("end", booking.end), ("deadline", booking.deadline)):
        if moment is not None and moment < booking.start:
            raise InvalidArgument(
                f"The {name} {moment.isoformat()} is before the start {booking.start.isoformat()}.",
                advice=f"Give a later {name}, or none.",
            )


def _refuse_name(noun: str, name: str, *, empty: bool) -> None:
    if not name and not empty:
        raise InvalidArgument(f"The {noun} of an update may not be empty.", advice="Name the update.")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidArgument(
            f"The {noun} has {len(name)} characters; at most {MAX_NAME_LENGTH} are allowed.",
            advice=f"Shorten the {noun}.",
        )
    if not name.isprintable():
        raise InvalidArgument(
            f"The {noun} {name!r} holds characters that cannot be printed.", advice="Use plain text."
        )
