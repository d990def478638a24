"""Find the file systems that several computers can have mounted at once."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
#: By their names in the kernel; those of FUSE follow a dot.
_SHARED: Final = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "ceph", "ocfs2", "gfs2", "lustre", "beegfs", "gpfs", "afs",
    "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.sshfs", "fuse.beegfs", "fuse.juicefs", "fuse.s3fs",
})  # fmt: skip
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def network_storage(path: str) -> str:
    """Return a file's storage where other computers may have it too, as ``nfs4 filer:/vm``; else empty."""
    return storage_in(_MOUNTS.read_text(errors="surrogateescape"), os.path.realpath(path))


def storage_in(mounts: str, path: str) -> str:
    """The same by the text of ``/proc/self/mountinfo``; of mounts over one another the last counts."""
    found, longest = "", -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        mounted_at = _plain(before.split()[4])
        if PurePosixPath(path).is_relative_to(mounted_at) and len(mounted_at) >= longest:
            kind, source = after.split()[:2]
            found, longest = f"{kind} {_plain(source)}" if kind in _SHARED else "", len(mounted_at)
    return found


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)
