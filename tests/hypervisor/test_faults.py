"""libvirt's errors, said in Innkeeper's terms."""

from __future__ import annotations

import libvirt
import pytest

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
from innkeeper.hypervisor.libvirt.faults import FAULTS, translated

#: These share the prefix, but are levels and the absence of an error.
_NO_ERRORS = {"VIR_ERR_NONE", "VIR_ERR_WARNING", "VIR_ERR_ERROR", "VIR_ERR_OK"}


def libvirt_error(number: int, message: str) -> libvirt.libvirtError:
    """An error as libvirt raises it."""
    error = libvirt.libvirtError("")
    error.err = (number, 0, message, 2, "", None, None, 0, 0)
    return error


def raised(number: int, message: str = "words of the host") -> InnkeeperError:
    """What becomes of one error of libvirt's."""
    with pytest.raises(InnkeeperError) as caught, translated("start", "web-1"):
        raise libvirt_error(number, message)
    return caught.value


def test_every_error_number_of_libvirt_has_a_meaning() -> None:
    """Also those of a newer libvirt, as soon as its binding is installed."""
    numbers = {
        name: getattr(libvirt, name)
        for name in dir(libvirt)
        if name.startswith("VIR_ERR_") and name not in _NO_ERRORS
    }
    assert {name for name, number in numbers.items() if number not in FAULTS} == set()


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, MachineNotFound, ErrorCode.VM_E_VM_UNKNOWN),
        (libvirt.VIR_ERR_OPERATION_INVALID, HypervisorError, ErrorCode.VM_E_VM_NOT_RUNNING),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, HypervisorError, ErrorCode.VM_E_TIMED_OUT),
        (libvirt.VIR_ERR_OPERATION_ABORTED, HypervisorError, ErrorCode.ERROR_CANCELLED),
        (libvirt.VIR_ERR_NO_MEMORY, HypervisorError, ErrorCode.E_OUTOFMEMORY),
        (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, AgentError, ErrorCode.VM_E_ADDITIONS_NOT_AVAIL),
        (libvirt.VIR_ERR_ACCESS_DENIED, NotPermitted, ErrorCode.E_ACCESSDENIED),
        (libvirt.VIR_ERR_NO_SUPPORT, NotSupported, ErrorCode.ERROR_NOT_SUPPORTED),
        (libvirt.VIR_ERR_XML_ERROR, InvalidArgument, ErrorCode.E_INVALIDARG),
    ],
)
def test_an_error_carries_its_documented_identifier(
    number: int, kind: type[InnkeeperError], code: ErrorCode
) -> None:
    """The class and the identifier follow from libvirt's number."""
    error = raised(number)
    assert type(error) is kind
    assert error.code is code


def test_a_full_disk_is_told_from_other_failures() -> None:
    """libvirt has no number for it, only QEMU's words."""
    error = raised(libvirt.VIR_ERR_INTERNAL_ERROR, "unable to write: No space left on device")
    assert type(error) is DiskError
    assert error.code is ErrorCode.ERROR_DISK_FULL
    assert error.advice


def test_an_image_that_somebody_else_holds_is_a_sharing_violation() -> None:
    """QEMU's own image lock says so in words."""
    error = raised(libvirt.VIR_ERR_INTERNAL_ERROR, 'Failed to get "write" lock')
    assert error.code is ErrorCode.ERROR_SHARING_VIOLATION


def test_the_sentence_names_the_machine_and_keeps_the_cause() -> None:
    """A person reads what was tried, on what, and the host's own words."""
    error = raised(libvirt.VIR_ERR_OPERATION_FAILED)
    assert str(error) == "Failed to start 'web-1': words of the host."
    assert isinstance(error.__cause__, libvirt.libvirtError)


def test_an_unknown_number_is_a_failure_of_the_host() -> None:
    """A newer libvirt may have numbers that nobody has heard of."""
    assert type(raised(999_999)) is HypervisorError
