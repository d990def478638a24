"""Create, register and delete machines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.live import started
from innkeeper.cli.terminal import Json, MachineName, NoWait, Session, session_of
from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.wire.configuration import DeleteMessage
from innkeeper.wire.host import FirstBootOptions, UnregisteredMessage

_SIZE = re.compile(r"(\d+)([KMGT]?)(i?B)?\Z", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def add_to(app: typer.Typer) -> None:
    """Give the machine's commands these too."""
    for command in (create, register, unregister, delete):
        app.command()(command)


def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new machine's name.")],
    image: Annotated[
        str, typer.Option("--from", metavar="IMAGE", help="A cloud image or another disk to begin with.")
    ] = "",
    image_format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="The format of IMAGE, if its name does not show it: raw, qcow2, vpc …",
        ),
    ] = "",
    overlay: Annotated[
        bool,
        typer.Option(
            "--overlay", help="Use the image as the backing file instead of copying it. It must not change."
        ),
    ] = False,
    size: Annotated[
        str,
        typer.Option(metavar="SIZE", help="The disk's size, such as 20G."),
    ] = "",
    memory: Annotated[int, typer.Option(metavar="MIB", help="Memory in MiB.")] = 1024,
    processors: Annotated[int, typer.Option(help="Number of processors.")] = 1,
    user: Annotated[str, typer.Option(help="A user to create in the guest, who may use sudo.")] = "",
    ssh_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="An SSH public key, or its file, that may log in to the guest; may be repeated.",
        ),
    ] = None,
    hostname: Annotated[
        str, typer.Option(help="The guest's host name; the machine's name if left out.")
    ] = "",
    agent: Annotated[
        bool, typer.Option("--agent/--no-agent", help="Install the task agent at the first boot.")
    ] = True,
    dvd: Annotated[str, typer.Option(metavar="ISO", help="A DVD image to boot from: an installer.")] = "",
    uefi: Annotated[bool, typer.Option("--uefi", help="UEFI firmware instead of BIOS.")] = False,
    network: Annotated[str, typer.Option(help="The network; `none` for none. See `host networks`.")] = "user",
    host: Annotated[str, typer.Option(help="The host; the first one if left out.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="A label; may be repeated.")] = None,
    notes: Annotated[str, typer.Option(help="Notes for people.")] = "",
    start: Annotated[bool, typer.Option("--start", help="Start the machine once it is created.")] = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Create a machine: empty, or from a cloud image that gets a user, a key and the task agent.

    For example: innkeeper machine create web-1 --from debian-12.qcow2 --size 20G --user ana --ssh-key
    ~/.ssh/id_ed25519.pub --start
    """
    session = session_of(context)
    told: FirstBootOptions = {
        "hostname": hostname,
        "user": user,
        "ssh_keys": tuple(_key(each) for each in ssh_key or ()),
        "agent": agent,
    }
    task = session.inn.machines.create(
        name,
        host=host,
        memory_mib=memory,
        processors=processors,
        image=_absolute(image),
        image_format=image_format,
        overlay=overlay,
        disk_bytes=_bytes(size) if size else 0,
        dvd=_absolute(dvd),
        uefi=uefi,
        network="" if network == "none" else network,
        notes=notes,
        labels=tuple(label or ()),
        first_boot=told if image or user or ssh_key or hostname else None,
    )
    code = started(session, task, no_wait=no_wait)
    if start and not no_wait and not code:
        code = started(session, session.inn.machines[name].startup(), no_wait=False)
    raise typer.Exit(code)


def register(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="FILE", help="Its definition: libvirt's XML.")],
    name: Annotated[str, typer.Option(help="Use this name instead of the definition's.")] = "",
    json: Json = False,
) -> None:
    """Take in a machine by its definition, as `unregister` has left it."""
    session = session_of(context)
    machine = session.inn.machines.register(_absolute(path), name)
    if session.json:
        session.answer(machine.read())
    else:
        session.note(f"{machine.name} is here.")


def unregister(context: typer.Context, name: MachineName, json: Json = False) -> None:
    """Forget a machine and keep all its files: disks, undo disks, saved state."""
    session = session_of(context)
    path = session.inn.machines[name].unregister()
    if session.json:
        session.answer(UnregisteredMessage(machine=name, path=path))
    else:
        session.note(f"{name} was unregistered. Register it again with: innkeeper machine register {path}")


def delete(
    context: typer.Context,
    name: MachineName,
    disks: Annotated[bool, typer.Option("--disks", help="Delete its disks too.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete; without this, only show what would be deleted.")
    ] = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Delete a machine with its saved state, undo disks and firmware variables; its disks stay.

    Says what goes and what stays; without --yes nothing is done.
    """
    session = session_of(context)
    machine = session.inn.machines[name]
    planned = machine.plan_deletion(disks=disks)
    if not (yes and session.json):
        _say(session, planned)
    if not yes:
        raise InvalidArgument(
            f"{planned.machine} is not deleted yet: deleting cannot be undone.",
            code=ErrorCode.ERROR_CANCELLED,
            advice=f"Confirm with: innkeeper machine delete {name}{' --disks' if disks else ''} --yes",
        )
    raise typer.Exit(started(session, machine.delete(disks=disks), no_wait=no_wait))


def _say(session: Session, planned: DeleteMessage) -> None:
    if session.json:
        session.answer(planned)
        return
    session.out.print(Text(f"Deleted with {planned.machine}: its definition"))
    for path in planned.deleted:
        session.out.print(Text(f"  {path}"), soft_wrap=True)
    if planned.kept:
        session.out.print(Text("Kept:"))
    for path in planned.kept:
        session.out.print(Text(f"  {path}"), soft_wrap=True)


def _absolute(path: str) -> str:
    """Take a path as the shell's user means it."""
    return str(Path(path).expanduser().absolute()) if path else ""


def _bytes(text: str) -> int:
    found = _SIZE.match(text.strip())
    if found is None:
        raise InvalidArgument(f"“{text}” is not a size.", advice="Such as 20G, 512M or 1T.")
    return int(found[1]) << (10 * _POWERS[found[2].upper()])


def _key(text: str) -> str:
    """The key itself, or what is in its file."""
    if " " in text.strip():
        return text.strip()
    file = Path(text).expanduser()
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            f"{text} is neither a public key nor a file with one.",
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            advice="Such as ~/.ssh/id_ed25519.pub.",
        ) from error
