"""Make the embedded hypervisor's directory ready for its first machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import libvirt

from innkeeper.hypervisor.libvirt.acceleration import acceleration
from innkeeper.hypervisor.libvirt.event_loop import ensure_event_loop
from innkeeper.hypervisor.libvirt.faults import translated
from innkeeper.hypervisor.libvirt.stale_starts import clear_stale_starts
from innkeeper.hypervisor.libvirt.uris import embedded_root, embedded_uri
from innkeeper.machines.host_facts import Acceleration

#: Told what is being done, in a few words.
OnPhase = Callable[[str], None]


async def prepare_root(state_directory: Path, on_phase: OnPhase | None = None) -> Acceleration:
    """Probe KVM and QEMU once, so that nothing later waits for it; says which acceleration works.

    The embedded driver serves one process at a time: call it before the hypervisor is opened.
    """
    say = on_phase or (lambda _phase: None)
    root = embedded_root(state_directory)
    uri = embedded_uri(root)
    say("Trying whether guests run with KVM")
    answer = await asyncio.to_thread(acceleration, state_directory)
    say("Asking QEMU what it can do")
    await asyncio.to_thread(_probe_qemu, root, uri)
    return answer


def _probe_qemu(root: Path, uri: str) -> None:
    # Saved states hold guests' memory: nobody else may read them.
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    _keep_logs_plain(root / "etc" / "qemu.conf")
    clear_stale_starts(root)
    ensure_event_loop()
    with translated("prepare the embedded hypervisor"):
        connect = libvirt.open(uri)
        try:
            connect.getCapabilities()
            connect.getDomainCapabilities(None, None, None, "qemu", 0)
        finally:
            connect.close()


def _keep_logs_plain(settings: Path) -> None:
    """Make QEMU write its own logs, unless that is settled: a log daemon would outlive the service."""
    settings.parent.mkdir(exist_ok=True)
    if not settings.exists():
        settings.write_text('stdio_handler = "file"\n')
