"""The page of one machine: screen, disks, channels, updates, events and commands."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument
from innkeeper.machines.command import LIFE
from innkeeper.machines.undo.overlay_names import run_of
from innkeeper.server.http.kept_slashes import kept
from innkeeper.server.pages.disks import trees
from innkeeper.server.pages.door import Door, whole
from innkeeper.server.pages.forms import Mistake, mistake_of, read_form, wrong
from innkeeper.server.pages.machines import SHOWING
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.server.pages.words import size
from innkeeper.wire.accountant import AccountMessage
from innkeeper.wire.chains import DiskChainList, DiskChainMessage
from innkeeper.wire.channels import ChannelList
from innkeeper.wire.checks import MachineCheckMessage
from innkeeper.wire.commands import Command, find_command
from innkeeper.wire.events import EventGroup, filter_of
from innkeeper.wire.messages import Accepted, BookRequest, MachineMessage, TaskList, UpdateList, UpdateMessage

#: The parts of its page that are read anew by themselves, by their ids.
_PARTS: Final = {
    "now": "machine_now.html",
    "commands": "machine_commands.html",
    "updates": "machine_updates.html",
    "events": "machine_tasks.html",
    "check": "machine_check.html",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Booking:
    """The form of an update."""

    label: str = ""
    identifier: str = ""
    #: As browsers write it: ``2026-11-30T06:00``, in UTC.
    deadline: str = ""


_GRAPHS: Final = (("cpu", "Processors"), ("memory", "Memory"), ("disk", "Disks"), ("network", "Network"))


async def machine(request: Request) -> Response:
    """Show one machine."""
    found = await Door(request).get(f"/machines/{kept(request.path_params['name'])}", MachineMessage)
    values = await _values(request, found)
    part = _PARTS.get(request.headers.get("hx-target", "")) if is_fragment(request) else None
    if part == _PARTS["check"]:
        values["check"] = await Door(request).get(f"/machines/{kept(found.title)}/check", MachineCheckMessage)
    if part is not None:
        return await answer(request, part, values)
    return await _page(request, values)


async def console(request: Request) -> Response:
    """Show a machine's screen, keyboard and mouse."""
    found = await Door(request).get(f"/machines/{kept(request.path_params['name'])}", MachineMessage)
    return await show(request, "console.html", {"machine": found}, here="Machines")


async def book(request: Request) -> Response:
    """Book an update; or show the page again, with the mistake beside its field."""
    form = await read_form(request)
    door = Door(request)
    found = await door.get(f"/machines/{kept(request.path_params['name'])}", MachineMessage)
    booking = Booking(
        label=form.text("label"), identifier=form.text("identifier"), deadline=form.text("deadline")
    )
    mistake = await _booked(door, found.title, booking)
    if mistake is None:
        return RedirectResponse(f"/machines/{quote(found.title, safe='')}#updates", 303)
    values = await _values(request, found) | {"mistakes": [mistake], "booking": booking}
    return await _page(request, values, status=422)


async def take_back(request: Request) -> Response:
    """Cancel a booking that has not started."""
    name, identifier = request.path_params["name"], (await read_form(request)).text("identifier")
    await Door(request).delete(f"/updates/{kept(name)}/{identifier}")
    return RedirectResponse(f"/machines/{quote(name, safe='')}#updates", 303)


async def _booked(door: Door, machine: str, booking: Booking) -> Mistake | None:
    """Book the update; returns the mistake if it is refused."""
    if not booking.identifier:
        return wrong("identifier", "An update needs an identifier.", "Give one, such as 2026-11.")
    try:
        deadline = dt.datetime.fromisoformat(booking.deadline) if booking.deadline else None
        request = BookRequest(
            machine=machine,
            identifier=booking.identifier,
            label=booking.label,
            deadline=deadline.replace(tzinfo=dt.UTC) if deadline else None,
        )
        await door.post("/updates", UpdateMessage, request)
    except ValueError:
        return wrong("deadline", "The deadline is not a date and time.", "Write it as 2026-11-30 06:00.")
    except InnkeeperError as error:
        return mistake_of(error, {"deadline": "deadline", "identifier": "identifier", "label": "label"})
    return None


async def _values(request: Request, found: MachineMessage) -> dict[str, object]:
    door = Door(request)
    return {
        "machine": found,
        "commands": commands_for(found),
        "may_touch": "command_machine" in found.allowed,
        "may_book": "book_update" in found.allowed,
        "may_change": "change_machine" in found.allowed,
        "showing": SHOWING,
        "running": (await door.get("/tasks", TaskList, machine=found.title, live=True, limit=20)).tasks,
        "history": (await door.get("/tasks", TaskList, machine=found.title, live=False, limit=15)).tasks,
        "updates": (await whole(door, "/updates", UpdateList, machine=found.title)).updates,
        "disks": trees(found.disks, await _chains(door, found)),
        "channels": await whole(door, "/channels", ChannelList, machine=found.title),
        "graphs": _GRAPHS,
        "now_of": _now_of(await door.get(f"/machines/{kept(found.title)}/account", AccountMessage)),
        "check": None,
        "mistakes": (),
        "booking": Booking(),
    }


def _now_of(account: AccountMessage) -> Callable[[str], str]:
    """Return each graph's current value as text."""
    rates = account.rates
    message = {
        "cpu": f"{rates.cpu_percent:.0f} %",
        "memory": size(rates.memory_bytes),
        "disk": f"{size(round(rates.disk_read))}/s read, {size(round(rates.disk_written))}/s written",
        "network": f"{size(round(rates.network_received))}/s in, {size(round(rates.network_sent))}/s out",
    }
    return lambda key: message[key] if account.is_on else ""


async def _chains(door: Door, found: MachineMessage) -> Sequence[DiskChainMessage]:
    """Return the machine's disk chains; nothing where the host cannot answer now."""
    try:
        return (await door.get(f"/machines/{kept(found.title)}/chains", DiskChainList)).disks
    except InnkeeperError:
        return ()


async def _page(request: Request, values: Mapping[str, object], *, status: int = 200) -> Response:
    live = filter_of(EventGroup.MACHINE, EventGroup.TASK, EventGroup.UPDATE, EventGroup.CHANNEL)
    return await show(request, "machine.html", values, here="Machines", live=live, status=status)


async def ask(request: Request) -> Response:
    """Show what a command does and costs, and ask for confirmation."""
    values = {
        "machine": await Door(request).get(f"/machines/{kept(request.path_params['name'])}", MachineMessage),
        "command": _command(request),
    }
    if is_fragment(request):
        return await answer(request, "machine_command_form.html", values)
    return await show(request, "machine_command.html", values, here="Machines")


async def command(request: Request) -> Response:
    """Give the command; the machine's page shows its task."""
    await read_form(request)
    name = request.path_params["name"]
    await Door(request).post(f"/machines/{kept(name)}/{_command(request).route}", Accepted)
    return RedirectResponse(f"/machines/{quote(name, safe='')}", 303)


def commands_for(machine: MachineMessage) -> Sequence[Command]:
    """Return the commands that fit a machine's state."""
    if "command_machine" not in machine.allowed:
        return ()
    return tuple(
        command
        for command in Command
        if (machine.state, command) in LIFE
        and (has_undo_disks(machine) or not command.declaration.on_undo_disks)
    )


def has_undo_disks(machine: MachineMessage) -> bool:
    """Whether undo disks lie over the machine's disks."""
    return any(run_of(disk.path) is not None for disk in machine.disks)


def _command(request: Request) -> Command:
    found = find_command(request.path_params["verb"])
    if found is None:
        raise InvalidArgument(
            "There is no such command for a machine.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="Go back to the machine's page, which lists the commands.",
        )
    return found
