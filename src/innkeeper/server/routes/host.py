"""Routes of hosts, and of what belongs to no single machine (``IVMVirtualPC``)."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from innkeeper.errors import InnkeeperError
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role
from innkeeper.machines.adapters import MAX_ADAPTERS
from innkeeper.machines.asking import GATHERED_SECONDS, ask_all
from innkeeper.machines.drives import MAX_FLOPPIES
from innkeeper.machines.port_connections import MAX_PARALLEL_PORTS, MAX_SERIAL_PORTS
from innkeeper.machines.ports.host import Host
from innkeeper.server.house import House
from innkeeper.server.http.paging import BY_TEXT, PageWanted, ThePage, by_fields
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import files_of_a_host, the_inn, what_they_see
from innkeeper.server.identity.visibility import sees_machine
from innkeeper.server.routes.asking import TheCaller, TheHouse, on_a_host
from innkeeper.server.routes.configuration import sent_value
from innkeeper.tasks.ports import Clock
from innkeeper.wire import host as wire
from innkeeper.wire.configuration import ValueList, ValueMessage, ValueRequest, value_message
from innkeeper.wire.version import VERSION
from innkeeper.wire.virtual_pc import MIN_MEMORY_MIB

router = APIRouter(tags=["hosts"])

#: IDE knows two buses; other buses have room beyond them.
_IDE_BUSES = 2
#: Memory that a host should keep for itself, in MiB.
_RESERVE_MIB = 512

_INN = needs(Role.VIEWER)
_RULE = needs(Role.ADMINISTRATOR)
_FILES = [*needs(Role.ADMINISTRATOR, files_of_a_host), *on_a_host]
_More = Annotated[list[str], Query(max_length=100)]


@router.get(
    "/hosts",
    operation_id="list_hosts",
    dependencies=needs(
        Role.VIEWER,
        what_they_see.of_all_servers(
            hosts=("name", "id"), away=("name", "server", "uri"), list_of_hosts=True, pages_of="hosts"
        ),
    ),
)
async def list_hosts(house: TheHouse, page: ThePage) -> wire.HostList:
    """The hosts that answer, with their facts; on the first page those that do not, with the reasons."""
    hosts = house.machines.hosts
    asked = [*hosts.values(), *await unmet_hosts(house)]
    answers = await ask_all(asked, lambda host: host_message(house.clock, host), GATHERED_SECONDS)
    found = page.of(answers.given.values(), by_fields("name", "id"))
    own = house.fleet.own.name
    return wire.HostList(
        hosts=tuple(host.model_copy(update={"server": own}) for host in found.entries),
        away=await _away(house, asked, answers.missing) if page.is_first else (),
        next_after=found.next_after,
    )


async def unmet_hosts(house: House) -> Sequence[Host]:
    """Return the hosts that were met in a former life of this server alone, and that nobody looks after."""
    if house.neighbours is None or house.ownership is None:
        return ()
    unused = {fence.name for fence in house.ownership.fences if fence.second_address}
    found = [host for host in house.unmet() if host.name not in unused]
    return [host for host in found if (await house.neighbours.care_of(host.id)).owner is None]


async def _away(
    house: House, asked: Iterable[Host], missing: Mapping[str, InnkeeperError]
) -> tuple[wire.HostAway, ...]:
    """The hosts of this server that do not answer, and those that are not used."""
    hosts, own = {host.name: host for host in asked}, house.fleet.own.name
    seen_at = await _seen_at(house) if missing else {}
    silent = (
        wire.HostAway(
            name=name,
            uri=hosts[name].uri,
            reason=error.sentence,
            id=hosts[name].id,
            server=own,
            seen_at=seen_at.get(hosts[name].id),
        )
        for name, error in missing.items()
    )
    twins = (
        wire.HostAway(
            name=name,
            uri=host.uri,
            server=own,
            reason=f"It is the host {other} by another address, and is used by that one alone. "
            f"Leave {host.uri} out of the setting hypervisors.",
        )
        for name, (host, other) in house.machines.twins.items()
    )
    return (*silent, *twins, *_second_addresses(house))


def _second_addresses(house: House) -> Iterator[wire.HostAway]:
    """Names of this server's settings that are those of no host of their own."""
    for fence in house.ownership.fences if house.ownership is not None else ():
        if fence.second_address:
            yield wire.HostAway(
                name=fence.name, uri=fence.uri, reason=fence.second_address, server=house.fleet.own.name
            )


async def _seen_at(house: House) -> Mapping[str, dt.datetime | None]:
    """When each host answered last, by its id, where that is written down for other servers."""
    if house.neighbours is None:
        return {}
    return {host.host_id: host.seen_at for host in await house.neighbours.directory.hosts()}


@router.get(
    "/networks",
    operation_id="list_networks",
    dependencies=needs(
        Role.VIEWER, what_they_see.of_all_servers(networks=("host", "name"), pages_of="networks")
    ),
)
async def list_networks(house: TheHouse, caller: TheCaller, page: ThePage) -> wire.NetworkList:
    """The virtual networks, and the adapters on them of the machines that the caller may see."""

    async def networks_of(host: Host) -> list[wire.NetworkMessage]:
        plugged = await _plugged(house, caller, host)
        return [
            wire.NetworkMessage(
                host=host.name,
                name=each.name,
                id=each.id,
                host_adapter=each.host_adapter,
                adapters=tuple(plugged.get(each.name, ())),
            )
            for each in await host.information.networks()
        ]

    answers = await ask_all(house.machines.hosts.values(), networks_of, GATHERED_SECONDS)
    found = page.of(itertools.chain(*answers.given.values()), by_fields("host", "name"))
    return wire.NetworkList(networks=tuple(found.entries), next_after=found.next_after)


@router.get(
    "/networks/unplugged",
    operation_id="list_unplugged_adapters",
    dependencies=needs(
        Role.VIEWER, what_they_see.of_all_servers(adapters=("machine", "id"), pages_of="adapters")
    ),
)
async def list_unplugged_adapters(house: TheHouse, caller: TheCaller, page: ThePage) -> wire.AdapterList:
    """The adapters whose cable is out, of the machines that the caller may see."""
    answers = await ask_all(
        house.machines.hosts.values(), lambda host: _plugged(house, caller, host), GATHERED_SECONDS
    )
    unplugged = [each for plugged in answers.given.values() for each in plugged.get("", ())]
    found = page.of(unplugged, by_fields("machine", "id"))
    return wire.AdapterList(adapters=tuple(found.entries), next_after=found.next_after)


async def _plugged(house: House, caller: Caller, host: Host) -> dict[str, list[wire.AdapterName]]:
    """Return the adapters of a host's machines, by the network they are attached to."""
    plugged: dict[str, list[wire.AdapterName]] = {}
    for name, configuration in sorted((await host.configurations.read_all()).items()):
        reference = f"{host.name}/{name}"
        if sees_machine(house, caller, reference):
            known = house.board.known(reference)
            title = name if known is None else known.title
            for adapter in configuration.adapters:
                plugged.setdefault(adapter.network, []).append(wire.AdapterName(machine=title, id=adapter.id))
    return plugged


@router.get(
    "/usb",
    operation_id="list_usb_devices",
    dependencies=needs(
        Role.VIEWER, the_inn.of_all_servers(devices=("host", "bus", "device"), pages_of="devices")
    ),
)
async def list_usb_devices(house: TheHouse, page: ThePage) -> wire.UsbDeviceList:
    """The USB devices of the hosts, and which machine has each."""
    answers = await ask_all(
        house.machines.hosts.values(), lambda host: host.information.usb_devices(), GATHERED_SECONDS
    )
    found = page.of(
        (
            wire.UsbDeviceMessage(
                host=host,
                bus=each.bus,
                device=each.device,
                hub=each.hub,
                port=each.port,
                device_class=each.device_class,
                vendor_id=each.vendor_id,
                product_id=each.product_id,
                name=each.name,
                manufacturer=each.manufacturer,
                machine=each.machine,
            )
            for host, devices in answers.given.items()
            for each in devices
        ),
        by_fields("host", "bus", "device"),
    )
    return wire.UsbDeviceList(devices=tuple(found.entries), next_after=found.next_after)


@router.get("/virtual-pc", operation_id="get_virtual_pc", dependencies=_INN)
async def get_virtual_pc(house: TheHouse) -> wire.VirtualPCMessage:
    """The service as the documented host object: paths and limits."""
    answers = await ask_all(house.machines.hosts.values(), lambda host: host.information.facts())
    if not answers.given:
        raise next(iter(answers.missing.values()))
    facts = next(iter(answers.given.values()))
    return wire.VirtualPCMessage(
        version=VERSION,
        up_time_seconds=int(house.virtual_pc.up_time.total_seconds()),
        default_vm_configuration_path=house.virtual_pc.configuration_path,
        search_paths=await house.virtual_pc.search_paths(),
        minimum_memory_mib=MIN_MEMORY_MIB,
        maximum_memory_mib=facts.memory_mib,
        suggested_maximum_memory_mib=max(facts.memory_available_mib - _RESERVE_MIB, MIN_MEMORY_MIB),
        maximum_floppy_drives=MAX_FLOPPIES,
        maximum_network_adapters=MAX_ADAPTERS,
        maximum_ide_buses=_IDE_BUSES,
        maximum_parallel_ports=MAX_PARALLEL_PORTS,
        maximum_serial_ports=MAX_SERIAL_PORTS,
    )


@router.patch("/virtual-pc", operation_id="set_paths", dependencies=_RULE)
async def set_paths(request: wire.PathsRequest, house: TheHouse) -> wire.VirtualPCMessage:
    """Set where new machines keep their files, and where files are searched."""
    if request.default_vm_configuration_path is not None:
        await house.virtual_pc.set_configuration_path(request.default_vm_configuration_path)
    if request.search_paths is not None:
        await house.virtual_pc.set_search_paths(request.search_paths)
    return await get_virtual_pc(house)


@router.get("/virtual-pc/hard-disk-files", operation_id="list_hard_disk_files", dependencies=_FILES)
async def list_hard_disk_files(
    house: TheHouse,
    page: ThePage,
    more: _More = [],  # noqa: B006  FastAPI's way
) -> wire.FileList:
    """The disk images in the search paths, and in ``more``."""
    return _files(await house.virtual_pc.hard_disk_files(more), page)


@router.get("/virtual-pc/dvd-files", operation_id="list_dvd_files", dependencies=_FILES)
async def list_dvd_files(
    house: TheHouse,
    page: ThePage,
    more: _More = [],  # noqa: B006  FastAPI's way
) -> wire.FileList:
    """The DVD images in the search paths."""
    return _files(await house.virtual_pc.dvd_files(more), page)


@router.get("/virtual-pc/floppy-disk-files", operation_id="list_floppy_disk_files", dependencies=_FILES)
async def list_floppy_disk_files(
    house: TheHouse,
    page: ThePage,
    more: _More = [],  # noqa: B006  FastAPI's way
) -> wire.FileList:
    """The floppy images in the search paths."""
    return _files(await house.virtual_pc.floppy_disk_files(more), page)


@router.get("/virtual-pc/machine-files", operation_id="list_machine_files", dependencies=_FILES)
async def list_machine_files(
    house: TheHouse,
    page: ThePage,
    more: _More = [],  # noqa: B006  FastAPI's way
    without_registered: bool = False,
) -> wire.FileList:
    """The machines' definitions in the search paths, and in the folder of new machines."""
    files = await house.virtual_pc.machine_files(more, without_registered=without_registered)
    return _files(files, page)


def _files(files: Iterable[str], page: PageWanted) -> wire.FileList:
    found = page.of(files, BY_TEXT)
    return wire.FileList(files=tuple(found.entries), next_after=found.next_after)


@router.post("/virtual-pc/floppies", status_code=201, operation_id="create_floppy", dependencies=_FILES)
async def create_floppy(request: wire.FloppyRequest, house: TheHouse) -> wire.FloppyMessage:
    """Create a formatted floppy image."""
    await house.virtual_pc.create_floppy(request.path, request.type)
    return wire.FloppyMessage(path=request.path, type=request.type)


@router.get("/virtual-pc/floppies", operation_id="get_floppy", dependencies=_FILES)
async def get_floppy(path: Annotated[str, Query()], house: TheHouse) -> wire.FloppyMessage:
    """The type of a floppy image."""
    return wire.FloppyMessage(path=path, type=await house.virtual_pc.floppy_type(path))


@router.get("/virtual-pc/values", operation_id="list_options", dependencies=_INN)
async def list_options(house: TheHouse) -> ValueList:
    """Every configuration value of the service."""
    values = await house.virtual_pc.values()
    return ValueList(values=tuple(value_message(key, value) for key, value in values.items()))


@router.get("/virtual-pc/value", operation_id="get_option", dependencies=_INN)
async def get_option(key: Annotated[str, Query()], house: TheHouse) -> ValueMessage:
    """One configuration value of the service."""
    return value_message(key, await house.virtual_pc.get_value(key))


@router.put("/virtual-pc/value", operation_id="set_option", dependencies=_RULE)
async def set_option(request: ValueRequest, house: TheHouse) -> ValueMessage:
    """Set a configuration value of the service."""
    await house.virtual_pc.set_value(request.key, sent_value(request))
    return value_message(request.key, await house.virtual_pc.get_value(request.key))


@router.delete("/virtual-pc/value", status_code=204, operation_id="remove_option", dependencies=_RULE)
async def remove_option(key: Annotated[str, Query()], house: TheHouse) -> None:
    """Remove a configuration value of the service."""
    await house.virtual_pc.remove_value(key)


async def host_message(clock: Clock, host: Host) -> wire.HostInfoMessage:
    """Ask a host what it is."""
    # Facts of this computer are known without its libvirt, which has to answer all the same.
    await host.information.memory_free_mib()
    facts, acceleration = await host.information.facts(), await host.information.acceleration()
    return wire.HostInfoMessage(
        uri=host.uri,
        utc_time=clock.now(),
        name=facts.name,
        id=host.id,
        memory_mib=facts.memory_mib,
        memory_available_mib=facts.memory_available_mib,
        logical_processors=facts.logical_processors,
        physical_processors=facts.physical_processors,
        processor_mhz=facts.processor_mhz,
        accelerator=acceleration.accelerator,
        accelerator_reason=acceleration.reason,
        processor_manufacturer=facts.processor_manufacturer,
        processor_version=facts.processor_version,
        processor_flags=tuple(sorted(facts.processor_flags)),
        operating_system=facts.operating_system,
        os_version=facts.os_version,
        os_service_pack=facts.os_service_pack,
        network_adapters=facts.network_adapters,
        network_addresses=facts.network_addresses,
        dvd_drives=facts.dvd_drives,
        floppy_drives=facts.floppy_drives,
        serial_ports=facts.serial_ports,
        parallel_ports=facts.parallel_ports,
    )
