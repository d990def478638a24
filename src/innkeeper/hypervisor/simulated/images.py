"""Make the image files of simulated machines: small real files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from innkeeper.hypervisor.image_maker import LocalImages
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.machines.ports.progress import OnProgress
from innkeeper.tasks.ports import Clock

#: How long the copy of an image takes, in simulated seconds, and in how many pieces it is made.
COPY_SECONDS = 2.0
_PIECES = 8


class FakeImages(LocalImages):
    """The image files of a simulated host (``machines.ports.image_maker.ImageMaker``)."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    async def create(self, path: str, size_bytes: int) -> None:
        """A simulated disk; all have the same size."""
        fake_disks.create_base(path)

    async def copy(
        self,
        source: str,
        source_format: str,
        path: str,
        size_bytes: int,
        on_progress: OnProgress | None = None,
    ) -> None:
        """A simulated disk with what a guest sees of another."""
        for piece in range(_PIECES):
            await self._clock.sleep(COPY_SECONDS / _PIECES)
            if on_progress is not None:
                on_progress((piece + 1) * size_bytes // _PIECES, size_bytes)
        content = fake_disks.read(source)[: fake_disks.DISK_BYTES]
        fake_disks.create_base(path, content)

    async def overlay(self, path: str, base: str, base_format: str, size_bytes: int) -> None:
        """A simulated overlay."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        fake_disks.create_overlay(path, base)

    async def seed(self, path: str, files: Mapping[str, str]) -> None:
        """The files, one after the other: no simulated guest reads them."""
        await self.write(path, "".join(f"== {name}\n{content}" for name, content in files.items()))
