"""Refusals for the image files of another computer, which cannot be read from here."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.errors import NotSupported
from innkeeper.machines.ports.image_files import FileIdentity, Hindrance
from innkeeper.machines.ports.progress import OnProgress


class FarFiles:
    """The image files of a host that is not this computer (``machines.ports.image_files.ImageFiles``)."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    async def identity(self, path: str) -> FileIdentity | None:
        """Refused."""
        raise self._refusal(path)

    async def image_hindrance(
        self, path: str, image_format: str, *, is_device: bool, is_idle: bool
    ) -> Hindrance | None:
        """Refused."""
        raise self._refusal(path)

    async def folder_hindrance(self, directory: str, name: str) -> Hindrance | None:
        """Refused."""
        raise self._refusal(directory)

    async def virtual_size(self, path: str, image_format: str) -> int:
        """Refused."""
        raise self._refusal(path)

    async def checksum(self, path: str, on_progress: OnProgress | None = None) -> str:
        """Refused."""
        raise self._refusal(path)

    async def find(self, directory: str, part: str) -> Sequence[str]:
        """Refused."""
        raise self._refusal(directory)

    async def format(self, path: str) -> str:
        """Refused."""
        raise self._refusal(path)

    async def outside(
        self, path: str, image_format: str, folders: Sequence[str], known: Sequence[str] = ()
    ) -> str:
        """Refused."""
        raise self._refusal(path)

    async def is_qcow2_named_as_raw(self, path: str) -> bool:
        """Refused."""
        raise self._refusal(path)

    def _refusal(self, path: str) -> NotSupported:
        return NotSupported(
            f"{path} lies on the host at {self._uri}, and cannot be looked at from here.",
            advice="Run Innkeeper on that host.",
        )
