"""Turn libvirt's errors into Innkeeper's."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
from collections.abc import Iterator, Mapping

import libvirt

from innkeeper.errors import (
    AgentError,
    DiskError,
    ErrorCode,
    HypervisorError,
    InnkeeperError,
    InvalidArgument,
    MachineNotFound,
    NotPermitted,
    NotSupported,
)


class FaultKind(enum.Enum):
    """Whose fault an error of libvirt's is."""

    #: The machine is gone, or never was.
    UNKNOWN_MACHINE = enum.auto()
    #: The caller gave a value or a definition that libvirt cannot read.
    BAD_VALUE = enum.auto()
    #: This host, or this libvirt, cannot do it.
    UNSUPPORTED = enum.auto()
    #: The host lets this user not do it.
    FORBIDDEN = enum.auto()
    #: qemu-guest-agent does not answer.
    GUEST_AGENT = enum.auto()
    #: The host failed at it.
    HOST = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """Innkeeper's error for one libvirt error number."""

    kind: FaultKind
    #: The documented identifier, where the class has no finer one.
    code: ErrorCode | None = None
    #: What a person can do about it.
    advice: str = ""


_LOG_ADVICE = "libvirt's own words are in the error; QEMU's log on the host may say more."
_CONNECT_ADVICE = (
    "See that libvirt runs on the host and that the URI is right; Innkeeper tries again by itself."
)
_HOST = Fault(FaultKind.HOST, advice=_LOG_ADVICE)
_BAD_VALUE = Fault(FaultKind.BAD_VALUE)
_UNSUPPORTED = Fault(FaultKind.UNSUPPORTED)
_FORBIDDEN = Fault(
    FaultKind.FORBIDDEN, advice="Give Innkeeper's user the right to manage machines on this host."
)
_UNCONNECTED = Fault(FaultKind.HOST, ErrorCode.ERROR_ONLY_IF_CONNECTED, _CONNECT_ADVICE)
_NOT_FOUND = Fault(FaultKind.HOST, ErrorCode.ERROR_NOT_FOUND)
_EXISTS = Fault(FaultKind.HOST, ErrorCode.ERROR_ALREADY_EXISTS)
_AGENT = Fault(FaultKind.GUEST_AGENT, advice="See that qemu-guest-agent is installed and runs in the guest.")

_MEANINGS: Mapping[Fault, str] = {
    _HOST: "INTERNAL_ERROR UNKNOWN_HOST OPERATION_FAILED GET_FAILED POST_FAILED HTTP_ERROR SEXPR_SERIAL"
    " NO_XEN XEN_CALL NO_XENSTORE DRIVER_FULL CALL_FAILED OPEN_FAILED READ_FAILED PARSE_FAILED"
    " CONF_SYNTAX WRITE_FAILED SYSTEM_ERROR BUILD_FIREWALL MIGRATE_PERSIST_FAILED HOOK_SCRIPT_FAILED"
    " STORAGE_PROBE_FAILED STORAGE_POOL_BUILT SNAPSHOT_REVERT_RISKY MIGRATE_UNSAFE OVERFLOW"
    " DBUS_SERVICE CPU_INCOMPATIBLE MIGRATE_FINISH_OK CHECKPOINT_INCONSISTENT INVALID_STREAM",
    _BAD_VALUE: "INVALID_DOMAIN INVALID_ARG OS_TYPE NO_KERNEL NO_ROOT NO_SOURCE NO_TARGET NO_NAME NO_OS"
    " NO_DEVICE XML_ERROR XML_DETAIL INVALID_NETWORK INVALID_MAC INVALID_STORAGE_POOL INVALID_STORAGE_VOL"
    " INVALID_NODE_DEVICE INVALID_INTERFACE MULTIPLE_INTERFACES INVALID_NWFILTER INVALID_SECRET"
    " INVALID_DOMAIN_SNAPSHOT XML_INVALID_SCHEMA DEVICE_MISSING INVALID_NWFILTER_BINDING"
    " INVALID_DOMAIN_CHECKPOINT INVALID_NETWORK_PORT MULTIPLE_DOMAINS",
    _UNSUPPORTED: "NO_SUPPORT NO_SECURITY_MODEL CONFIG_UNSUPPORTED ARGUMENT_UNSUPPORTED"
    " OPERATION_UNSUPPORTED",
    _FORBIDDEN: "OPERATION_DENIED AUTH_FAILED AUTH_CANCELLED ACCESS_DENIED AUTH_UNAVAILABLE",
    _UNCONNECTED: "NO_CONNECT INVALID_CONN RPC GNUTLS_ERROR SSH NO_SERVER NO_CLIENT LIBSSH",
    _NOT_FOUND: "NO_NETWORK NO_STORAGE_POOL NO_STORAGE_VOL NO_NODE_DEVICE NO_INTERFACE NO_NWFILTER NO_SECRET"
    " NO_DOMAIN_SNAPSHOT NO_DOMAIN_METADATA NO_NWFILTER_BINDING NO_DOMAIN_CHECKPOINT NO_DOMAIN_BACKUP"
    " NO_NETWORK_PORT NO_HOSTNAME",
    _EXISTS: "DOM_EXIST NETWORK_EXIST STORAGE_VOL_EXIST NETWORK_PORT_EXIST",
    _AGENT: "AGENT_UNRESPONSIVE AGENT_UNSYNCED",
    Fault(FaultKind.UNKNOWN_MACHINE): "NO_DOMAIN",
    Fault(FaultKind.HOST, ErrorCode.E_OUTOFMEMORY, "Free memory on the host."): "NO_MEMORY",
    Fault(FaultKind.HOST, ErrorCode.VM_E_VM_NOT_RUNNING): "OPERATION_INVALID",
    Fault(FaultKind.HOST, ErrorCode.VM_E_TIMED_OUT): "OPERATION_TIMEOUT",
    Fault(FaultKind.HOST, ErrorCode.ERROR_CANCELLED): "OPERATION_ABORTED",
    Fault(FaultKind.HOST, ErrorCode.ERROR_BUSY, "Wait until the other operation has ended."): "RESOURCE_BUSY"
    " BLOCK_COPY_ACTIVE",
}

#: What every error number of libvirt's means.
FAULTS: Mapping[int, Fault] = {
    getattr(libvirt, f"VIR_ERR_{name}"): fault for fault, names in _MEANINGS.items() for name in names.split()
}

#: Words of the host that say more than libvirt's number does; looked for in the message, lower case.
_TELLING_WORDS: Mapping[str, Fault] = {
    "unsupported flags": _UNSUPPORTED,
    "already in active block job": Fault(
        FaultKind.HOST, ErrorCode.ERROR_BUSY, "Wait until the backup of the machine has ended."
    ),
    # The message goes on with who holds it, and libvirt has waited for half a minute.
    "cannot acquire state change lock": Fault(
        FaultKind.HOST, ErrorCode.ERROR_BUSY, "Wait until the other operation has ended: virsh domjobinfo."
    ),
    "no space left on device": Fault(
        FaultKind.HOST, ErrorCode.ERROR_DISK_FULL, "Free space on the host's disk."
    ),
    'failed to get "write" lock': Fault(
        FaultKind.HOST, ErrorCode.ERROR_SHARING_VIOLATION, "Another program has the disk image open."
    ),
    'failed to get shared "write" lock': Fault(
        FaultKind.HOST, ErrorCode.ERROR_SHARING_VIOLATION, "Another program has the disk image open."
    ),
    "permission denied": Fault(
        FaultKind.HOST, ErrorCode.E_ACCESSDENIED, "See that the host's QEMU may read and write this file."
    ),
}


@contextlib.contextmanager
def translated(doing: str, machine: str = "") -> Iterator[None]:
    """Raise libvirt's errors as Innkeeper's; ``doing`` completes "failed to …"."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error, doing, machine) from error


def translate(error: libvirt.libvirtError, doing: str, machine: str = "") -> InnkeeperError:
    """Translate a libvirt error into one of Innkeeper's."""
    message = (error.get_error_message() or str(error)).strip()
    fault = _fault(error.get_error_code(), message)
    where = f" {machine!r}" if machine else ""
    return _build(fault, f"Failed to {doing}{where}: {message}.", machine)


def _fault(number: int | None, message: str) -> Fault:
    lowered = message.lower()
    told = next((fault for words, fault in _TELLING_WORDS.items() if words in lowered), None)
    return told or FAULTS.get(number or 0, _HOST)


def _build(fault: Fault, sentence: str, machine: str) -> InnkeeperError:
    match fault.kind:
        case FaultKind.UNKNOWN_MACHINE:
            return MachineNotFound(f"No machine is named {machine!r}.", machine=machine)
        case FaultKind.GUEST_AGENT:
            return AgentError(sentence, machine=machine, advice=fault.advice)
        case FaultKind.HOST if fault.code is ErrorCode.ERROR_DISK_FULL:
            return DiskError(sentence, path="", code=fault.code, advice=fault.advice)
    kinds: Mapping[FaultKind, type[InnkeeperError]] = {
        FaultKind.BAD_VALUE: InvalidArgument,
        FaultKind.UNSUPPORTED: NotSupported,
        FaultKind.FORBIDDEN: NotPermitted,
        FaultKind.HOST: HypervisorError,
    }
    return kinds[fault.kind](sentence, code=fault.code, advice=fault.advice)
