"""Describe a machine that is to be created."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Final

from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    as_object,
    get_bool,
    get_enum,
    get_int,
    get_optional,
    get_str,
    get_strs,
    refuse_newer,
)

#: The version of its JSON. See docs/decisions/0043-journals-are-versioned.md before it changes.
_VERSION: Final = 1


class Source(enum.StrEnum):
    """Where the first disk of a new machine comes from."""

    #: A disk of its own, empty.
    EMPTY = "empty"
    #: A copy of an image, which stands alone.
    COPY = "copy"
    #: An overlay over an image, which must stay as it is.
    OVERLAY = "overlay"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FirstBoot:
    """Settings that a cloud image gets at its first boot."""

    hostname: str = ""
    user: str = ""
    ssh_keys: tuple[str, ...] = ()
    #: Install Innkeeper's task agent.
    agent: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewMachine:
    """One machine that is to be created."""

    name: str
    memory_mib: int = 1024
    vcpus: int = 1
    source: Source = Source.EMPTY
    #: The image that the first disk comes from.
    image: str = ""
    image_format: str = ""
    #: The first disk, and its size; 0 for no disk where it is empty, and for the image's own where it is not.
    disk_path: str = ""
    disk_bytes: int = 0
    uefi: bool = False
    network: str = "user"
    notes: str = ""
    labels: tuple[str, ...] = ()
    #: ``None``: no seed.
    first_boot: FirstBoot | None = None
    #: Where the seed lies.
    seed_path: str = ""
    #: A DVD image to boot from, such as an installer.
    dvd: str = ""

    def to_json(self) -> Json:
        """For the journal."""
        plain: Mapping[str, Json] = {
            "version": _VERSION,
            **dataclasses.asdict(self),
            "source": str(self.source),
            "labels": list(self.labels),
            "first_boot": None
            if self.first_boot is None
            else {**dataclasses.asdict(self.first_boot), "ssh_keys": list(self.first_boot.ssh_keys)},
        }
        return plain

    @classmethod
    def from_json(cls, data: Json) -> NewMachine:
        """From the journal. Raises ``JsonError``."""
        fields = as_object(data)
        refuse_newer(fields, _VERSION)
        return cls(
            name=get_str(fields, "name"),
            memory_mib=get_int(fields, "memory_mib"),
            vcpus=get_int(fields, "vcpus"),
            source=get_enum(fields, "source", Source),
            image=get_str(fields, "image"),
            image_format=get_str(fields, "image_format"),
            disk_path=get_str(fields, "disk_path"),
            disk_bytes=get_int(fields, "disk_bytes"),
            uefi=get_bool(fields, "uefi"),
            network=get_str(fields, "network"),
            notes=get_str(fields, "notes"),
            labels=get_strs(fields, "labels"),
            first_boot=get_optional(fields, "first_boot", _first_boot),
            seed_path=get_str(fields, "seed_path"),
            dvd=get_str(fields, "dvd"),
        )


def _first_boot(data: Json) -> FirstBoot:
    fields = as_object(data)
    return FirstBoot(
        hostname=get_str(fields, "hostname"),
        user=get_str(fields, "user"),
        ssh_keys=get_strs(fields, "ssh_keys"),
        agent=get_bool(fields, "agent"),
    )
