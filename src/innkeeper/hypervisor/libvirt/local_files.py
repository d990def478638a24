"""Image files of this computer, read by libvirt where only libvirt may."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.errors import DiskError, ErrorCode
from innkeeper.hypervisor.files import LocalFiles
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.images import Images


class NearFiles(LocalFiles):
    """This computer's files, of which some may be out of the service's own reach."""

    def __init__(self, connection: Connection, images: Images, *, is_qemus_user: bool = True) -> None:
        self.is_qemus_user = is_qemus_user
        self._connection = connection
        self._images = images

    async def find(self, directory: str, part: str) -> Sequence[str]:
        """The paths of the directory's files with ``part`` in their names, sorted."""
        try:
            return await super().find(directory, part)
        except DiskError as error:
            if error.code is not ErrorCode.E_ACCESSDENIED:
                raise
        return await self._connection.ask(
            lambda connect: self._images.find(connect, directory, part), f"list the images in {directory}"
        )
