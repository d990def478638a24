"""Derive a machine's documented state from what libvirt and the host's files say."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path

import libvirt

from innkeeper.machines.machine import MachineState

_MAGIC_LENGTH = 16


class SavedImage(enum.Enum):
    """Kinds of saved state that libvirt may have of a machine."""

    NONE = enum.auto()
    #: All of it: the machine can be restored.
    WHOLE = enum.auto()
    #: A save that a crash cut short: worth nothing.
    PARTIAL = enum.auto()


#: What a running libvirt domain is, by its state alone.
_BY_STATE: Mapping[int, MachineState] = {
    libvirt.VIR_DOMAIN_NOSTATE: MachineState.INVALID,
    libvirt.VIR_DOMAIN_RUNNING: MachineState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: MachineState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: MachineState.PAUSED,
    # 1 to 2 s between the guest's power-off and the end of QEMU.
    libvirt.VIR_DOMAIN_SHUTDOWN: MachineState.TURNING_OFF,
    libvirt.VIR_DOMAIN_SHUTOFF: MachineState.TURNED_OFF,
    # Memory is held for a look at it; the guest does not run.
    libvirt.VIR_DOMAIN_CRASHED: MachineState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: MachineState.PAUSED,
}

#: Where the reason says more.
_BY_REASON: Mapping[tuple[int, int], MachineState] = {
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SAVE): MachineState.SAVING,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP): MachineState.TURNING_ON,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN): MachineState.TURNING_OFF,
}


def machine_state(state: int, reason: int, saved: SavedImage, *, merging: bool = False) -> MachineState:
    """The documented state; ``merging`` is whether QEMU was started for a merge alone.

    A kept saved state does not make a running machine saved: only a machine that is off can be that.
    """
    if merging and state != libvirt.VIR_DOMAIN_SHUTOFF:
        return MachineState.MERGING_DRIVES
    found = _BY_REASON.get((state, reason)) or _BY_STATE.get(state, MachineState.INVALID)
    if saved is SavedImage.WHOLE:
        return {
            MachineState.TURNED_OFF: MachineState.SAVED,
            MachineState.TURNING_ON: MachineState.RESTORING,
        }.get(found, found)
    return found


def read_saved_image(path: Path | None, *, exists: bool) -> SavedImage:
    """Read the image's first bytes; where they cannot be read, libvirt's answer has to do."""
    if not exists:
        return SavedImage.NONE
    try:
        magic = path.open("rb").read(_MAGIC_LENGTH) if path else b""
    except OSError:
        return SavedImage.WHOLE
    return SavedImage.PARTIAL if magic == b"LibvirtQemudPart" else SavedImage.WHOLE
