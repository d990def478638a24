"""The kinds of disk image, by the short names used in this package."""

from innkeeper.wire.states import DOCUMENTED_FORMATS as DOCUMENTED
from innkeeper.wire.states import DiskFormat as Kind
from innkeeper.wire.states import HardDiskType

__all__ = ["DOCUMENTED", "HardDiskType", "Kind"]
