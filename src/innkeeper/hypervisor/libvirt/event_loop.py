"""Run libvirt's event loop in one thread of the process."""

from __future__ import annotations

import threading

import libvirt
import structlog

_log = structlog.get_logger()
_lock = threading.Lock()
_running = False


def ensure_event_loop() -> None:
    """Start the event thread once. libvirt wants it before the first connection is opened."""
    global _running
    with _lock:
        if _running:
            return
        # libvirt prints every error to stderr unless told not to; ours are raised.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run, name="libvirt-events", daemon=True).start()
        _running = True


def _run() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            _log.exception("libvirt_event_loop_failed")
