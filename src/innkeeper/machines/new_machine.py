"""Describe a machine that is to be created."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import cast

from innkeeper.wire.events import Json


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
    """What a cloud image is told at its first boot."""

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
        """From the journal."""
        fields = dict(cast("Mapping[str, Json]", data))
        first_boot = cast("Mapping[str, Json] | None", fields.pop("first_boot"))
        labels = cast("list[str]", fields.pop("labels"))
        source = Source(str(fields.pop("source")))
        told = None
        if first_boot is not None:
            keys = cast("list[str]", first_boot["ssh_keys"])
            told = FirstBoot(
                hostname=str(first_boot["hostname"]),
                user=str(first_boot["user"]),
                ssh_keys=tuple(keys),
                agent=bool(first_boot["agent"]),
            )
        return cls(**fields, source=source, labels=tuple(labels), first_boot=told)  # type: ignore[arg-type]  # as written
