"""Start machines, with KVM or without: a start that dies of KVM goes on in software where we may choose."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import libvirt
import structlog

from innkeeper.errors import ErrorCode, HypervisorError, MachineError
from innkeeper.hypervisor.libvirt.acceleration import acceleration, remember_failure
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.domains import persistent
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.host_facts import Accelerator

_log = structlog.get_logger(__name__)

#: QEMU's words, and libvirt's, when it is KVM that fails: functions and calls of KVM's by name, or sentences.
_KVM_FAILED = re.compile(
    r"failed to [gs]et MSR|(?<![\w/.-])kvm_\w+(?::| failed)|ioctl\(KVM_[A-Z_]+|access KVM kernel module"
    r"|failed to initialize (?i:kvm)|KVM internal error|kvm run failed|requires KVM\b"
    r"|does not support virt type 'kvm'|invalid accelerator kvm"
)
_MOST_CHARS = 300


class Starts:
    """How the machines of one host are started."""

    def __init__(self, uri: HostUri, state_directory: Path) -> None:
        self._uri = uri
        self._state_directory = state_directory

    def boot(self, connect: libvirt.virConnect, domain: libvirt.virDomain, flags: int) -> str:
        """Boot a machine that is off; returns what a person should know of it, or nothing."""
        definition = persistent(domain)
        if definition.type != "kvm":
            domain.createWithFlags(flags)
            return ""
        why = self._why_without_kvm()
        if why and definition.chosen_acceleration:
            return _boot_in_software(connect, definition, flags, why)
        try:
            domain.createWithFlags(flags)
        except libvirt.libvirtError as error:
            words = kvm_failure(error)
            if not words:
                raise
            if not definition.chosen_acceleration:
                raise _left_as_it_is(definition.name, words) from error
            return _boot_in_software(connect, definition, flags, self._remember(words))
        return _may_not_run(definition.name, why) if why else ""

    def restore(self, domain: libvirt.virDomain, flags: int) -> None:
        """Start a machine that is saved: its memory goes on as it was saved, with KVM or without."""
        with kvm_needed(domain.name()):
            domain.createWithFlags(flags)

    def _why_without_kvm(self) -> str:
        """Why guests of this user's QEMU do not run with KVM; empty where they do, or are another's."""
        if not self._uri.is_local or self._uri.is_system:
            return ""
        answer = acceleration(self._state_directory)
        return "" if answer.accelerator is Accelerator.KVM else answer.reason

    def _remember(self, words: str) -> str:
        if not self._uri.is_local:
            return f"The start died of KVM: {words}"
        return remember_failure(self._state_directory, words).reason


def begin_without_processor(connect: libvirt.virConnect, definition: Definition) -> None:
    """Start a QEMU whose processor never runs; where KVM cannot even be set up, without it."""
    try:
        connect.createXML(definition.text(), libvirt.VIR_DOMAIN_START_PAUSED)
    except libvirt.libvirtError as error:
        if definition.type != "kvm" or not kvm_failure(error):
            raise
        definition.type = "qemu"
        connect.createXML(definition.text(), libvirt.VIR_DOMAIN_START_PAUSED)


def kvm_failure(error: libvirt.libvirtError) -> str:
    """The words by which QEMU or libvirt says that it is KVM that failed; empty where it is not."""
    message = str(error.get_error_message() or error)
    found = _KVM_FAILED.search(message)
    if found is None:
        return ""
    line = message[message.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0]
    return "".join(each for each in line.strip() if each.isprintable())[:_MOST_CHARS]


@contextlib.contextmanager
def kvm_needed(name: str) -> Iterator[None]:
    """Restore memory inside: where it dies of KVM, refuse in words; memory saved with KVM needs KVM."""
    try:
        yield
    except libvirt.libvirtError as error:
        words = kvm_failure(error)
        if not words:
            raise
        raise MachineError(
            f"The saved state of {name!r} was made with KVM, and KVM fails: {words}",
            machine=name,
            code=ErrorCode.E_FAIL,
            advice="Memory that was saved with KVM goes on with KVM alone. See what is wrong with it "
            "(innkeeper host show), or discard the saved state and start the machine anew.",
        ) from error


def _boot_in_software(connect: libvirt.virConnect, definition: Definition, flags: int, why: str) -> str:
    """Start it without KVM this time; what is kept of it stays, so that it goes back by itself."""
    name = definition.name
    definition.use_software(why)
    connect.createXML(definition.text(), flags)
    _log.warning("machine_started_in_software", machine=name, why=why)
    return f"{name} runs in software emulation, which is slower, for KVM does not work here: {why}"


def _left_as_it_is(name: str, words: str) -> HypervisorError:
    return HypervisorError(
        f"Failed to start {name!r}: KVM fails: {words}",
        advice="Its definition asks for KVM, and Innkeeper did not write it, so it is left as it is. See "
        "what is wrong with KVM (innkeeper host show), or let it run without: in its definition, write "
        "<domain type='qemu'> and <cpu mode='maximum'/>.",
    )


def _may_not_run(name: str, why: str) -> str:
    return (
        f"The definition of {name} asks for KVM, which does not work here, and was left as it is; its guest "
        f"may never come up: {why}"
    )
