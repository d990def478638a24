"""Facts of disks: for people, and in JSON under the documented keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from innkeeper.errors import InvalidArgument
from innkeeper.wire.disks import FindingMessage, HardDiskMessage

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(text: str) -> int:
    """Read a size such as ``20G``. Raises ``InvalidArgument``."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(
            f"{text!r} is not a size.", advice="Write it as 20G, 512M or a number of bytes."
        )
    return int(match[1]) * _UNITS[match[2].upper()]


def say_bytes(count: int) -> str:
    """A size in the largest unit that it has one of."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def lines(disk: HardDiskMessage) -> Iterator[tuple[str, str]]:
    """All that is known, as names and values."""
    yield "file", disk.file
    yield "kind", disk.kind.value
    yield "size in guest", f"{say_bytes(disk.size_in_guest)} ({disk.size_in_guest:,} bytes)"
    yield "size on host", f"{say_bytes(disk.size_on_host)}, {say_bytes(disk.allocated_on_host)} stored"
    yield "host free space", say_bytes(disk.host_free_disk_space)
    if disk.unique_id:
        yield "identity", disk.unique_id
    if disk.created_at:
        yield "created", f"{disk.created_at:%Y-%m-%d %H:%M:%S} UTC"
    if disk.creator.strip():
        yield "made by", disk.creator
    if disk.block_bytes and disk.unique_id:
        yield "blocks", f"{disk.blocks_present:,} of {say_bytes(disk.block_bytes)}"
    if disk.parent:
        yield "parent", disk.parent
    if disk.warnings:
        yield "warning", "\n".join(disk.warnings)


def tree(chain: Sequence[HardDiskMessage]) -> Tree:
    """A disk under its parents, the root on top."""
    root = branch = Tree(_label(chain[-1]))
    for one in reversed(chain[:-1]):
        branch = branch.add(_label(one))
    return root


def _label(disk: HardDiskMessage) -> Text:
    text = Text.assemble(
        (disk.file.rpartition("/")[2], "bold"),
        f"  {disk.kind.value}, {say_bytes(disk.size_in_guest)}, ",
        f"{say_bytes(disk.allocated_on_host)} on the host",
    )
    for warning in disk.warnings:
        text.append(f"\n{warning}", style="yellow")
    return text


def say_findings(console: Console, findings: Sequence[FindingMessage]) -> None:
    """What is wrong with a disk, one line each."""
    for finding in findings:
        word = ("note ", "dim") if finding.is_harmless else ("wrong", "bold red")
        console.print(Text.assemble(word, f"  {finding.sentence}"))
    if not findings:
        console.print("Nothing is wrong.")
