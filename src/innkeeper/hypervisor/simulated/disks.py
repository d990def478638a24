"""Disks of simulated machines: real files, tiny, with overlays that can be merged."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from pathlib import Path

from innkeeper.errors import DiskError, ErrorCode

#: What a simulated disk holds. A base is a plain file of this size.
DISK_BYTES = 32 * 1024
BLOCK_BYTES = 512
BLOCK_COUNT = DISK_BYTES // BLOCK_BYTES
_MAGIC = b'{"innkeeper-fake-overlay":'


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Overlay:
    """An overlay file: what it stands on, and the blocks written since."""

    backing: str
    blocks: dict[int, bytes]


def create_base(path: str, content: bytes = b"") -> None:
    """Make a base image, unless there is one."""
    if Path(path).exists():
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("wb") as image:
        image.write(content)
        image.truncate(DISK_BYTES)


def create_overlay(path: str, backing: str, *, anew: bool = False) -> None:
    """Make an empty overlay over ``backing``, unless there is one over it already."""
    overlay = _overlay(path) if Path(path).exists() and not anew else None
    if overlay is None:
        _write_overlay(path, _Overlay(backing=backing, blocks={}))
    elif overlay.backing != backing:
        raise DiskError(
            f"{path} exists, and stands on {overlay.backing}.", path=path, code=ErrorCode.ERROR_ALREADY_EXISTS
        )


def is_overlay(path: str) -> bool:
    """Whether there is an overlay at this path."""
    return Path(path).exists() and _overlay(path) is not None


def is_simulated(path: str) -> bool:
    """Whether the file is a simulated disk by its size, an overlay over one, or is still to be made."""
    return not Path(path).exists() or Path(path).stat().st_size == DISK_BYTES or is_overlay(path)


def chain(path: str) -> list[str]:
    """The image and what it stands on, top first."""
    paths = [path]
    while backing := _backing(paths[-1]):
        paths.append(backing)
    return paths


def chain_if_any(path: str) -> list[str]:
    """The same; nothing where an image is gone or cannot be read."""
    try:
        return chain(path)
    except (DiskError, OSError, ValueError):
        return []


def read(path: str) -> bytes:
    """The disk's content as the guest sees it."""
    return _seen(_image(path))


def write(path: str, content: bytes) -> None:
    """Write the whole disk as a guest does: only blocks that change reach the image."""
    padded = content.ljust(DISK_BYTES, b"\0")
    if len(padded) > DISK_BYTES:
        raise DiskError(f"{path} is full.", path=path, code=ErrorCode.ERROR_DISK_FULL)
    image = _image(path)
    before = _seen(image)
    changed = {
        offset // BLOCK_BYTES: padded[offset : offset + BLOCK_BYTES]
        for offset in range(0, DISK_BYTES, BLOCK_BYTES)
        if padded[offset : offset + BLOCK_BYTES] != before[offset : offset + BLOCK_BYTES]
    }
    _write_blocks(path, image, changed)


def _seen(image: _Overlay | bytes) -> bytes:
    if isinstance(image, bytes):
        return image
    seen = bytearray(read(image.backing))
    for number, block in image.blocks.items():
        seen[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES] = block
    return bytes(seen)


def merge_blocks(path: str, base: str, first: int, last: int) -> None:
    """Write the overlay's blocks with these numbers into its base; may be done again."""
    overlay = _overlay(path)
    if overlay is None or overlay.backing != base:
        raise DiskError(
            f"{path} is not an overlay over {base}.", path=path, code=ErrorCode.VM_E_INVALID_HD_FILE
        )
    blocks = {n: block for n, block in overlay.blocks.items() if first <= n < last}
    _write_blocks(base, _image(base), blocks)


def _write_blocks(path: str, image: _Overlay | bytes, blocks: dict[int, bytes]) -> None:
    if not blocks:
        return
    if not isinstance(image, bytes):
        _write_overlay(path, _Overlay(backing=image.backing, blocks={**image.blocks, **blocks}))
        return
    with Path(path).open("rb+") as file:
        for number, block in blocks.items():
            file.seek(number * BLOCK_BYTES)
            file.write(block)


def _overlay(path: str) -> _Overlay | None:
    """The overlay at this path; ``None`` for a base."""
    image = _image(path)
    return None if isinstance(image, bytes) else image


def _backing(path: str) -> str:
    """What the image stands on, and nothing for a base: that one's content is not read for it."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a look at a host opens hundreds
            if file.read(len(_MAGIC)) != _MAGIC:
                return ""
    except FileNotFoundError as exc:
        raise _no_image(path) from exc
    overlay = _overlay(path)
    return "" if overlay is None else overlay.backing


def _no_image(path: str) -> DiskError:
    return DiskError(f"There is no disk image {path}.", path=path, code=ErrorCode.ERROR_FILE_NOT_FOUND)


def _image(path: str) -> _Overlay | bytes:
    """Parse an image file: an overlay, or the bytes of a base. Raises ``DiskError`` where there is none."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as exc:
        raise _no_image(path) from exc
    if not content.startswith(_MAGIC):
        return content
    parsed = json.loads(content)
    blocks = {int(number): base64.b64decode(block) for number, block in parsed["blocks"].items()}
    return _Overlay(backing=parsed["innkeeper-fake-overlay"], blocks=blocks)


def _write_overlay(path: str, overlay: _Overlay) -> None:
    blocks = {
        str(number): base64.b64encode(block).decode() for number, block in sorted(overlay.blocks.items())
    }
    replace_file(path, json.dumps({"innkeeper-fake-overlay": overlay.backing, "blocks": blocks}).encode())


def replace_file(path: str, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = Path(path + ".part")
    part.write_bytes(content)
    os.replace(part, path)  # noqa: PTH105 - the same call, and the path is a string on both sides
