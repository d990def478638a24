"""Files of a host that only its owner changes: each change passes the host's fence first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innkeeper.machines.ports.image_maker import ImageMaker
from innkeeper.machines.ports.progress import OnProgress
from innkeeper.machines.ports.state_files import StateFiles
from innkeeper.servers.fence import Fence, passed


class FencedImages:
    """An ``ImageMaker`` behind a fence."""

    def __init__(self, images: ImageMaker, fence: Fence) -> None:
        self._images = images
        self._fence = fence

    async def create(self, path: str, size_bytes: int) -> None:
        """Make an empty qcow2 image."""
        await passed(self._fence)
        await self._images.create(path, size_bytes)

    async def copy(
        self,
        source: str,
        source_format: str,
        path: str,
        size_bytes: int,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Make a qcow2 image with another's content."""
        await passed(self._fence)
        await self._images.copy(source, source_format, path, size_bytes, on_progress)

    async def overlay(self, path: str, base: str, base_format: str, size_bytes: int) -> None:
        """Make a qcow2 overlay over an image."""
        await passed(self._fence)
        await self._images.overlay(path, base, base_format, size_bytes)

    async def seed(self, path: str, files: Mapping[str, str]) -> None:
        """Make a small DVD image with these files."""
        await passed(self._fence)
        await self._images.seed(path, files)

    async def write(self, path: str, content: str) -> None:
        """Write a small text file."""
        await passed(self._fence)
        await self._images.write(path, content)

    async def read(self, path: str) -> str:
        """Read a small text file."""
        return await self._images.read(path)

    async def move(self, source: str, target: str) -> None:
        """Rename a file."""
        await passed(self._fence)
        await self._images.move(source, target)

    async def remove_directory(self, path: str) -> None:
        """Remove a directory where it is empty."""
        await passed(self._fence)
        await self._images.remove_directory(path)


class FencedStateFiles:
    """``StateFiles`` behind a fence."""

    def __init__(self, files: StateFiles, fence: Fence) -> None:
        self._files = files
        self._fence = fence

    async def find(self, machine: str, *, leave_tpm_out: bool = False) -> Sequence[str]:
        """Return the paths of a machine's state files."""
        return await self._files.find(machine, leave_tpm_out=leave_tpm_out)

    async def keep(self, path: str, copy: str) -> str:
        """Copy a state file; returns the digest of what was copied."""
        await passed(self._fence)
        return await self._files.keep(path, copy)

    async def put_back(self, copy: str, path: str) -> None:
        """Give a copy the place of a state file."""
        await passed(self._fence)
        await self._files.put_back(copy, path)

    async def write_note(self, path: str, text: str) -> None:
        """Write down what was kept."""
        await passed(self._fence)
        await self._files.write_note(path, text)

    async def read_note(self, path: str) -> str:
        """Read what was written down."""
        return await self._files.read_note(path)

    async def remove(self, path: str) -> None:
        """Remove a state file that a start has made."""
        await passed(self._fence)
        await self._files.remove(path)
