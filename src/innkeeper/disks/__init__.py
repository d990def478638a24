"""Work on virtual hard disks: the VHD engine, chains, conversions."""

from innkeeper.disks.convert import convert
from innkeeper.disks.create import create_differencing, create_dynamic, create_fixed
from innkeeper.disks.disk import Disk, Extent, open  # noqa: A004 - the documented name
from innkeeper.disks.kind import HardDiskType, Kind
from innkeeper.disks.progress import Cancelled, Watch
from innkeeper.disks.reparent import reparent

__all__ = [
    "Cancelled",
    "Disk",
    "Extent",
    "HardDiskType",
    "Kind",
    "Watch",
    "convert",
    "create_differencing",
    "create_dynamic",
    "create_fixed",
    "open",
    "reparent",
]
