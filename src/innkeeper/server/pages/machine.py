"""The page of one machine: screen, disks, channels, updates, events and commands."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument
from innkeeper.machines.command import LIFE, Command
from innkeeper.machines.undo.fitness import run_of
from innkeeper.server.pages.disks import trees
from innkeeper.server.pages.door import Door
from innkeeper.server.pages.forms import Mistake, mistake_of, read_form, wrong
from innkeeper.server.pages.machines import SHOWING
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.server.pages.words import size
from innkeeper.server.routes.machines import Verb
from innkeeper.wire.accountant import AccountMessage
from innkeeper.wire.chains import DiskChainList, DiskChainMessage
from innkeeper.wire.channels import ChannelList
from innkeeper.wire.events import EventGroup, filter_of
from innkeeper.wire.messages import Accepted, BookRequest, MachineMessage, TaskList, UpdateList, UpdateMessage


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A command that can be given to a machine, and its effect."""

    verb: Verb
    command: Command
    name: str
    icon: str
    what: str
    #: What is lost, where something is: then the page asks first.
    warning: str = ""


OFFERS: Final = tuple(
    Offer(verb=Verb(verb), command=Command(command), name=name, icon=icon, what=what, warning=warning)
    for verb, command, name, icon, what, warning in (
        ("startup", "startup", "Start", "on", "Turns it on, or goes on from its saved state.", ""),
        ("resume", "resume", "Resume", "on", "Lets its processors go on.", ""),
        ("pause", "pause", "Pause", "pause", "Holds its processors; memory and disks stay as they are.", ""),
        ("save", "save", "Save", "save", "Keeps its memory on the host's disk and turns it off.", ""),
        ("shutdown", "shut_down", "Shut down", "off", "Asks the guest to power off, and waits for it.", ""),
        (
            "reset",
            "reset",
            "Reset",
            "reset",
            "Presses the reset button: the guest is not asked.",
            "What the guest has not written to its disks is lost.",
        ),
        (
            "turn_off",
            "turn_off",
            "Turn off",
            "off",
            "Pulls the plug: the guest is not asked.",
            "What the guest has not written to its disks is lost. “Shut down” asks the guest instead.",
        ),
        (
            "discard_saved_state",
            "discard_saved_state",
            "Discard saved state",
            "bad",
            "Throws its saved memory away; it is off then.",
            "What ran in it when it was saved is lost, as if the plug had been pulled.",
        ),
        (
            "merge_undo_disks",
            "merge_undo_disks",
            "Keep undo disks",
            "layer",
            "Merges what was written since its undo disks were taken into its disks.",
            "Once the merge has begun it can only be finished: the way back is gone.",
        ),
        (
            "discard_undo_disks",
            "discard_undo_disks",
            "Discard undo disks",
            "back",
            "Throws away what was written since its undo disks were taken.",
            "Everything that the machine wrote since then is lost.",
        ),
    )
)
#: The parts of its page that are read anew by themselves, by their ids.
_PARTS: Final = {
    "now": "machine_now.html",
    "commands": "machine_commands.html",
    "updates": "machine_updates.html",
    "events": "machine_tasks.html",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Booking:
    """The form of an update."""

    label: str = ""
    identifier: str = ""
    #: As browsers write it: ``2026-11-30T06:00``, in UTC.
    deadline: str = ""


_GRAPHS: Final = (("cpu", "Processors"), ("memory", "Memory"), ("disk", "Disks"), ("network", "Network"))

_OFFERS: Final = {offer.verb: offer for offer in OFFERS}


async def machine(request: Request) -> Response:
    """Show one machine."""
    found = await Door(request).get(f"/machines/{request.path_params['name']}", MachineMessage)
    values = await _values(request, found)
    part = _PARTS.get(request.headers.get("hx-target", "")) if is_fragment(request) else None
    if part is not None:
        return await answer(request, part, values)
    return await _page(request, values)


async def console(request: Request) -> Response:
    """Show a machine's screen, keyboard and mouse."""
    found = await Door(request).get(f"/machines/{request.path_params['name']}", MachineMessage)
    return await show(request, "console.html", {"machine": found}, here="Machines")


async def book(request: Request) -> Response:
    """Book an update; or show the page again, with the mistake beside its field."""
    form = await read_form(request)
    door = Door(request)
    found = await door.get(f"/machines/{request.path_params['name']}", MachineMessage)
    booking = Booking(
        label=form.text("label"), identifier=form.text("identifier"), deadline=form.text("deadline")
    )
    mistake = await _booked(door, found.name, booking)
    if mistake is None:
        return RedirectResponse(f"/machines/{found.name}#updates", 303)
    values = await _values(request, found) | {"mistakes": [mistake], "booking": booking}
    return await _page(request, values, status=422)


async def take_back(request: Request) -> Response:
    """Cancel a booking that has not started."""
    name, identifier = request.path_params["name"], (await read_form(request)).text("identifier")
    await Door(request).delete(f"/updates/{name}/{identifier}")
    return RedirectResponse(f"/machines/{name}#updates", 303)


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
        return wrong("deadline", "That is no date and time.", "Give one as 2026-11-30 06:00.")
    except InnkeeperError as error:
        return mistake_of(error, {"deadline": "deadline", "identifier": "identifier", "label": "label"})
    return None


async def _values(request: Request, found: MachineMessage) -> dict[str, object]:
    door = Door(request)
    return {
        "machine": found,
        "offers": offers_for(found),
        "may_touch": "command_machine" in found.allowed,
        "may_book": "book_update" in found.allowed,
        "showing": SHOWING,
        "running": (await door.get("/tasks", TaskList, machine=found.name, live=True, limit=20)).tasks,
        "history": (await door.get("/tasks", TaskList, machine=found.name, live=False, limit=15)).tasks,
        "updates": (await door.get("/updates", UpdateList, machine=found.name)).updates,
        "disks": trees(found.disks, await _chains(door, found)),
        "channels": (await door.get("/channels", ChannelList, machine=found.name)).channels,
        "graphs": _GRAPHS,
        "now_of": _now_of(await door.get(f"/machines/{found.name}/account", AccountMessage)),
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
        return (await door.get(f"/machines/{found.name}/chains", DiskChainList)).disks
    except InnkeeperError:
        return ()


async def _page(request: Request, values: Mapping[str, object], *, status: int = 200) -> Response:
    live = filter_of(EventGroup.MACHINE, EventGroup.TASK, EventGroup.UPDATE, EventGroup.CHANNEL)
    return await show(request, "machine.html", values, here="Machines", live=live, status=status)


async def ask(request: Request) -> Response:
    """Show what a command does and costs, and ask for confirmation."""
    offer = _offer(request)
    found = await Door(request).get(f"/machines/{request.path_params['name']}", MachineMessage)
    if is_fragment(request):
        return await answer(request, "machine_command_form.html", {"machine": found, "offer": offer})
    return await show(request, "machine_command.html", {"machine": found, "offer": offer}, here="Machines")


async def command(request: Request) -> Response:
    """Give the command; the machine's page shows its task."""
    await read_form(request)
    name, offer = request.path_params["name"], _offer(request)
    await Door(request).post(f"/machines/{name}/{offer.verb}", Accepted)
    return RedirectResponse(f"/machines/{name}", 303)


def offers_for(machine: MachineMessage) -> Sequence[Offer]:
    """Return the commands that fit a machine's state."""
    if "command_machine" not in machine.allowed:
        return ()
    undo = {Command.MERGE_UNDO_DISKS, Command.DISCARD_UNDO_DISKS}
    return tuple(
        offer
        for offer in OFFERS
        if (machine.state, offer.command) in LIFE and (offer.command not in undo or has_undo_disks(machine))
    )


def has_undo_disks(machine: MachineMessage) -> bool:
    """Whether undo disks lie over the machine's disks."""
    return any(run_of(disk.path) is not None for disk in machine.disks)


def _offer(request: Request) -> Offer:
    try:
        return _OFFERS[Verb(request.path_params["verb"])]
    except (KeyError, ValueError) as error:
        raise InvalidArgument(
            "A machine cannot be told that.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="Go back to the machine: its page shows what can be done.",
        ) from error
