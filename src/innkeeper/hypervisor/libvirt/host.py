"""A host that libvirt manages, put together from its ports."""

from __future__ import annotations

from pathlib import Path

from innkeeper.hypervisor.fenced_files import FencedImages, FencedStateFiles
from innkeeper.hypervisor.files import LocalFiles
from innkeeper.hypervisor.image_maker import LocalImages
from innkeeper.hypervisor.libvirt.agent_ports import LibvirtAgentPorts
from innkeeper.hypervisor.libvirt.announcer import Announcer
from innkeeper.hypervisor.libvirt.backups import LibvirtBackups
from innkeeper.hypervisor.libvirt.configurations import LibvirtConfigurations
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.console_logs import LibvirtConsoleLogs
from innkeeper.hypervisor.libvirt.definitions import LibvirtDefinitions
from innkeeper.hypervisor.libvirt.described_chains import DescribedChains
from innkeeper.hypervisor.libvirt.domains import Domains
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.guest_agents import LibvirtGuestAgents
from innkeeper.hypervisor.libvirt.host_disks import LibvirtDisks
from innkeeper.hypervisor.libvirt.identities import LibvirtIdentity
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.information import LibvirtInformation
from innkeeper.hypervisor.libvirt.input_devices import LibvirtInputDevices
from innkeeper.hypervisor.libvirt.inventory import LibvirtInventory
from innkeeper.hypervisor.libvirt.lifecycle import LibvirtLifecycle
from innkeeper.hypervisor.libvirt.link import Link
from innkeeper.hypervisor.libvirt.local_files import NearFiles
from innkeeper.hypervisor.libvirt.memory_points import LibvirtMemoryPoints
from innkeeper.hypervisor.libvirt.merging import BlockJobs
from innkeeper.hypervisor.libvirt.offline_merges import OfflineMerges
from innkeeper.hypervisor.libvirt.overlays import Overlays
from innkeeper.hypervisor.libvirt.remote_files import FarFiles
from innkeeper.hypervisor.libvirt.remote_images import FarImages
from innkeeper.hypervisor.libvirt.saved_states import LibvirtSavedStates
from innkeeper.hypervisor.libvirt.screens import LibvirtScreens
from innkeeper.hypervisor.libvirt.starts import Starts
from innkeeper.hypervisor.libvirt.state_files import LibvirtStateFiles
from innkeeper.hypervisor.libvirt.storages import Storages
from innkeeper.hypervisor.libvirt.trays import Trays
from innkeeper.hypervisor.libvirt.undo_definitions import UndoDefinitions
from innkeeper.hypervisor.libvirt.undo_disks import LibvirtUndoDisks
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.hypervisor.libvirt.usage import LibvirtUsage
from innkeeper.hypervisor.libvirt.watch import Watch
from innkeeper.machines.ports.exports import DiskExports
from innkeeper.machines.ports.host import Host
from innkeeper.machines.ports.image_files import ImageFiles
from innkeeper.machines.ports.image_maker import ImageMaker
from innkeeper.servers.fence import OPEN, Fence
from innkeeper.tasks.supervision import Loops
from innkeeper.wire.events import Publish


def libvirt_host(
    *,
    name: str,
    uri: str,
    publish: Publish,
    state_directory: Path,
    exports: DiskExports | None = None,
    fence: Fence = OPEN,
    known_id: str = "",
    loops: Loops | None = None,
) -> Host:
    """Make a host that libvirt manages; it is yet to be opened.

    ``state_directory`` is where the answer of the KVM probe is remembered, and which hosts were met;
    ``exports`` offers VHDs; ``fence`` stands before each act on the host; ``known_id`` is the id that it had
    when it was met (``met_id``); ``loops`` supervises what goes on for ever.
    """
    where = HostUri.parse(uri)
    identity = LibvirtIdentity(where, state_directory, known=known_id)
    announcer = Announcer(name, identity, publish)
    trays, jobs = Trays(announcer), BlockJobs()
    watch = Watch(announcer, trays, jobs)

    connection = Connection(
        where,
        identity=identity,
        fence=fence,
        on_open=watch.take_over,
        clean_up=watch.clean_up,
        on_connected=watch.connected,
        on_lost=watch.lost,
    )
    domains, store = Domains(name, where, identity), Images(where)
    exported = ExportedDisks(where, connection, domains, exports, loops)
    undo_definitions = UndoDefinitions(domains, store, exported)
    storages = Storages(where, store)
    chains = DescribedChains(where, store, storages, exported)
    overlays, offline = Overlays(store, chains, exported), OfflineMerges(connection, domains, chains)
    undo_disks = LibvirtUndoDisks(connection, domains, undo_definitions, overlays, jobs, exported, offline)
    saved_states = LibvirtSavedStates(
        where,
        connection,
        domains,
        store,
        undo_disks,
        undo_definitions,
        exported,
        Starts(where, state_directory),
    )
    if not where.is_test:
        watch.at_opening = (domains.settle, saved_states.sweep)
    inventory = LibvirtInventory(connection, domains)
    information = LibvirtInformation(where, connection, name, state_directory)
    files, images = _files(where, connection, store), FencedImages(_images(where), fence)
    return Host(
        name=name,
        uri=where.text,
        identity=identity,
        connection=Link(where, connection, watch, exported),
        inventory=inventory,
        definitions=LibvirtDefinitions(
            uri=where,
            connection=connection,
            domains=domains,
            announcer=announcer,
            inventory=inventory,
            information=information,
            saved_states=saved_states,
            files=files,
            images=images,
        ),
        configurations=LibvirtConfigurations(
            uri=where,
            connection=connection,
            domains=domains,
            images=store,
            announcer=announcer,
            trays=trays,
        ),
        lifecycle=LibvirtLifecycle(connection, domains, saved_states),
        saved_states=saved_states,
        undo_disks=undo_disks,
        memory_points=LibvirtMemoryPoints(
            where, connection, domains, store, undo_disks, undo_definitions, exported, overlays
        ),
        backups=LibvirtBackups(where, connection),
        state_files=FencedStateFiles(LibvirtStateFiles(where, connection), fence),
        disks=LibvirtDisks(where, connection, store, storages, exported),
        files=files,
        images=images,
        screens=LibvirtScreens(where, connection, domains),
        console_logs=LibvirtConsoleLogs(where, connection),
        input_devices=LibvirtInputDevices(where, connection, domains),
        guest_agents=LibvirtGuestAgents(connection),
        agent_ports=LibvirtAgentPorts(where, connection, announcer),
        information=information,
        usage=LibvirtUsage(where, connection),
    )


def _files(where: HostUri, connection: Connection, store: Images) -> ImageFiles:
    if where.is_test:
        return LocalFiles()
    return (
        NearFiles(connection, store, is_qemus_user=not where.is_system)
        if where.is_local
        else FarFiles(where, connection, store)
    )


def _images(where: HostUri) -> ImageMaker:
    return LocalImages() if where.is_local or where.is_test else FarImages(where.text)
