"""A machine's documented state, derived and never remembered."""

from __future__ import annotations

from pathlib import Path

import libvirt
import pytest

from innkeeper.hypervisor.libvirt.events import lifecycle_event, lifecycle_reason
from innkeeper.hypervisor.libvirt.states import SavedImage, machine_state, read_saved_image
from innkeeper.machines.machine import MachineState
from innkeeper.wire.events import EventKind

_STARTING_UP = libvirt.VIR_DOMAIN_PAUSED_STARTING_UP


@pytest.mark.parametrize(
    ("state", "reason", "saved", "wanted"),
    [
        (libvirt.VIR_DOMAIN_RUNNING, 1, SavedImage.NONE, MachineState.RUNNING),
        # A saved state that is kept while its machine tries something.
        (libvirt.VIR_DOMAIN_RUNNING, 1, SavedImage.WHOLE, MachineState.RUNNING),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, SavedImage.WHOLE, MachineState.PAUSED),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SAVE, SavedImage.PARTIAL, MachineState.SAVING),
        (libvirt.VIR_DOMAIN_PAUSED, _STARTING_UP, SavedImage.NONE, MachineState.TURNING_ON),
        (libvirt.VIR_DOMAIN_PAUSED, _STARTING_UP, SavedImage.WHOLE, MachineState.RESTORING),
        (libvirt.VIR_DOMAIN_SHUTDOWN, 0, SavedImage.NONE, MachineState.TURNING_OFF),
        (libvirt.VIR_DOMAIN_SHUTOFF, 0, SavedImage.NONE, MachineState.TURNED_OFF),
        (libvirt.VIR_DOMAIN_SHUTOFF, 0, SavedImage.WHOLE, MachineState.SAVED),
        # What a save that a crash cut short has left is no saved state.
        (libvirt.VIR_DOMAIN_SHUTOFF, 0, SavedImage.PARTIAL, MachineState.TURNED_OFF),
        (libvirt.VIR_DOMAIN_CRASHED, 0, SavedImage.NONE, MachineState.PAUSED),
        (999, 0, SavedImage.NONE, MachineState.INVALID),
    ],
)  # fmt: skip
def test_the_state_follows_from_libvirt_and_the_saved_image(
    state: int, reason: int, saved: SavedImage, wanted: MachineState
) -> None:
    """Each row was seen on a real host."""
    assert machine_state(state, reason, saved) is wanted


def test_a_qemu_that_only_merges_is_no_running_machine() -> None:
    """It is merging while it is up, and off after that."""
    paused = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER)
    assert machine_state(*paused, SavedImage.NONE, merging=True) is MachineState.MERGING_DRIVES
    off = (libvirt.VIR_DOMAIN_SHUTOFF, 0)
    assert machine_state(*off, SavedImage.NONE, merging=True) is MachineState.TURNED_OFF


def test_a_cut_off_image_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    """What cannot be read has to be believed."""
    image = tmp_path / "machine.save"
    image.write_bytes(b"LibvirtQemudPart" + b"memory")
    assert read_saved_image(image, exists=True) is SavedImage.PARTIAL
    image.write_bytes(b"LibvirtQemudSave" + b"memory")
    assert read_saved_image(image, exists=True) is SavedImage.WHOLE
    assert read_saved_image(image, exists=False) is SavedImage.NONE
    assert read_saved_image(tmp_path / "unreadable", exists=True) is SavedImage.WHOLE


@pytest.mark.parametrize(
    "name", ["NOSTATE", "RUNNING", "BLOCKED", "PAUSED", "SHUTDOWN", "SHUTOFF", "CRASHED", "PMSUSPENDED"]
)
def test_no_state_of_libvirt_is_unknown(name: str) -> None:
    """Only ``NOSTATE`` has no counterpart."""
    state = machine_state(getattr(libvirt, f"VIR_DOMAIN_{name}"), 0, SavedImage.NONE)
    assert (state is MachineState.INVALID) == (name == "NOSTATE")


@pytest.mark.parametrize(
    ("event", "detail", "kind", "reason"),
    [
        (libvirt.VIR_DOMAIN_EVENT_STARTED, 0, EventKind.MACHINE_STARTED, "booted"),
        (libvirt.VIR_DOMAIN_EVENT_STARTED, 2, EventKind.MACHINE_STARTED, "restored"),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, 1, EventKind.MACHINE_STOPPED, "turned_off"),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, 4, EventKind.MACHINE_SAVED, "saved"),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, 5, EventKind.MACHINE_CRASHED, "hypervisor_failed"),
        (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, 2, EventKind.MACHINE_PAUSED, "disk_error"),
        (libvirt.VIR_DOMAIN_EVENT_UNDEFINED, 0, EventKind.MACHINE_UNDEFINED, ""),
    ],
)
def test_events_are_told_in_the_houses_words(event: int, detail: int, kind: EventKind, reason: str) -> None:
    """A save is no stop, and a QEMU that died is a crash."""
    assert lifecycle_event(event, detail) is kind
    assert lifecycle_reason(event, detail) == reason
