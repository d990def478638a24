"""Find out beforehand whether an update has room, by what its package manager says that it takes."""

import glob
import os
import re
from typing import List, Optional

from innkeeper.agent.journal import PackageChange
from innkeeper.agent.places import Places
from innkeeper.agent.report import Failure

#: In the words of apt and apk, and of zypper.
_GROWTH = re.compile(
    r"^After this operation, ([\d.,]+) (\w+) of additional disk space will be used"
    r"|After the operation, additional ([\d.,]+) (\w+) will be used",
    re.MULTILINE,
)
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS.update(KiB=2**10, MiB=2**20, GiB=2**30, TiB=2**40)
#: Packages that bring a kernel: Debian's, those of the RHEL family and SUSE, Alpine's.
_KERNEL = re.compile(
    r"linux-image-|kernel(-core|-default|-rt-core|-uek-core)?\Z|linux-(lts|virt|stable|edge)\Z"
)
#: What lies in /boot beside the kernels, and may be far larger.
_SPECIAL = re.compile(r"rescue|fallback|kdump")


def expect_room(places: Places, output: str, planned: List[PackageChange]) -> None:
    """Raise ``Failure`` where packages do not fit below ``/usr``, or a kernel on a ``/boot`` of its own."""
    _expect(places, "usr", read_growth(output))
    if any(new and _KERNEL.match(name) for name, _, new in planned) and _is_apart(places.under("boot")):
        boot = places.under("boot")
        _expect(places, "boot", _largest(boot, "vmlinu[xz]*") + _largest(boot, "init*"))


def read_growth(text: str) -> int:
    """Read how many bytes more the packages will take, by the sum of what they say of themselves."""
    found = _GROWTH.search(text)
    if not found:
        return 0
    number, unit = found.group(1) or found.group(3), found.group(2) or found.group(4)
    return int(float(number.replace(",", "")) * _UNITS.get(unit, 0))


def free_bytes(path: str) -> Optional[int]:
    """Return what is free where a path lies, for root; nothing where that cannot be told."""
    try:
        state = os.statvfs(path)
    except OSError:
        return None
    return state.f_bfree * state.f_frsize


def _expect(places: Places, name: str, needed: int) -> None:
    free = free_bytes(places.under(name))
    if free is not None and needed > free:
        raise Failure(
            f"No room for the update: it takes {needed / 1e6:,.1f} MB more below /{name}, "
            f"and {free / 1e6:,.1f} MB are free."
        )


def _is_apart(directory: str) -> bool:
    """Return whether a folder is a file system of its own."""
    try:
        return os.stat(directory).st_dev != os.stat(os.path.dirname(directory)).st_dev
    except OSError:
        return False


def _largest(directory: str, pattern: str) -> int:
    paths = glob.glob(os.path.join(directory, pattern))
    # A link to a kernel that is gone stays.
    sizes = (os.stat(path).st_size for path in paths if os.path.exists(path) and not _SPECIAL.search(path))
    return max(sizes, default=0)
