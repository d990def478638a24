"""Refusals for making image files on another computer."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.errors import NotSupported
from innkeeper.machines.ports.progress import OnProgress


class FarImages:
    """The image files of a host that is not this computer (``machines.ports.image_maker.ImageMaker``)."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    async def create(self, path: str, size_bytes: int) -> None:
        """Refused."""
        raise self._refusal(path)

    async def copy(
        self,
        source: str,
        source_format: str,
        path: str,
        size_bytes: int,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Refused."""
        raise self._refusal(path)

    async def overlay(self, path: str, base: str, base_format: str, size_bytes: int) -> None:
        """Refused."""
        raise self._refusal(path)

    async def seed(self, path: str, files: Mapping[str, str]) -> None:
        """Refused."""
        raise self._refusal(path)

    async def write(self, path: str, content: str) -> None:
        """Refused."""
        raise self._refusal(path)

    async def read(self, path: str) -> str:
        """Refused."""
        raise self._refusal(path)

    async def move(self, source: str, target: str) -> None:
        """Refused."""
        raise self._refusal(source)

    async def remove_directory(self, path: str) -> None:
        """Nothing was made there."""

    def _refusal(self, path: str) -> NotSupported:
        return NotSupported(
            f"{path} would lie on the host at {self._uri}, and nothing can be made there from here.",
            advice="Run Innkeeper on that host.",
        )
