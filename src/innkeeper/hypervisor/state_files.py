"""Copy the small state files of machines on this computer, and put them back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from innkeeper.disks.look import opened_to_look
from innkeeper.disks.oserror import adapted, disk_error
from innkeeper.disks.paths import sync_folder
from innkeeper.errors import DiskError, ErrorCode

T = TypeVar("T")

#: What a software TPM keeps its state in, by its version; swtpm's own names.
TPM_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "2.0": ("tpm2/tpm2-00.permall", "tpm2/tpm2-00.volatilestate"),
    "1.2": ("tpm1.2/tpm-00.permall", "tpm1.2/tpm-00.volatilestate", "tpm1.2/tpm-00.savestate"),
}
#: The folders that libvirt makes for a TPM, and takes as the sign that one has been manufactured.
_TPM_FOLDERS = frozenset({"tpm2", "tpm1.2"})
#: swtpm's lock, which it leaves behind.
_LOCK = ".lock"
#: State files are small: what is longer is something else.
_LONGEST_BYTES = 64 << 20


class LocalStateFiles:
    """The state files of this computer's machines; blocking calls run in threads."""

    async def keep(self, path: str, copy: str) -> str:
        """Copy a state file durably; returns its digest, or an empty text where it is not there."""
        return await self._run(lambda: _keep(Path(path), Path(copy)))

    async def put_back(self, copy: str, path: str) -> None:
        """Give a copy the place of a state file, whole or not at all."""
        await self._run(lambda: _put_back(Path(copy), Path(os.path.realpath(path))))

    async def write_note(self, path: str, text: str) -> None:
        """Write down, durably, what was kept."""
        await self._run(lambda: _write_note(Path(path), text))

    async def read_note(self, path: str) -> str:
        """What was written down; empty where nothing was."""
        return await self._run(lambda: _read_note(Path(path)))

    async def remove(self, path: str) -> None:
        """Remove a state file, and the folders that a start made for it alone."""
        await self._run(lambda: _remove(Path(path)))

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.to_thread(call)


def unreachable(paths: Iterable[str]) -> str:
    """The first of these files or their folders that cannot be copied, replaced and removed; or empty."""
    return next((where for path in paths if (where := _obstacle(Path(path)))), "")


def _obstacle(path: Path) -> str:
    try:
        found = path.stat() if path.exists() else None
        folder = next(each for each in path.parents if each.exists())
    except PermissionError:
        return str(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        return str(folder)
    # A copy that belongs to somebody else than the file would be closed to who runs QEMU.
    is_ours = found is None or (os.geteuid() in (0, found.st_uid) and os.access(path, os.R_OK))
    return "" if is_ours else str(path)


def _keep(path: Path, copy: Path) -> str:
    with adapted(path):
        try:
            with opened_to_look(path) as file:
                found, content = os.fstat(file.fileno()), file.read(_LONGEST_BYTES + 1)
        except FileNotFoundError:
            return ""
    if len(content) > _LONGEST_BYTES:
        raise DiskError(
            f"{path} is longer than any file of UEFI variables or of a TPM.",
            path=str(path),
            code=ErrorCode.ERROR_INVALID_DATA,
            advice="See what the machine's definition names there.",
        )
    try:
        _write(copy, content, found)
    except OSError as exc:
        # Half a copy only takes room.
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)
        known = disk_error(exc, copy)
        raise DiskError(
            f"{path} could not be copied for the undo point. {known.sentence}",
            path=str(path),
            code=known.code,
            advice=known.advice,
        ) from exc
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _write(copy: Path, content: bytes, like: os.stat_result) -> None:
    # What is there may be a link to the state file itself, from a roll back that was cut short.
    copy.unlink(missing_ok=True)
    with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        own = os.fstat(file.fileno())
        if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
            os.fchown(file.fileno(), like.st_uid, like.st_gid)
        os.fchmod(file.fileno(), like.st_mode & 0o777)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(copy.parent)


def _write_note(path: Path, text: str) -> None:
    with adapted(path):
        with path.open("w") as note:
            note.write(text)
            note.flush()
            os.fsync(note.fileno())
        sync_folder(path.parent)


def _read_note(path: Path) -> str:
    with adapted(path):
        if not path.exists():
            return ""
        if not path.is_file():
            return "no file"
        # A note is small, and whatever else has its name is not to be read whole.
        with path.open("rb") as note:
            return note.read(_LONGEST_BYTES).decode(errors="replace")


def _put_back(copy: Path, path: Path) -> None:
    with adapted(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if path.samefile(copy):
                return
            _look_like(copy, path)
        # Known by its name as a file of the undo point, for what clears away after a kill.
        place = path.with_name(f"{path.name}.back{copy.name.removeprefix(path.name)}")
        place.unlink(missing_ok=True)
        _link_or_copy(copy, place)
        place.replace(path)
        sync_folder(path.parent)


def _look_like(copy: Path, path: Path) -> None:
    """Give a copy owner, mode and labels of what it replaces: libvirt changes them at each start and end."""
    now, own = path.stat(), copy.stat()
    if (own.st_uid, own.st_gid) != (now.st_uid, now.st_gid):
        os.chown(copy, now.st_uid, now.st_gid)
    copy.chmod(now.st_mode & 0o777)
    for name in os.listxattr(path):
        # A label that only another may set is set by libvirt at the next start.
        with contextlib.suppress(OSError):
            os.setxattr(copy, name, os.getxattr(path, name))


def _link_or_copy(copy: Path, place: Path) -> None:
    """A second name needs no room: an update that has filled the file system can be undone all the same."""
    try:
        os.link(copy, place)
    except OSError:
        # Not every file system has links.
        shutil.copy2(copy, place)
        own = copy.stat()
        os.chown(place, own.st_uid, own.st_gid)
        with place.open("rb+") as file:
            os.fsync(file.fileno())


def _remove(path: Path) -> None:
    with adapted(path):
        path.unlink(missing_ok=True)
        folder = path.parent
        if (
            folder.name in _TPM_FOLDERS
            and folder.is_dir()
            and {each.name for each in folder.iterdir()} <= {_LOCK}
        ):
            # Left empty, it would pass for a TPM: the next start would not manufacture one.
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
        if folder.is_dir():
            sync_folder(folder)
