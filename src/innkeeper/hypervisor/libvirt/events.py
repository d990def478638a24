"""Say libvirt's events in the house's words."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import libvirt


class MachineEvent(enum.StrEnum):
    """What can happen to a machine or its host, as others are told."""

    DEFINED = "machine.defined"
    UNDEFINED = "machine.undefined"
    #: Booted, or restored: ``data["reason"]`` says which.
    STARTED = "machine.started"
    PAUSED = "machine.paused"
    RESUMED = "machine.resumed"
    REBOOTED = "machine.rebooted"
    #: The guest has powered off; QEMU still ends.
    STOPPING = "machine.stopping"
    STOPPED = "machine.stopped"
    SAVED = "machine.saved"
    #: The guest or QEMU broke.
    CRASHED = "machine.crashed"
    #: Somebody has changed how it is made.
    CONFIGURATION_CHANGED = "machine.configuration_changed"
    #: The task agent's port was added.
    AGENT_PORT_CHANGED = "machine.agent_port_changed"
    #: qemu-guest-agent came or went.
    GUEST_AGENT_CHANGED = "machine.guest_agent_changed"
    HOST_CONNECTED = "host.connected"
    HOST_LOST = "host.lost"


#: By libvirt's event alone.
_BY_EVENT: Mapping[int, MachineEvent] = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: MachineEvent.DEFINED,
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: MachineEvent.UNDEFINED,
    libvirt.VIR_DOMAIN_EVENT_STARTED: MachineEvent.STARTED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: MachineEvent.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: MachineEvent.RESUMED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: MachineEvent.STOPPED,
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: MachineEvent.STOPPING,
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: MachineEvent.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: MachineEvent.CRASHED,
}

#: Where the detail says more.
_BY_DETAIL: Mapping[tuple[int, int], MachineEvent] = {
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED): MachineEvent.SAVED,
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED): MachineEvent.CRASHED,
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED): MachineEvent.CRASHED,
}


def lifecycle_event(event: int, detail: int) -> MachineEvent | None:
    """What one lifecycle event means, or ``None`` for one this table does not know."""
    return _BY_DETAIL.get((event, detail)) or _BY_EVENT.get(event)


#: Why a machine started or stopped, by libvirt's event and detail.
_REASONS: Mapping[tuple[int, int], str] = {
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED): "booted",
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED): "migrated",
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_RESTORED): "restored",
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT): "reverted",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN): "shut_down",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED): "turned_off",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED): "crashed",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED): "migrated",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED): "saved",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED): "hypervisor_failed",
    (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR): "disk_error",
    (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST): "guest",
    (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_HOST): "host",
}


def lifecycle_reason(event: int, detail: int) -> str:
    """Why it happened, in one word; empty where libvirt does not say."""
    return _REASONS.get((event, detail), "")
