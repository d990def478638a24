"""Look at hosts, and at what belongs to no single machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.terminal import Json, Session, facts, session_of, table
from innkeeper.cli.times import say_duration
from innkeeper.client import HostInfo
from innkeeper.errors import InvalidArgument
from innkeeper.wire.configuration import ValueList, value_message
from innkeeper.wire.host import FileList, FloppyMessage, HostAway
from innkeeper.wire.states import Accelerator
from innkeeper.wire.virtual_pc import FloppyDiskImageType

app = typer.Typer(
    name="host", help="Look at hosts, their networks and USB devices, and set folders.", no_args_is_help=True
)


_ACCELERATORS = {
    Accelerator.KVM: "KVM",
    Accelerator.TCG: "software emulation, not KVM",
    Accelerator.NONE: "nothing real",
}


@app.command("list")
def list_hosts(context: typer.Context, json: Json = False) -> None:
    """List the hosts: processors, memory, operating system, their servers; and why one does not answer."""
    session = session_of(context)
    found = session.inn.virtual_pc.read_hosts()
    if session.json:
        session.answer(found)
        return
    made = table(
        "HOST", "SERVER", "STATE", "CPUS", "MEMORY", "FREE", "SYSTEM", right=("CPUS", "MEMORY", "FREE")
    )
    for host in found.hosts:
        made.add_row(
            Text(host.name),
            Text(host.server),
            Text("answers", style="green"),
            str(host.logical_processors),
            f"{host.memory_mib:,} MiB",
            f"{host.memory_available_mib:,} MiB",
            Text(host.operating_system),
        )
    for away in found.away:
        made.add_row(Text(away.name), Text(away.server), _since(session, away), "", "", "", "")
    session.out.print(made)
    for reason, names in _reasons(found.away).items():
        session.out.print(Text(f"\n{', '.join(names)}: {reason}"))
    if found.away:
        session.out.print(Text("Innkeeper connects again by itself as soon as it answers.", style="dim"))


def _since(session: Session, away: HostAway) -> Text:
    """How long a host has not answered, in its column."""
    seen = "" if away.seen_at is None else f", seen {session.moment(away.seen_at)}"
    return Text(f"away{seen}", style="yellow")


def _reasons(away: Iterable[HostAway]) -> Mapping[str, Sequence[str]]:
    """The hosts of each reason: a server that is gone is told of once for all of its hosts."""
    names: dict[str, list[str]] = {}
    for host in away:
        names.setdefault(host.reason, []).append(host.name)
    return names


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """Show the service's version, folders and limits, and whether its hosts run machines with KVM."""
    session = session_of(context)
    service = session.inn.virtual_pc.read()
    hosts = session.inn.virtual_pc.hosts
    if session.json:
        session.answer(service)
        return
    rows = {
        "Version": f"{service.name} {service.version}",
        "Runs for": say_duration(service.up_time_seconds),
        "Machines' files": service.default_vm_configuration_path,
        "Search paths for files": "\n".join(service.search_paths)
        or "nowhere: innkeeper host paths --search DIR",
        "Memory of a machine": f"{service.minimum_memory_mib:,} to {service.maximum_memory_mib:,} MiB "
        f"({service.suggested_maximum_memory_mib:,} at most is wise now)",
        "Machines run with": "\n".join(how_it_runs(host, alone=len(hosts) == 1) for host in hosts),
        "Network adapters": f"{service.maximum_network_adapters} at most",
        "Serial ports": f"{service.maximum_serial_ports} at most",
    }
    session.out.print(facts(rows))


def how_it_runs(host: HostInfo, *, alone: bool) -> str:
    """What runs a host's machines, and why, for a person."""
    where = "" if alone else f"{host.name}: "
    return f"{where}{_ACCELERATORS[host.accelerator]}. {host.accelerator_reason}"


@app.command()
def paths(
    context: typer.Context,
    machines: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where new machines keep their files.")
    ] = None,
    search: Annotated[
        list[str] | None, typer.Option(metavar="DIR", help="Where files are looked for; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Set the folders for new machines' files and for looking for files."""
    session = session_of(context)
    pc = session.inn.virtual_pc
    if machines is not None:
        pc.default_vm_configuration_path = machines
    if search:
        pc.search_paths = search
    show(context)


@app.command()
def files(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="disks, dvds, floppies or machines.")],
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[DIR]...", help="Folders besides the search paths.")
    ] = None,
    json: Json = False,
) -> None:
    """List files of a kind in the search paths: disk images, DVD images, floppies, machines' definitions."""
    session = session_of(context)
    pc = session.inn.virtual_pc
    kinds = {
        "disks": pc.get_hard_disk_files,
        "dvds": pc.get_dvd_files,
        "floppies": pc.get_floppy_disk_files,
        "machines": pc.get_virtual_machine_files,
    }
    if kind not in kinds:
        raise InvalidArgument(
            f"“{kind}” is not a kind of file to look for.", advice=f"Known: {', '.join(kinds)}."
        )
    found = kinds[kind](*(more or ()))
    if session.json:
        session.answer(FileList(files=tuple(found)))
        return
    for path in found:
        session.out.print(Text(path), soft_wrap=True)
    if not found:
        session.note(
            "Nothing was found. Name folders, or set the search paths: innkeeper host paths --search DIR"
        )


@app.command()
def networks(context: typer.Context, json: Json = False) -> None:
    """List the networks that machines can be attached to."""
    session = session_of(context)
    found = session.inn.virtual_pc.virtual_networks
    made = table("NETWORK", "HOST", "BEHIND", "ADAPTERS", right=("ADAPTERS",))
    for network in found:
        made.add_row(
            Text(network.name),
            Text(network.host),
            Text(network.host_adapter),
            str(len(network.network_adapters)),
        )
    message = session.inn.virtual_pc.read_networks()
    if session.json:
        session.answer(message)
        return
    session.out.print(made)
    session.note_missing(message, "networks")


@app.command()
def usb(context: typer.Context, json: Json = False) -> None:
    """List the hosts' USB devices, and which machine has each."""
    session = session_of(context)
    message = session.inn.virtual_pc.read_usb_devices()
    if session.json:
        session.answer(message)
        return
    session.note_missing(message, "USB devices")
    found = session.inn.virtual_pc.usb_device_collection
    if not found:
        session.note("No USB device is plugged in.")
        return
    made = table("DEVICE", "WHAT", "KIND", "MACHINE")
    for device in found:
        made.add_row(
            f"{device.bus}:{device.device}",
            Text(f"{device.manufacturer_string} {device.device_string}".strip()),
            Text(device.device_class.name.lower().replace("_", " ")),
            Text(device.attached_to_vm or ""),
        )
    session.out.print(made)


@app.command()
def values(context: typer.Context, json: Json = False) -> None:
    """List the service's options."""
    session = session_of(context)
    found = session.inn.virtual_pc.configuration_values()
    if session.json:
        session.answer(ValueList(values=tuple(value_message(key, value) for key, value in found.items())))
        return
    session.out.print(facts({key: str(value) for key, value in found.items()}))


@app.command()
def floppy(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="FILE", help="The image to create.")],
    low_density: Annotated[bool, typer.Option("--low-density", help="720 KiB instead of 1.44 MB.")] = False,
    json: Json = False,
) -> None:
    """Make an empty, formatted floppy image."""
    session = session_of(context)
    kind = FloppyDiskImageType.LOW_DENSITY if low_density else FloppyDiskImageType.HIGH_DENSITY
    session.inn.virtual_pc.create_floppy_disk_image(path, kind)
    if session.json:
        session.answer(FloppyMessage(path=path, type=kind))
    else:
        session.note(f"{path} was created.")
