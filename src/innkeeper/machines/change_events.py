"""Say of a change of a machine what others are told of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from innkeeper.machines.change import Change, MediumChanged, ValueSet
from innkeeper.wire.events import EventKind, Json
from innkeeper.wire.virtual_pc import Attachment


def change_event(change: Change) -> tuple[EventKind, Mapping[str, Json]]:
    """The kind of the event, and its data."""
    if isinstance(change, MediumChanged):
        inserted = change.attachment is not Attachment.NONE
        kind = EventKind.MACHINE_MEDIUM_INSERTED if inserted else EventKind.MACHINE_MEDIUM_EJECTED
        return kind, {**medium(change.target), "media_path": change.path}
    if isinstance(change, ValueSet):
        value = change.value if isinstance(change.value, str | int | bool) else None
        return EventKind.MACHINE_CONFIGURATION_CHANGED, {"config_key": change.key, "config_data": value}
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(change).__name__).lower()
    return EventKind.MACHINE_CONFIGURATION_CHANGED, {"config_key": words, "config_data": None}


def medium(target: str) -> Mapping[str, Json]:
    """Which drive of a machine an event is about: a floppy's name begins with ``fd``."""
    return {"drive": target, "device": "floppy" if target.startswith("fd") else "dvd"}
