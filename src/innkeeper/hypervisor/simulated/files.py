"""Image files of a simulated host."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from innkeeper.hypervisor.files import LocalFiles
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.machines import format_of
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.ports.image_files import Hindrance

T = TypeVar("T")


class FakeFiles(LocalFiles):
    """The simulated disks' files: their overlays have a format of their own."""

    def __init__(self, simulation: Simulation, *, computer: str, threads: bool) -> None:
        self._simulation = simulation
        self.computer = computer
        self._threads = threads

    async def image_hindrance(
        self, path: str, image_format: str, *, is_device: bool, is_idle: bool
    ) -> Hindrance | None:
        """As of any file, but for the header: simulated overlays have their own. Devices are made up."""
        if is_device:
            return None
        return await super().image_hindrance(path, "raw", is_device=False, is_idle=is_idle)

    async def virtual_size(self, path: str, image_format: str) -> int:
        """The size that every simulated disk has."""
        return fake_disks.DISK_BYTES

    async def format(self, path: str) -> str:
        """The format; overlays call themselves qcow2, and images from elsewhere are looked at."""
        simulated = await self._blocking(path, lambda: fake_disks.is_simulated(path))
        return (
            await self._blocking(path, lambda: format_of(path)) if simulated else await super().format(path)
        )

    async def _blocking(self, path: str, call: Callable[[], T]) -> T:
        def touched() -> T:
            self._simulation.touch_disk(path)
            return call()

        return await super()._blocking(path, touched)

    async def _run(self, call: Callable[[], T]) -> T:
        return await super()._run(call) if self._threads else call()
