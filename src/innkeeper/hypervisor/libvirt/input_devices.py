"""Type on the keyboards and move the mice of libvirt's machines.

Keys that are pressed and released together go through libvirt; all else through QEMU's monitor, which
libvirt marks the machine for in its log (``custom-monitor``) and which changes nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import libvirt
import libvirt_qemu

from innkeeper.errors import HypervisorError, NotSupported
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.domains import Domains
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.input_devices import (
    ButtonMoved,
    InputEvent,
    Key,
    KeyMoved,
    PointerMoved,
    PointerPlaced,
    Pointers,
    WheelTurned,
)
from innkeeper.wire.events import Json
from innkeeper.wire.states import MouseButton

_RUNNING = frozenset({MachineState.RUNNING})
_BUTTONS: Mapping[MouseButton, str] = {
    MouseButton.LEFT: "left",
    MouseButton.RIGHT: "right",
    MouseButton.CENTER: "middle",
}


class LibvirtInputDevices:
    """The keyboards and mice of one host's machines (``machines.ports.input_devices.InputDevices``)."""

    def __init__(self, uri: HostUri, connection: Connection, domains: Domains) -> None:
        self._uri = uri
        self._connection = connection
        self._domains = domains

    async def press(self, name: str, keys: Sequence[Key], *, hold_ms: int) -> None:
        """Press keys together and release them (``virDomainSendKey``)."""
        codes = [key.code for key in keys]

        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            self._domains.require(domain, _RUNNING, "be typed on")
            domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, hold_ms, codes, len(codes), 0)

        await self._connection.command(work, "type on", name, final=False)

    async def feed(self, name: str, events: Sequence[InputEvent]) -> None:
        """Send these events (QEMU's ``input-send-event``)."""
        message: list[Json] = [part for event in events for part in _parts(event)]
        if message:
            await self._monitor(name, "input-send-event", {"events": message})

    async def pointers(self, name: str) -> Pointers:
        """The machine's pointing devices (QEMU's ``query-mice``)."""
        mice = await self._monitor(name, "query-mice", {})
        known = [mouse for mouse in mice if isinstance(mouse, dict)] if isinstance(mice, list) else []
        return Pointers(any=bool(known), absolute=any(mouse.get("absolute") is True for mouse in known))

    async def _monitor(self, name: str, command: str, arguments: Mapping[str, Json]) -> Json:
        if self._uri.is_test:
            raise NotSupported(
                "The machines of libvirt's test driver have no mouse, and no keys that stay down."
            )
        line = json.dumps({"execute": command, "arguments": arguments})

        def work(connect: libvirt.virConnect) -> Json:
            domain = connect.lookupByName(name)
            self._domains.require(domain, _RUNNING, "be reached into")
            return _returned(libvirt_qemu.qemuMonitorCommand(domain, line, 0), command)

        return await self._connection.command(work, "reach into", name, final=False)


def _returned(answer: str, command: str) -> Json:
    message = json.loads(answer)
    if "error" in message:
        raise HypervisorError(f"QEMU refused {command}: {message['error'].get('desc', 'no reason given')}.")
    returned: Json = message.get("return")
    return returned


def _parts(event: InputEvent) -> Sequence[Json]:
    """One event as QEMU's monitor takes it."""
    match event:
        case KeyMoved(key, down):
            return [_part("key", {"down": down, "key": {"type": "qcode", "data": key.qcode}})]
        case PointerMoved(right, down):
            return _axes("rel", x=right or None, y=down or None)
        case PointerPlaced(x, y):
            return _axes("abs", x=x, y=y)
        case ButtonMoved(button, down):
            return [_part("btn", {"down": down, "button": _BUTTONS[button]})]
        case WheelTurned(notches):
            way = "wheel-up" if notches > 0 else "wheel-down"
            return [_part("btn", {"down": down, "button": way}) for down in (True, False)] * abs(notches)


def _axes(kind: str, *, x: int | None, y: int | None) -> Sequence[Json]:
    return [
        _part(kind, {"axis": axis, "value": value})
        for axis, value in (("x", x), ("y", y))
        if value is not None
    ]


def _part(kind: str, data: Mapping[str, Json]) -> Json:
    return {"type": kind, "data": data}
