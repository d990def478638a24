"""The kinds of event that libvirt's events are."""

from __future__ import annotations

from collections.abc import Mapping

import libvirt

from innkeeper.wire.events import EventKind

#: By libvirt's event alone.
_BY_EVENT: Mapping[int, EventKind] = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: EventKind.MACHINE_DEFINED,
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: EventKind.MACHINE_UNDEFINED,
    libvirt.VIR_DOMAIN_EVENT_STARTED: EventKind.MACHINE_STARTED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: EventKind.MACHINE_PAUSED,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: EventKind.MACHINE_RESUMED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: EventKind.MACHINE_STOPPED,
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: EventKind.MACHINE_STOPPING,
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: EventKind.MACHINE_PAUSED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: EventKind.MACHINE_CRASHED,
}

#: Where the detail says more.
_BY_DETAIL: Mapping[tuple[int, int], EventKind] = {
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED): EventKind.MACHINE_SAVED,
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED): EventKind.MACHINE_CRASHED,
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED): EventKind.MACHINE_CRASHED,
}


def lifecycle_event(event: int, detail: int) -> EventKind | None:
    """The kind of a libvirt lifecycle event, or ``None`` for one this table does not know."""
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
    (libvirt.VIR_DOMAIN_EVENT_CRASHED, libvirt.VIR_DOMAIN_EVENT_CRASHED_PANICKED): "panicked",
    (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST): "guest",
    (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_HOST): "host",
}


def lifecycle_reason(event: int, detail: int) -> str:
    """Return why the event happened, in one word; empty where libvirt has no reason."""
    return _REASONS.get((event, detail), "")
