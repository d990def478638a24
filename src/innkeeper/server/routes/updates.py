"""Answer for updates: book them, take them back, read how they came out."""

from __future__ import annotations

from fastapi import APIRouter

from innkeeper.errors import ErrorCode, MachineNotFound, UpdateError
from innkeeper.identity.roles import Role
from innkeeper.server.house import House
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.seen import sees_machine
from innkeeper.server.identity.subjects import machine_in_body, machine_in_path, what_they_see
from innkeeper.server.messages import report_message, task_message, update_message
from innkeeper.server.routes.asking import TheCaller, TheHouse, TheUser
from innkeeper.updates.booking import Booking
from innkeeper.wire import messages as wire

router = APIRouter(prefix="/updates", tags=["updates"])


@router.get("", operation_id="list_updates", dependencies=needs(Role.VIEWER, what_they_see))
async def list_updates(house: TheHouse, caller: TheCaller, machine: str | None = None) -> wire.UpdateList:
    """All bookings, by start, with the runs that are under way."""
    name = await _known_name(house, machine) if machine is not None else None
    bookings = sorted(await house.bookings.list(machine=name), key=lambda booking: booking.start)
    now = house.clock.now()
    running = {task.id: task_message(task, now) for task in await house.tasks.list(live=True, limit=100_000)}
    updates = (
        update_message(booking, running.get(booking.task_id or 0))
        for booking in bookings
        if sees_machine(house, caller, booking.machine)
    )
    return wire.UpdateList(updates=tuple(updates))


@router.post(
    "",
    status_code=201,
    operation_id="book_update",
    dependencies=needs(Role.OPERATOR, machine_in_body("machine")),
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
    house.trigger.wake()
    return await _said(house, booking)


# An identifier may hold any character, a slash too: the whole rest of the path is one.
@router.get(
    "/{machine}/{identifier:path}",
    operation_id="get_update",
    dependencies=needs(Role.VIEWER, machine_in_path("machine")),
)
async def get_update(machine: str, identifier: str, house: TheHouse) -> wire.UpdateDetail:
    """One booking, and its report once there is one."""
    booking = await house.bookings.get(await _known_name(house, machine), identifier)
    return wire.UpdateDetail(update=await _said(house, booking), report=await _report(house, booking))


@router.delete(
    "/{machine}/{identifier:path}",
    status_code=204,
    operation_id="delete_update",
    dependencies=needs(Role.OPERATOR, machine_in_path("machine")),
)
async def delete_update(machine: str, identifier: str, house: TheHouse) -> None:
    """Take a booking back; one that runs is refused."""
    await house.bookings.delete(await _known_name(house, machine), identifier)
    house.trigger.wake()


async def _known_name(house: House, machine: str) -> str:
    """The machine's name as its host spells it; one that has gone keeps its bookings, under its old name."""
    try:
        return (await house.machines.get(machine)).name
    except MachineNotFound:
        return machine


async def _said(house: House, booking: Booking) -> wire.UpdateMessage:
    if booking.task_id is None:
        return update_message(booking, None)
    task = task_message(await house.tasks.get(booking.task_id), house.clock.now())
    return update_message(booking, task)


async def _report(house: House, booking: Booking) -> wire.ReportMessage | None:
    if booking.task_id is None:
        return None
    try:
        return report_message(await house.reports.of_run(booking.task_id))
    except UpdateError as error:
        if error.code is not ErrorCode.ERROR_NOT_FOUND:
            raise
        return None
