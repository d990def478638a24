"""Fresh connections for a QEMU whose export was killed.

Newer libvirts have QEMU connect again by itself (``<reconnect/>``, since 9.5). An older one leaves a QEMU
that has lost its export with a dead node for good, and the machine, told to do so, stopped at the first
request that failed. Here the node is replaced below the disk; the machine then goes on with that request.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import libvirt
import libvirt_qemu

from innkeeper.disks.export_files import MARK

#: libvirt names the node of a file and the one that reads its format alike.
_STORAGE, _FORMAT = "-storage", "-format"
#: How long the new node itself waits for an export that is killed again.
_RECONNECT_SECONDS = 60
_OURS = "innkeeper-"


def reconnect(domain: libvirt.virDomain, paths: Collection[str]) -> int:
    """Replace the nodes that were connected to the exports of these images; returns how many."""
    nodes = _ask(domain, "query-named-block-nodes", flat=True)
    by_name = {node["node-name"]: node for node in nodes}
    replaced = 0
    for storage, server in _lost(nodes, paths):
        reader = by_name.get(storage.removesuffix(_STORAGE) + _FORMAT)
        if reader is None:
            continue
        fresh = next(
            name for number in range(len(nodes) + 1) if (name := f"{_OURS}{storage}-{number}") not in by_name
        )
        _ask(
            domain,
            "blockdev-add",
            **server,
            **{
                "node-name": fresh,
                "reconnect-delay": _RECONNECT_SECONDS,
                "auto-read-only": True,
                "discard": "unmap",
            },
        )
        options = {
            "driver": "raw", "node-name": reader["node-name"], "file": fresh, "read-only": reader["ro"],
        }  # fmt: skip
        _ask(domain, "blockdev-reopen", options=[options])
        for name in by_name:
            if name.startswith(f"{_OURS}{storage}-"):
                with contextlib.suppress(libvirt.libvirtError):
                    _ask(domain, "blockdev-del", **{"node-name": name})
        replaced += 1
    return replaced


def _lost(
    nodes: Collection[Mapping[str, Any]], paths: Collection[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """libvirt's nodes of these exports, each with what connects it."""
    exports = {f"{MARK}{path}" for path in paths}
    for node in nodes:
        name = str(node["node-name"])
        if node["drv"] == "nbd" and name.endswith(_STORAGE) and not name.startswith(_OURS):
            message = _options(str(node["file"]))
            if message.get("export") in exports:
                server = {
                    key.removeprefix("server."): value
                    for key, value in message.items()
                    if key.startswith("server.")
                }
                server = server or dict(message.get("server", {}))
                yield name, {"driver": "nbd", "export": message["export"], "server": server}


def _options(filename: str) -> dict[str, Any]:
    """The connection in a node's file name; QEMU writes it as JSON where an address cannot."""
    if filename.startswith("json:"):
        return dict(json.loads(filename.removeprefix("json:")))
    return _by_address(filename)


def _by_address(filename: str) -> dict[str, Any]:
    parts = urlsplit(filename)
    sockets = parse_qs(parts.query).get("socket", [])
    if not sockets:
        return {}
    return {
        "export": unquote(parts.path.removeprefix("/")),
        "server": {"type": "unix", "path": sockets[0]},
    }


def _ask(domain: libvirt.virDomain, command: str, **arguments: Any) -> Any:
    """Send one command to the machine's QEMU."""
    words = json.dumps({"execute": command, "arguments": arguments})
    message = json.loads(libvirt_qemu.qemuMonitorCommand(domain, words, 0))
    if "error" in message:
        raise libvirt.libvirtError(f"QEMU refused {command}: {message['error'].get('desc', '')}")
    return message["return"]
