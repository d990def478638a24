"""The trials that there are, and how often each is taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.night.kills import images, nights, simulated, storages
from tests.night.kills.trial import Trial, kill_processes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One kind of trial."""

    run: Trial
    #: How often it is taken, beside the others.
    weight: int
    #: End whatever a trial in this directory has left running.
    end_all: Callable[[Path], object] = lambda place: kill_processes(
        place, "qemu", "nbdkit", "python", "libvirtd"
    )


TRIALS: Mapping[str, Entry] = {
    "simulated": Entry(run=simulated.trial, weight=40),
    "images": Entry(run=images.trial, weight=40),
    "storages": Entry(run=storages.trial, weight=40),
    "services": Entry(run=nights.simulated, weight=4),
    "nights": Entry(run=nights.trial, weight=2),
}
