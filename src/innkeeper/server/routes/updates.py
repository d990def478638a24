"""Routes of updates: book and cancel them, read their reports."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role
from innkeeper.server.house import House
from innkeeper.server.http.paging import Page, PageWanted, Place, wrong_place
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import key_of, machine_in_body, machine_in_path, what_they_see
from innkeeper.server.identity.visibility import sees_booking
from innkeeper.server.messages import report_message, task_message, update_message
from innkeeper.server.relay.machines import told_elsewhere
from innkeeper.server.routes.asking import TheCaller, TheHouse, TheUser
from innkeeper.server.shared_names import of_shared_names
from innkeeper.tasks.task import TaskFilter
from innkeeper.updates.booking import Booking
from innkeeper.updates.booking import Place as BookingPlace
from innkeeper.wire import messages as wire
from innkeeper.wire.queries import UpdateQuery

router = APIRouter(prefix="/updates", tags=["updates"])


@router.get(
    "",
    operation_id="list_updates",
    dependencies=needs(
        Role.VIEWER,
        what_they_see.of_all_servers(same=("key", "identifier"), updates=("start", "machine", "identifier")),
    ),
)
async def list_updates(
    house: TheHouse, caller: TheCaller, query: Annotated[UpdateQuery, Query()]
) -> wire.UpdateList:
    """Bookings by start, with the runs under way: those that the caller may see, and asks for."""
    page = await _page(house, caller, query)
    now = house.clock.now()
    running = {
        task.id: task_message(task, now)
        for task in await house.tasks.list(TaskFilter(live=True, limit=100_000))
    }
    explained = await _explained(house, page.entries)
    return wire.UpdateList(
        updates=tuple(update_message(booking, running.get(booking.task_id or 0)) for booking in explained),
        next_after=page.next_after,
    )


async def _page(house: House, caller: Caller, query: UpdateQuery) -> Page[Booking]:
    """Read the page of the bookings that are asked for, and may be seen."""
    machine = await key_of(house, query.machine) if query.machine is not None else None
    text = (query.text or "").casefold()

    async def read(place: Place | None, limit: int) -> Sequence[tuple[Place, Booking]]:
        after = None if place is None else _place_of(place)
        found = await house.bookings.page(machine=machine, ended=query.ended, after=after, limit=limit)
        # Before it is asked who may see them: a role on a name of several covers none of them.
        titled = await _titled(house, [booking for _, booking in found])
        return [(_told(place), booking) for (place, _), booking in zip(found, titled, strict=True)]

    async def is_wanted(booking: Booking) -> bool:
        return _mentions(booking, text) and sees_booking(house, caller, booking)

    return await PageWanted(query.after, query.limit).read(read, is_wanted, parts=3)


def _mentions(booking: Booking, text: str) -> bool:
    return text in booking.label.casefold() or text in booking.identifier.casefold()


def _told(place: BookingPlace) -> Place:
    start, machine, identifier = place
    return start.astimezone(dt.UTC).isoformat(), machine, identifier


def _place_of(place: Place) -> BookingPlace:
    start, machine, identifier = place
    try:
        return dt.datetime.fromisoformat(start).astimezone(dt.UTC), machine, identifier
    except (ValueError, OverflowError) as error:
        raise wrong_place() from error


@router.post(
    "",
    status_code=201,
    operation_id="book_update",
    dependencies=needs(Role.OPERATOR, machine_in_body("machine").waiting),
)
async def book_update(request: wire.BookRequest, house: TheHouse, user: TheUser) -> wire.UpdateMessage:
    """Book an update; the same identifier again replaces one that has not started."""
    booking = await house.bookings.book(
        request.machine,
        label=request.label,
        identifier=request.identifier,
        start=request.start,
        end=request.end,
        deadline=request.deadline,
        context=request.context,
        booked_by=user,
    )
    return await _said(house, booking)


# An identifier may hold any character, a slash too: the whole rest of the path is one.
@router.get(
    "/{machine}/{identifier:path}",
    operation_id="get_update",
    dependencies=needs(Role.VIEWER, machine_in_path("machine").waiting),
)
async def get_update(machine: str, identifier: str, house: TheHouse) -> wire.UpdateDetail:
    """One booking, and its report once there is one."""
    booking = await house.bookings.get(await key_of(house, machine), identifier)
    return wire.UpdateDetail(update=await _said(house, booking), report=await _report(house, booking))


@router.delete(
    "/{machine}/{identifier:path}",
    status_code=204,
    operation_id="delete_update",
    dependencies=needs(Role.OPERATOR, machine_in_path("machine").waiting),
)
async def delete_update(machine: str, identifier: str, house: TheHouse) -> None:
    """Cancel a booking; one that runs is refused."""
    await house.bookings.delete(await key_of(house, machine), identifier)


async def _said(house: House, booking: Booking) -> wire.UpdateMessage:
    (titled,) = await _titled(house, [booking])
    if titled.task_id is None:
        (explained,) = await _explained(house, [titled])
        return update_message(explained, None)
    task = task_message(await house.tasks.get(titled.task_id), house.clock.now())
    return update_message(titled, task)


async def _explained(house: House, bookings: Sequence[Booking]) -> Sequence[Booking]:
    """The same bookings, each that waits with why: of hosts that others look after, those know more."""
    explained = await house.trigger.explain(bookings)
    return explained if house.neighbours is None else await told_elsewhere(house.neighbours, explained)


async def _titled(house: House, bookings: Sequence[Booking]) -> Sequence[Booking]:
    """The same bookings, each with its host before the machine's name where another machine has that now."""
    titles = {each.key: f"{each.host}/{each.name}" for each in await of_shared_names(house)}
    return [
        dataclasses.replace(booking, machine=titles[booking.key]) if booking.key in titles else booking
        for booking in bookings
    ]


async def _report(house: House, booking: Booking) -> wire.ReportMessage | None:
    report = await house.reports.last_of(booking)
    return None if report is None else report_message(report)
