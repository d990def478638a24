"""Calls of virtual hard disks."""

from __future__ import annotations

from pydantic import BaseModel

from innkeeper.client.calls.call import Answer, Call, delete, get, post
from innkeeper.wire import disks as wire
from innkeeper.wire.messages import Accepted, Nothing

_EXPORTS = "/v1/disks/exports"


def ask(what: str, answer: type[Answer], **query: str) -> Call[Answer]:
    """A question about a disk, or about all of them."""
    return get(f"/v1/disks/{what}" if what else "/v1/disks", answer, **query)


def start(verb: str, request: BaseModel) -> Call[Accepted]:
    """Begin work on a disk, which a task carries out."""
    return post(f"/v1/disks/{verb}", Accepted, request)


def reparent(request: wire.ReparentRequest) -> Call[wire.HardDiskMessage]:
    """Set a disk's parent."""
    return post("/v1/disks/reparent", wire.HardDiskMessage, request)


def connect(request: wire.ConnectRequest) -> Call[wire.ConnectedMessage]:
    """Connect a machine to exports of its VHDs."""
    return post("/v1/disks/connect", wire.ConnectedMessage, request)


def export(request: wire.ExportRequest) -> Call[wire.ExportMessage]:
    """Offer a disk by NBD."""
    return post(_EXPORTS, wire.ExportMessage, request)


def end_export(path: str) -> Call[Nothing]:
    """Offer a disk no more."""
    return delete(_EXPORTS, path=path)
