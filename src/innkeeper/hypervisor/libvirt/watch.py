"""Publishes the events of one libvirt connection, and looks after each new connection first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ParamSpec

import libvirt
import structlog

from innkeeper.hypervisor.libvirt.announcer import Announcer
from innkeeper.hypervisor.libvirt.events import lifecycle_event, lifecycle_reason
from innkeeper.hypervisor.libvirt.merging import BlockJobs
from innkeeper.hypervisor.libvirt.trays import Trays
from innkeeper.wire.events import EventKind

P = ParamSpec("P")

_log = structlog.get_logger()


class Watch:
    """The callbacks of one host's connection.

    Those named ``_on_…`` run in libvirt's event thread: they never make a call that blocks, and hand
    everything to the loop.
    """

    def __init__(self, announcer: Announcer, trays: Trays, jobs: BlockJobs) -> None:
        self._announcer = announcer
        self._trays = trays
        self._jobs = jobs
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Blocking work on every new connection, after its events are subscribed to.
        self.at_opening: Sequence[Callable[[libvirt.virConnect], None]] = ()

    def use_loop(self) -> None:
        """Publish on the event loop that runs now."""
        self._loop = asyncio.get_running_loop()

    def connected(self) -> None:
        """Publish that the host is connected."""
        self._announcer.say(EventKind.HOST_CONNECTED, self._announcer.host)

    def lost(self, why: str) -> None:
        """Log and publish that the connection is lost."""
        _log.warning("host_lost", host=self._announcer.host, why=why)
        self._announcer.say(EventKind.HOST_LOST, self._announcer.host, why)

    def clean_up(self, connect: libvirt.virConnect) -> None:
        """Clean up after crashes, once a new connection's events are subscribed to: none is missed."""
        for work in self.at_opening:
            work(connect)

    def take_over(self, connect: libvirt.virConnect) -> list[int]:
        """Subscribe to a new connection's events."""
        wanted = (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot),
            (libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, self._on_guest_agent),
            (libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, self._on_block_job),
            (libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, self._on_tray),
            (libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, self._on_disk_error),
        )
        return [connect.domainEventRegisterAny(None, event, handle, None) for event, handle in wanted]

    def _on_lifecycle(
        self, _c: libvirt.virConnect, domain: libvirt.virDomain, event: int, detail: int, _o: object
    ) -> None:
        kind = lifecycle_event(event, detail)
        if kind is not None:
            self._tell(kind, domain, lifecycle_reason(event, detail))

    def _on_reboot(self, _c: libvirt.virConnect, domain: libvirt.virDomain, _o: object) -> None:
        self._tell(EventKind.MACHINE_REBOOTED, domain)

    def _on_guest_agent(
        self, _c: libvirt.virConnect, domain: libvirt.virDomain, _state: int, _reason: int, _o: object
    ) -> None:
        self._tell(EventKind.MACHINE_GUEST_AGENT_CHANGED, domain)

    def _on_tray(
        self, _c: libvirt.virConnect, domain: libvirt.virDomain, drive: str, reason: int, _o: object
    ) -> None:
        if reason == libvirt.VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN:
            self._notify(self._trays.opened, domain.name(), drive)

    def _on_disk_error(
        self,
        _c: libvirt.virConnect,
        domain: libvirt.virDomain,
        path: str,
        _device: str,
        _action: int,
        reason: str,
        _o: object,
    ) -> None:
        if reason == "enospc":
            self._notify(self._trays.full, domain.name(), path)

    def _on_block_job(
        self, _c: libvirt.virConnect, domain: libvirt.virDomain, _disk: str, _t: int, _s: int, _o: object
    ) -> None:
        self._notify(self._jobs.happened, domain.name())

    def _tell(self, kind: EventKind, domain: libvirt.virDomain, reason: str = "") -> None:
        self._notify(self._announcer.say_of, kind, domain.name(), domain.UUIDString(), reason)

    def _notify(self, callback: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: callback(*args, **kwargs))
