"""Read from qcow2 headers which overlays stand on a VHD by its export, with no export running."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from innkeeper.disks.look import opened_to_look
from innkeeper.errors import DiskError
from innkeeper.hypervisor.libvirt.disk_elements import EXPORTED, exported_file

_QCOW2 = struct.Struct(">4sIQI")
_MAGIC = b"QFI\xfb"
#: The format's own limit for the name of a backing file.
_LONGEST_NAME = 1023
#: More overlays over one another than anybody takes.
_DEEPEST = 64


def exported_base(overlay: str) -> str | None:
    """The VHD that an overlay stands on by its export; ``None`` for any other image."""
    return exported_by(backing_name(overlay))


def chain_to_export(path: str) -> list[tuple[str, str]] | None:
    """The overlays over an exported VHD, top first, and the VHD, each with its format."""
    chain: list[tuple[str, str]] = []
    while len(chain) < _DEEPEST:
        name = backing_name(path)
        if not name:
            return None
        chain.append((path, "qcow2"))
        if base := exported_by(name):
            return [*chain, (base, EXPORTED)]
        path = os.path.join(os.path.dirname(path), name.removeprefix("file:"))  # noqa: PTH118, PTH120 - as QEMU does
    return None


def backing_name(path: str) -> str:
    """The base that a qcow2 image names; empty where it has none, or cannot be read."""
    try:
        with opened_to_look(path) as image:
            head = image.read(_QCOW2.size)
            if len(head) < _QCOW2.size:
                return ""
            magic, _version, offset, length = _QCOW2.unpack(head)
            if magic != _MAGIC or not offset or length > _LONGEST_NAME:
                return ""
            image.seek(offset)
            return image.read(length).decode("utf-8", "surrogateescape")
    except (OSError, ValueError, OverflowError, DiskError):
        return ""


def exported_by(name: str) -> str | None:
    """The VHD behind the name of a backing file, which QEMU writes as JSON or as an address."""
    if name.startswith("json:"):
        return _by_json(name.removeprefix("json:")) or None
    if name.startswith("nbd"):
        return exported_file("nbd", unquote(urlsplit(name).path.removeprefix("/"))) or None
    return None


def _by_json(text: str) -> str:
    try:
        message = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(message, dict):
        return ""
    inner = message.get("file")
    driver: Mapping[str, object] = inner if isinstance(inner, dict) else message
    flat = {**message, **{f"file.{key}": value for key, value in driver.items()}}
    return exported_file(str(flat.get("file.driver", "")), str(flat.get("file.export", "")))
