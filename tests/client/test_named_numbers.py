"""Documented numbers print as their names, and are taken as numbers."""

from __future__ import annotations

import enum

import pytest

import innkeeper
from innkeeper.client.disks import _format
from innkeeper.errors import InvalidArgument
from innkeeper.schedule.model import enumerations
from innkeeper.wire import states, virtual_pc
from innkeeper.wire.states import DiskFormat

_ENUMS: set[type[enum.IntEnum]] = {
    each
    for module in (innkeeper, states, virtual_pc, enumerations)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, enum.IntEnum) and len(each)
}


@pytest.mark.parametrize("kind", sorted(_ENUMS, key=str))
def test_a_documented_number_prints_its_name(kind: type[enum.IntEnum]) -> None:
    """``print(task.result)`` says SUCCESS; the value is still the number."""
    for member in kind:
        assert str(member) == f"{member}" == member.name
        assert member == int(member)


@pytest.mark.parametrize(
    ("kind", "format_"),
    [
        (0, DiskFormat.DYNAMIC),
        (1, DiskFormat.FIXED),
        (2, DiskFormat.DIFFERENCING),
        (innkeeper.HardDiskType.FIXED_SIZE, DiskFormat.FIXED),
        ("qcow2", DiskFormat.QCOW2),
    ],
)
def test_a_kind_of_disk_is_taken_by_number_type_or_word(kind: int | str, format_: DiskFormat) -> None:
    """``HardDisk.convert``, ``merge_to`` and ``convert`` of the collection share it."""
    assert _format(kind) is format_


@pytest.mark.parametrize("kind", [3, -1, True, "floppy", ""])
def test_what_is_no_kind_of_disk_is_refused(kind: int | str) -> None:
    """With the documented identifier."""
    with pytest.raises(InvalidArgument):
        _format(kind)
