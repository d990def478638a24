"""What all facts of an update run have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    JsonObject,
)


class Facts(Protocol):
    """What one phase found out."""

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal. Raises ``JsonError``."""
