"""Merge an undo disk into its base while no machine runs on it, by a storage daemon.

The overlay is only read, and the base is written: an interruption at whatever moment leaves the chain
reading as before, and the merge is taken up again from its beginning. Only the image directly below the
overlay is written.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from innkeeper.disks.lock import hold_for_merging
from innkeeper.disks.oserror import adapted
from innkeeper.disks.progress import UNWATCHED, Cancelled, Watch
from innkeeper.disks.qemu_program import Limits
from innkeeper.disks.storage_daemon import StorageDaemon
from innkeeper.errors import DiskError, ErrorCode
from innkeeper.hypervisor.libvirt.chain_nodes import BASE, TOP, OpenChain, Undescribed, reach_of
from innkeeper.hypervisor.libvirt.image_chain import ImageChain, LocalImage
from innkeeper.hypervisor.libvirt.merged_bitmaps import keep_bitmaps, mend_bitmaps
from innkeeper.wire.json_fields import JsonObject, get_int, get_or, get_str

_JOB = "merge"
_LOOK_SECONDS = 0.5
#: How long a daemon is waited for that the kernel ends, or a program that only looks at an image.
_RELEASE_SECONDS = 10.0
_RELEASE_LOOK_SECONDS = 0.1


def merge_offline(chain: ImageChain, *, mib_per_s: int = 0, watch: Watch = UNWATCHED) -> None:
    """Merge the top image of a chain, which no machine uses, into the one below it; all is stored then.

    ``mib_per_s`` bounds how fast it writes; 0 for as fast as it can. Raises ``Undescribed``, with nothing
    written, where the chain is not all of it, and ``DiskError`` for whatever fails.
    """
    overlay, base = chain.nodes[0].storage, chain.nodes[1].storage
    assert isinstance(overlay, LocalImage)
    try:
        with _held(Path(overlay.path)) as descriptor:
            _merge(chain, descriptor, Path(base.name), mib_per_s, watch)
    except (Cancelled, Undescribed):
        raise
    except DiskError as error:
        raise _not_merged(overlay.name, base.name, error) from error


def _merge(chain: ImageChain, descriptor: int, base: Path, mib_per_s: int, watch: Watch) -> None:
    limits = Limits.for_bytes(os.fstat(descriptor).st_size)
    # The daemon has the lock too: where it outlives us, nobody merges beside it.
    with StorageDaemon.started(
        base, limits, reach=reach_of(chain), files=[descriptor], watch=watch
    ) as daemon:
        opened = OpenChain(daemon, chain)
        keep_bitmaps(opened)
        opened.reopen(BASE, writable=True)
        mend_bitmaps(opened)
        _commit(daemon, base, mib_per_s, watch)


def _commit(daemon: StorageDaemon, base: Path, mib_per_s: int, watch: Watch) -> None:
    """Write what the top image has into the base, and follow it until the base has all of it durably."""
    daemon.execute(
        "block-commit",
        {
            "job-id": _JOB,
            "device": TOP,
            "base-node": BASE,
            "speed": mib_per_s << 20,
            # It stays to be asked what became of it.
            "auto-dismiss": False,
        },
    )
    completing = False
    while (status := get_str(job := _job(daemon), "status")) != "concluded":
        watch.advance("merging", get_int(job, "current-progress"), get_int(job, "total-progress"))
        if status == "ready" and not completing:
            daemon.execute("job-complete", {"id": _JOB})
            completing = True
        daemon.wait_for_event(_LOOK_SECONDS)
    if words := get_or(job, "error", str, ""):
        raise daemon.error(words)
    if not completing:
        raise daemon.error("the merge ended before all was merged")
    watch.advance("merging", get_int(job, "total-progress"), get_int(job, "total-progress"))


def _job(daemon: StorageDaemon) -> JsonObject:
    return next(job for job in daemon.jobs() if job["id"] == _JOB)


@contextlib.contextmanager
def _held(overlay: Path) -> Iterator[int]:
    """Open the overlay and keep other merges away from it; a daemon that is dying is waited for."""
    with adapted(overlay):
        descriptor = os.open(overlay, os.O_RDWR | os.O_CLOEXEC)
    try:
        end = time.monotonic() + _RELEASE_SECONDS
        while True:
            try:
                hold_for_merging(descriptor, str(overlay))
                break
            except DiskError:
                if time.monotonic() > end:
                    raise
            time.sleep(_RELEASE_LOOK_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def _not_merged(overlay: str, base: str, error: DiskError) -> DiskError:
    reason = error.sentence.removeprefix(f"{base}: ").removeprefix(f"{overlay}: ").rstrip(".")
    advice = {
        ErrorCode.ERROR_DISK_FULL: f"Make room where {base} lies.",
        ErrorCode.ERROR_SHARING_VIOLATION: "End the program that has one of them open.",
    }.get(error.code, f"See that {base} can be written.")
    return DiskError(
        f"The undo disk {overlay} was not merged into {base}: {reason}.",
        path=base,
        code=error.code,
        advice=f"{advice} The undo disk still has everything, and the merge can be taken up again.",
    )
