"""Reads of libvirt domains: blocking calls, for the connection's threads."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import libvirt
import structlog

from innkeeper.errors import InvalidArgument, WrongState
from innkeeper.hypervisor.domain.extras import read_summary
from innkeeper.hypervisor.libvirt.definition import AGENT_PORT, GUEST_AGENT_PORT, Definition
from innkeeper.hypervisor.libvirt.states import SavedImage, machine_state, read_saved_image
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.identity import HostIdentity

#: Passwords stay in: a definition that is written back without them would lose them.
_PERSISTENT = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
_STATE_STATS = libvirt.VIR_DOMAIN_STATS_STATE
#: A domain in the middle of a long job is answered for with what is known, instead of being waited for.
_NO_WAIT = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT

_log = structlog.get_logger(__name__)

_SETTLED = frozenset({MachineState.RUNNING, MachineState.PAUSED, MachineState.MERGING_DRIVES})


def persistent(domain: libvirt.virDomain) -> Definition:
    """The definition for the domain's next start."""
    return Definition.parse(domain.XMLDesc(_PERSISTENT))


def current(domain: libvirt.virDomain) -> Definition:
    """The definition in use, or the persistent one where the domain is off."""
    return Definition.parse(domain.XMLDesc(0))


def redefine(connect: libvirt.virConnect, definition: Definition) -> None:
    """Write the persistent definition."""
    connect.defineXML(definition.text())


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A definition, and what it says of its machine."""

    text: str
    machine: Machine
    merging: bool


class Domains:
    """The machines of one host, as values."""

    def __init__(self, host: str, uri: HostUri, identity: HostIdentity) -> None:
        self._host = host
        self._identity = identity
        self._uri = uri
        #: The machines, off, whose disks the service itself merges now.
        self.merged_offline: set[str] = set()
        #: Each machine's definition as it was read last, by UUID, and what it says: most never change.
        self._read: dict[str, _Read] = {}

    def machine(self, connect: libvirt.virConnect, name: str) -> Machine:
        """One machine."""
        domain = connect.lookupByName(name)
        state, reason = domain.state()
        return self._value(
            domain, (state, reason), saved=self._has_saved(domain), autostart=_autostart(domain)
        )

    def machines(self, connect: libvirt.virConnect) -> list[Machine]:
        """All machines, by bulk calls."""
        if self._uri.is_test:  # this driver has no bulk statistics
            return [self.machine(connect, domain.name()) for domain in connect.listAllDomains()]
        autostart = _names(connect, libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART)
        saved = _names(connect, libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
        put_back = self._images_there()
        found = []
        for domain, stats in connect.getAllDomainStats(_STATE_STATS, _NO_WAIT):
            name, state = domain.name(), (stats["state.state"], stats["state.reason"])
            is_off = state[0] == libvirt.VIR_DOMAIN_SHUTOFF
            is_saved = name in saved or (is_off and f"{name}.save" in put_back)
            with self._passing_over(domain):
                found.append(self._value(domain, state, saved=is_saved, autostart=name in autostart))
        self._forget_others(found)
        return found

    def saved_image(self, domain: libvirt.virDomain) -> SavedImage:
        """The saved state that libvirt keeps of the machine."""
        path = self._uri.saved_image(domain.name()) if self._uri.is_local else None
        return read_saved_image(path, exists=self._has_saved(domain))

    def state(self, domain: libvirt.virDomain) -> MachineState:
        """The documented state, without the rest."""
        if domain.name() in self.merged_offline:
            return MachineState.MERGING_DRIVES
        state, reason = domain.state()
        merging = state != libvirt.VIR_DOMAIN_SHUTOFF and current(domain).is_merging()
        return machine_state(state, reason, self.saved_image(domain), merging=merging)

    def settle(self, connect: libvirt.virConnect) -> None:
        """Wait until a libvirt that has just started knows what became of its machines meanwhile.

        Until then it tells of saves and starts that a crash has ended, and of a QEMU that is dead.
        """
        active = connect.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        if self._uri.root is None:
            # A daemon has just started where somebody's command seems under way.
            for domain in active:
                if self.state(domain) not in _SETTLED:
                    _wait_for_turn(domain)
        elif active:
            # The embedded driver has just started.
            with ThreadPoolExecutor(len(active)) as threads:
                list(threads.map(_wait_for_turn, active))

    def require(
        self,
        domain: libvirt.virDomain,
        allowed: frozenset[MachineState],
        command: str,
    ) -> MachineState:
        """The state, where it allows ``command``. Raises ``WrongState``."""
        state = self.state(domain)
        if state not in allowed:
            raise WrongState.of(domain.name(), state, command)
        return state

    @contextlib.contextmanager
    def _passing_over(self, domain: libvirt.virDomain) -> Iterator[None]:
        """Pass over one machine, for the sake of the others: one that is gone by now, or cannot be read."""
        try:
            yield
        except InvalidArgument as error:
            _log.warning("machine_unreadable", host=self._host, machine=domain.name(), error=error.sentence)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise

    def _has_saved(self, domain: libvirt.virDomain) -> bool:
        if domain.hasManagedSaveImage():
            return True
        # One that was put back when the machine was registered again: libvirt restores it all the same.
        path = self._uri.saved_image(domain.name()) if self._uri.is_local else None
        return path is not None and not domain.isActive() and _is_there(path)

    def _images_there(self) -> frozenset[str]:
        """The files of saved states, by one look."""
        folder = self._uri.saved_directory if self._uri.is_local else None
        try:
            return frozenset(path.name for path in folder.iterdir()) if folder else frozenset()
        except OSError:
            return frozenset()

    def _value(
        self, domain: libvirt.virDomain, state: tuple[int, int], *, saved: bool, autostart: bool
    ) -> Machine:
        text, key = domain.XMLDesc(0), domain.UUIDString()
        read = self._read.get(key)
        if read is None or read.text != text:
            read = self._read[key] = self._parse(text)
        path = self._uri.saved_image(read.machine.name) if saved and self._uri.is_local else None
        image = read_saved_image(path, exists=saved)
        now = machine_state(*state, image, merging=read.merging)
        if read.machine.name in self.merged_offline:
            now = MachineState.MERGING_DRIVES
        return dataclasses.replace(read.machine, state=now, autostart=autostart)

    def _forget_others(self, found: Sequence[Machine]) -> None:
        """Drop the definitions of machines that are gone."""
        if len(self._read) > 2 * len(found):
            kept = {machine.uuid for machine in found}
            self._read = {key: read for key, read in self._read.items() if key in kept}

    def _parse(self, text: str) -> _Read:
        definition = Definition.parse(text)
        machine = self._machine(definition)
        return _Read(text=text, machine=machine, merging=definition.is_merging())

    def _machine(self, definition: Definition) -> Machine:
        """The machine by its definition; its state and autostart are nowhere in it."""
        noted = read_summary(definition.node)
        return Machine(
            name=definition.name,
            uuid=definition.uuid,
            host=self._host,
            host_id=self._identity.id,
            state=MachineState.INVALID,
            memory_mib=definition.memory_mib,
            vcpus=definition.vcpus,
            disks=tuple(disk.value() for disk in definition.disks()),
            autostart=False,
            has_agent_port=definition.channel(AGENT_PORT) is not None,
            has_guest_agent_port=definition.channel(GUEST_AGENT_PORT) is not None,
            passthrough=tuple(definition.passthrough()),
            host_storage=tuple(definition.host_storage()),
            nvram_path=definition.nvram or definition.nvram_file,
            has_tpm=definition.tpm_backend == "emulator",
            labels=noted.labels,
            ignored=noted.ignored,
            known_parents=noted.known_parents,
            undoable=noted.undoable,
            undo_pending=noted.undo_pending,
            undo_exclude=noted.undo_exclude,
            undo_point=noted.undo_point,
            freezing_since=noted.freezing_since,
        )


def _wait_for_turn(domain: libvirt.virDomain) -> None:
    """A question that libvirt answers only when it is done with whatever it does to this machine."""
    with contextlib.suppress(libvirt.libvirtError):
        domain.memoryStats()


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def _names(connect: libvirt.virConnect, flag: int) -> frozenset[str]:
    return frozenset(domain.name() for domain in connect.listAllDomains(flag))


def _autostart(domain: libvirt.virDomain) -> bool:
    # A machine without a persistent definition has no autostart.
    return bool(domain.isPersistent() and domain.autostart())
