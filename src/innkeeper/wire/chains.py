"""Describe what a machine's disks stand on, between a client and the service."""

from __future__ import annotations

from innkeeper.wire.messages import Message


class BackingMessage(Message):
    """One image of a chain."""

    path: str
    #: The run whose undo disk it is; nothing where it is none.
    undo_run: int | None


class DiskChainMessage(Message):
    """One disk of a machine: the image that takes the writes first, then what it stands on."""

    target: str
    images: tuple[BackingMessage, ...]


class DiskChainList(Message):
    """What the disks of a machine stand on."""

    disks: tuple[DiskChainMessage, ...]
