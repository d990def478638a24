"""Disk images where the host has them: chains, formats, deletion."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

import libvirt
from lxml import etree

from innkeeper.disks.base_names import named_bases, plain_base
from innkeeper.disks.file import ImageFile
from innkeeper.disks.formats import format_of
from innkeeper.disks.kind import Kind
from innkeeper.disks.named_files import NamedFiles, named_files
from innkeeper.errors import DiskError, ErrorCode
from innkeeper.hypervisor.domain.fields import Attribute, Element, Text
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.disk_elements import EXPORTED
from innkeeper.hypervisor.libvirt.export_bases import chain_to_export, exported_base
from innkeeper.hypervisor.libvirt.own_files import foreign, is_undo_disk_over
from innkeeper.hypervisor.libvirt.uris import HostUri

#: More images over one another than anybody has.
_DEEPEST = 256
#: libvirt's names for our kinds of image that have another; those of QEMU are called alike.
_LIBVIRT_NAMES = {"raw": "raw", "qcow2": "qcow2", "vhdx": "vhdx", "vmdk": "vmdk"}
#: In which libvirt finds the base, or knows that there is none.
_BASES_KNOWN_TO_LIBVIRT = {"raw", "iso", "qcow", "qcow2", "qed", "vmdk", "dir"}
_ZEROS = memoryview(bytes(1 << 20))
#: A pool that one look has made for the moment is not to end under another look.
_one_at_a_time = threading.Lock()


class Images:
    """The image files of one host: local ones directly, others through libvirt's storage pools."""

    def __init__(self, uri: HostUri) -> None:
        self._uri = uri

    def chain(self, connect: libvirt.virConnect, path: str) -> list[tuple[str, str]]:
        """The image and what it stands on, top first, each with its format."""
        declared = _declared_format(connect, path) if self._uri.is_local else None
        return self.chain_of(connect, path, declared)

    def chain_of(self, connect: libvirt.virConnect, path: str, declared: str | None) -> list[tuple[str, str]]:
        """The same of an image whose format is known from a definition."""
        if self._uri.is_local:
            if (known := chain_to_export(path)) is not None:
                return known
            try:
                if declared == EXPORTED:
                    # What a VHD stands on is the engine's to see to: it knows its parents by their identity.
                    return [(path, EXPORTED)]
                return _local_chain(path, declared)
            except DiskError as error:
                # An image that only libvirt may read, or one below it, is looked at by libvirt.
                if error.code is not ErrorCode.E_ACCESSDENIED:
                    raise
        return _chain_by_volume(connect, path)

    @property
    def is_local(self) -> bool:
        """Whether they lie on this computer."""
        return self._uri.is_local

    @property
    def has_pools(self) -> bool:
        """Whether its libvirt has storage pools: opening those of an embedded one would end the process."""
        return self._uri.root is None

    def undo_folder(self) -> Path | None:
        """The folder for undo disks of disks that lie in none; ``None`` where it is of another computer."""
        return self._uri.undo_directory if self._uri.is_local else None

    def volumes_over(self, connect: libvirt.virConnect, path: str) -> list[str]:
        """The images beside one of another computer that stand on it, as libvirt says there."""
        return _volumes_over(connect, path)

    def seen_by_libvirt(
        self, connect: libvirt.virConnect, folder: Path
    ) -> Mapping[str, Sequence[str] | None]:
        """The images of a folder, with what libvirt, which reads them as its own user, finds below each.

        ``None`` stands for what libvirt cannot tell. Raises ``libvirtError`` where it cannot look either.
        """
        return _seen_by_libvirt(connect, str(folder)) if self.has_pools else {}

    def pool_folders(self, connect: libvirt.virConnect) -> list[Path]:
        """The folders of the host's active pools; none where it has no pools, or is another computer."""
        return _pool_folders(connect) if self._uri.is_local and self._uri.root is None else []

    def base_format(self, connect: libvirt.virConnect, overlay: str, base: str) -> str | None:
        """The format of ``base`` as the overlay's own header records it, where it still can be read.

        The base itself is not looked at: often only libvirt may read it.
        """
        if base == exported_base(overlay):
            return EXPORTED
        try:
            is_ours = self._uri.is_local and os.access(overlay, os.R_OK)
            known = _recorded_base(overlay) if is_ours else _volume_base(connect, overlay)
        except (DiskError, _VolumeGone, libvirt.libvirtError):
            return None
        return known[1] or None if known[0] == base else None

    def delete(self, connect: libvirt.virConnect, path: str) -> None:
        """Delete an image. Does nothing where it is gone."""
        if self._uri.is_local:
            try:
                Path(path).unlink(missing_ok=True)
            except PermissionError:
                pass  # libvirt runs as another user: it has to do it
            else:
                return
        with contextlib.suppress(_VolumeGone), _volume(connect, path) as volume:
            volume.delete(0)

    def delete_undo_disk(self, connect: libvirt.virConnect, path: str, base: str) -> None:
        """Delete an undo disk over ``base``, whole or only begun. Raises ``DiskError`` for other files."""
        if self._uri.is_local and os.path.lexists(path):
            try:
                is_own = is_undo_disk_over(Path(path), base)
            except PermissionError:
                is_own = self.base_format(connect, path, base) is not None
            if not is_own:
                raise foreign(path, "an undo disk")
        elif not self._uri.is_local and (found := self.remote_file(connect, path)) is not None:
            is_own = not found.size_bytes or self.base_format(connect, path, base) is not None
            if not is_own:
                raise foreign(path, "an undo disk")
        self.delete(connect, path)

    def refuse_if_open(self, path: str) -> None:
        """Raise where a QEMU has this image open. Only a local file can be looked at."""
        if not self._uri.is_local or not Path(path).exists():
            return
        if _is_held(Path(path)):
            raise DiskError(
                f"The image {path} is in use, although no definition names it.",
                path=path,
                code=ErrorCode.ERROR_SHARING_VIOLATION,
                advice="Find the program that has it open; it may hold changes that are not in the base.",
            )

    def free_bytes(self, connect: libvirt.virConnect, directory: str) -> int:
        """Room left in a directory of the host."""
        if self._uri.is_local:
            try:
                return shutil.disk_usage(directory).free
            except OSError as error:
                raise DiskError(
                    f"The room in {directory} cannot be seen: {error.strerror}.",
                    path=directory,
                    code=ErrorCode.ERROR_PATH_NOT_FOUND,
                    advice="Make the folder, or name another one.",
                ) from error
        with _pool(connect, directory) as pool:
            return int(pool.info()[3])

    def remote_file(self, connect: libvirt.virConnect, path: str) -> RemoteFile | None:
        """What libvirt says of a file of another computer; ``None`` where there is none."""
        try:
            with _volume(connect, path) as volume:
                kind, capacity, _ = volume.info()
                described = VolumeElement(etree.fromstring(volume.XMLDesc(0).encode()))
        except (_VolumeGone, _FolderGone):
            return None
        return RemoteFile(
            kind=int(kind),
            format=described.format,
            capacity_bytes=int(capacity),
            size_bytes=int(described.physical_bytes or capacity),
            mtime_ns=_nanoseconds(described.modified_at),
        )

    def has_folder(self, connect: libvirt.virConnect, directory: str) -> bool:
        """Whether libvirt finds a folder of another computer."""
        try:
            with _pool(connect, directory):
                return True
        except _FolderGone:
            return False

    def download(
        self, connect: libvirt.virConnect, path: str, take: Callable[[bytes | memoryview], None]
    ) -> None:
        """Read a file of another computer from its beginning to its end, holes as zeros."""
        with _volume(connect, path) as volume:
            stream = connect.newStream(0)
            volume.download(stream, 0, 0, libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
            try:
                stream.sparseRecvAll(
                    lambda _stream, data, _opaque: _taken(take, data),
                    lambda _stream, length, _opaque: _take_zeros(take, length),
                    None,
                )
            except BaseException:
                stream.abort()
                raise
            stream.finish()

    def find(self, connect: libvirt.virConnect, directory: str, part: str) -> list[str]:
        """The paths of a directory's images with ``part`` in their names, as libvirt sees them."""
        with _pool(connect, directory) as pool:
            paths = [str(volume.path()) for volume in pool.listAllVolumes(0)]
        return sorted(path for path in paths if part in PurePosixPath(path).name)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """A file of another computer, as libvirt describes it."""

    #: ``VIR_STORAGE_VOL_FILE``, ``_BLOCK`` or ``_DIR``.
    kind: int
    #: libvirt's name for the format, by the file's header.
    format: str
    #: What a guest sees of it.
    capacity_bytes: int
    size_bytes: int
    mtime_ns: int


class _VolumeGone(Exception):
    """The host has no such file."""


class _FolderGone(_VolumeGone):
    """The host has no such folder."""


def _nanoseconds(text: str) -> int:
    """Seconds since 1970 with a fraction, as libvirt writes them."""
    seconds, _, fraction = text.partition(".")
    return int(seconds or 0) * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)


def _taken(take: Callable[[bytes | memoryview], None], data: bytes) -> int:
    take(data)
    return len(data)


def _take_zeros(take: Callable[[bytes | memoryview], None], length: int) -> None:
    for start in range(0, length, len(_ZEROS)):
        take(_ZEROS[: min(len(_ZEROS), length - start)])


def _declared_format(connect: libvirt.virConnect, path: str) -> str | None:
    """The image's format by the definitions: a guess lets a guest pass its raw disk off as qcow2."""
    for domain in connect.listAllDomains():
        for disk in Definition.parse(domain.XMLDesc(0)).disks():
            if disk.file == path:
                return disk.format
    return None


def _local_chain(path: str, declared: str | None) -> list[tuple[str, str]]:
    """The image and what it stands on, as the definitions and the images' own headers say it.

    No image is opened by guess, and none by a name that is no path.
    """
    chain: list[tuple[str, str]] = []
    image_format = declared
    while len(chain) < _DEEPEST:
        if Path(path).is_block_device():
            # Nobody but its machine's QEMU reads what a guest writes there.
            return [*chain, (path, image_format or "raw")]
        with _readable(path), ImageFile.open(Path(path), held=False) as file:
            image_format = image_format or _LIBVIRT_NAMES.get(format_of(file).value, "vpc")
            chain.append((path, image_format))
            named = named_files(file, Kind.QCOW2) if image_format == "qcow2" else NamedFiles()
        if not named.backing:
            return chain
        base = plain_base(path, named.backing, named.backing_format)
        path, image_format = base.source, base.format or None
        if not path.startswith("/"):
            return [*chain, (path, image_format or "raw")]
    return chain


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except DiskError as error:
        code = error.code
        if code not in {ErrorCode.ERROR_FILE_NOT_FOUND, ErrorCode.E_ACCESSDENIED}:
            code = ErrorCode.VM_E_HD_IMAGE_OPEN_FAIL
        raise DiskError(
            f"The image {path} cannot be read: {error.sentence.rstrip('.')}.",
            path=path,
            code=code,
            advice=error.advice,
        ) from error


def _is_held(path: Path) -> bool:
    """Whether a program has the image open, as QEMU tells it."""
    try:
        ImageFile.open(path).close()
    except DiskError as error:
        return error.code is ErrorCode.ERROR_SHARING_VIOLATION
    return False


def _pool_folders(connect: libvirt.virConnect) -> list[Path]:
    """The folders of active pools; none where this libvirt has no pools."""
    try:
        pools = connect.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        paths = [PoolElement(etree.fromstring(pool.XMLDesc(0).encode())).path for pool in pools]
    except libvirt.libvirtError:
        return []
    return [Path(path) for path in paths if path and not path.startswith("/dev")]


def network_pool_of(connect: libvirt.virConnect, path: str) -> str:
    """The server and folder of the active pool that a file lies in, where the host mounts it by network."""
    for pool in connect.listAllStoragePools(
        libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE | libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_NETFS
    ):
        if found := network_storage_of(PoolElement(etree.fromstring(pool.XMLDesc(0).encode())), path):
            return found
    return ""


def network_storage_of(pool: PoolElement, path: str) -> str:
    """The same of one pool."""
    inside = bool(pool.path) and PurePosixPath(path).is_relative_to(pool.path)
    return f"{pool.source_format} {pool.source_host}:{pool.source_folder}" if inside else ""


def _volumes_over(connect: libvirt.virConnect, path: str) -> list[str]:
    with _pool(connect, str(PurePosixPath(path).parent)) as pool:
        volumes = [(volume.path(), volume.XMLDesc(0)) for volume in pool.listAllVolumes(0)]
    return sorted(
        str(image)
        for image, text in volumes
        if path in _volume_bases(str(image), VolumeElement(etree.fromstring(text.encode())))
    )


def _volume_bases(image: str, volume: VolumeElement) -> list[str]:
    return [base.source for base in named_bases(image, volume.backing_path)]


def _seen_by_libvirt(connect: libvirt.virConnect, folder: str) -> dict[str, list[str] | None]:
    with _pool(connect, folder) as pool:
        volumes = [
            (str(volume.path()), VolumeElement(etree.fromstring(volume.XMLDesc(0).encode())))
            for volume in pool.listAllVolumes(0)
        ]
    return {
        path: _volume_bases(path, volume) if volume.format in _BASES_KNOWN_TO_LIBVIRT else None
        for path, volume in volumes
    }


def _recorded_base(overlay: str) -> tuple[str, str]:
    """The base in an overlay's header: path and format."""
    with _readable(overlay), ImageFile.open(Path(overlay), held=False) as file:
        named = named_files(file, Kind.QCOW2)
    if not named.backing:
        return "", named.backing_format
    base = plain_base(overlay, named.backing, named.backing_format)
    return base.source, base.format


def _volume_base(connect: libvirt.virConnect, overlay: str) -> tuple[str, str]:
    with _volume(connect, overlay) as volume:
        description = VolumeElement(etree.fromstring(volume.XMLDesc(0).encode()))
    return description.backing_path, description.backing_format


def _chain_by_volume(connect: libvirt.virConnect, path: str) -> list[tuple[str, str]]:
    chain: list[tuple[str, str]] = []
    while path and path not in (known for known, _ in chain):
        try:
            with _volume(connect, path) as volume:
                description = VolumeElement(etree.fromstring(volume.XMLDesc(0).encode()))
        except _VolumeGone:
            raise DiskError(
                f"The host has no image {path}.", path=path, code=ErrorCode.ERROR_FILE_NOT_FOUND
            ) from None
        chain.append((path, description.format))
        path = description.backing_path
    return chain


class VolumeElement(Element):
    """``<volume>``: one image in a storage pool."""

    format = Attribute("target/format", "type", "raw")
    physical_bytes = Text("physical")
    modified_at = Text("target/timestamps/mtime")
    backing_path = Text("backingStore/path")
    backing_format = Attribute("backingStore/format", "type", "")


class PoolElement(Element):
    """``<pool>``: a directory of images."""

    path = Text("target/path")
    #: Of one that is mounted by network.
    source_format = Attribute("source/format", "type", "nfs")
    source_host = Attribute("source/host", "name", "")
    source_folder = Attribute("source/dir", "path", "")


@contextlib.contextmanager
def _volume(connect: libvirt.virConnect, path: str) -> Iterator[libvirt.virStorageVol]:
    """The volume of a file, through the pool of its directory. Raises ``_VolumeGone``."""
    with _pool(connect, str(PurePosixPath(path).parent)):
        try:
            volume = connect.storageVolLookupByPath(path)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise _VolumeGone from error
            raise
        yield volume


@contextlib.contextmanager
def _pool(connect: libvirt.virConnect, directory: str) -> Iterator[libvirt.virStoragePool]:
    """The pool of a directory, freshly looked at; one that was made for the moment goes again."""
    with _one_at_a_time:
        yield from _pool_for_the_moment(connect, directory)


def _pool_for_the_moment(connect: libvirt.virConnect, directory: str) -> Iterator[libvirt.virStoragePool]:
    pool = _pool_of(connect, directory)
    if pool is not None:
        pool.refresh(0)
        yield pool
        return
    try:
        pool = connect.storagePoolCreateXML(
            f"<pool type='dir'><name>innkeeper-{uuid.uuid4()}</name>"
            f"<target><path>{escape(directory)}</path></target></pool>",
            0,
        )
    except libvirt.libvirtError as error:
        if error.get_int1() == errno.ENOENT:
            raise _FolderGone from error
        raise
    try:
        pool.refresh(0)
        yield pool
    finally:
        # Ends the pool, not the files in it.
        pool.destroy()


def _pool_of(connect: libvirt.virConnect, directory: str) -> libvirt.virStoragePool | None:
    for pool in connect.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        description = PoolElement(etree.fromstring(pool.XMLDesc(0).encode()))
        if PurePosixPath(description.path) == PurePosixPath(directory):
            return pool
    return None
