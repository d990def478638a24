"""What a simulated guest does, wherever the service that simulates it is killed."""

from __future__ import annotations

import copy

from innkeeper.hypervisor.simulated.guests import Behaviour, Guest, GuestDisk, Pace
from innkeeper.wire.states import UpdateStatus


def test_an_update_is_done_once_though_the_memory_that_was_written_is_older_than_the_disk() -> None:
    """A guest's disk and its memory are two files: the service is killed when only the first is written."""
    guest = Guest.boot(GuestDisk(), now=0.0, pace=Pace(), behaviour=Behaviour.GOOD, seed="s")
    guest.start_task("night", b"", "1", 30.0)
    before = copy.deepcopy(guest.memory)
    guest.live(60.0)
    assert guest.disk.packages["base"] == "1.0-2"
    guest.memory = before
    guest.live(120.0)
    task = guest.disk.journal["night"]
    assert (guest.disk.packages["base"], task.packages) == ("1.0-2", [["base", "1.0-1", "1.0-2"]])
    assert task.status == UpdateStatus.SUCCESS
