"""Work on virtual hard disks, with no service running."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import signal
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text
from rich.tree import Tree

from innkeeper import disks
from innkeeper.cli.terminal import Json, facts, session_of
from innkeeper.disks.chain import open_chain
from innkeeper.disks.check import Finding, check
from innkeeper.disks.compact import compact
from innkeeper.disks.facts import DiskFacts, describe
from innkeeper.disks.kind import Kind
from innkeeper.disks.merge import merge
from innkeeper.disks.nbd.server import NbdServer
from innkeeper.disks.paths import image_path
from innkeeper.disks.repair import repair
from innkeeper.disks.resize import resize
from innkeeper.errors import InvalidArgument

app = typer.Typer(name="disk", help="Work on virtual hard disks; no service is needed.", no_args_is_help=True)

#: An image that has something wrong with it ends the check with this.
UNSOUND = 1

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

Image = Annotated[Path, typer.Argument(metavar="DISK", help="The image's file.")]
New = Annotated[Path, typer.Argument(metavar="NEW", help="The image to make; nothing may be there yet.")]
To = Annotated[Kind, typer.Option("--to", help="The kind of image to make.")]


@app.command()
def create(
    path: New,
    size: Annotated[str, typer.Option(help="Such as 20G; not for a child, which has its parent's.")] = "",
    fixed: Annotated[bool, typer.Option("--fixed", help="Take all the room from the host now.")] = False,
    parent: Annotated[Path | None, typer.Option(help="Make a differencing disk over this one.")] = None,
) -> None:
    """Make a dynamic, fixed or differencing disk."""
    if (parent is None) == (not size) or (parent and fixed):
        raise InvalidArgument("Say either --size, with or without --fixed, or --parent.")
    if parent is not None:
        disks.create_differencing(path, parent)
    elif fixed:
        with _bar() as watch:
            disks.create_fixed(path, _bytes(size), watch=watch)
    else:
        disks.create_dynamic(path, _bytes(size))


@app.command()
def info(context: typer.Context, path: Image, json: Json = False) -> None:
    """Show all that is known of a disk."""
    found = describe(path)
    if json:
        _print_json(context, _as_json(found[0]))
        return
    session_of(context).out.print(facts(dict(_lines(found[0]))))


@app.command()
def chain(context: typer.Context, path: Image, json: Json = False) -> None:
    """Show a disk and its parents as a tree, the root first."""
    found = describe(path)
    if json:
        _print_json(context, [_as_json(one) for one in found])
        return
    tree: Tree | None = None
    branch: Tree | None = None
    for one in reversed(found):
        branch = Tree(_label(one)) if branch is None else branch.add(_label(one))
        tree = tree or branch
    session_of(context).out.print(tree)


@app.command("compact")
def compact_disk(
    path: Image,
    free_blocks: Annotated[
        bool, typer.Option("--free-blocks", help="Also drop what the guest's ext4 or NTFS does not use.")
    ] = False,
) -> None:
    """Give the host back what a disk does not need. Ctrl-C stops it and leaves the disk whole."""
    with _bar() as watch:
        saved = compact(image_path(path), watch=watch, free_blocks=free_blocks)
    Console(highlight=False).print(f"{_say_bytes(saved)} given back.")


@app.command()
def convert(
    path: Image,
    new: New,
    to: To,
    source: Annotated[Kind | None, typer.Option("--from", help="Needed for a raw image alone.")] = None,
) -> None:
    """Write a disk to a new image of another kind. Ctrl-C leaves nothing of it."""
    with _bar() as watch:
        disks.convert(path, new, to, source_kind=source, watch=watch)


@app.command("merge")
def merge_disk(
    path: Image,
    keep_child: Annotated[bool, typer.Option("--keep-child", help="Do not remove the merged disk.")] = False,
    ignore_parent_time: Annotated[
        bool, typer.Option("--ignore-parent-time", help="Merge although the parent's time has changed.")
    ] = False,
) -> None:
    """Merge a differencing disk into its parent, or finish a merge that was interrupted."""
    with _bar() as watch:
        parent = merge(path, watch=watch, keep_child=keep_child, ignore_parent_time=ignore_parent_time)
    Console(highlight=False).print(Text(f"{parent} holds everything now."))


@app.command()
def merge_to(path: Image, new: New, to: To = Kind.DYNAMIC) -> None:
    """Write a differencing disk and all of its parents to a new image."""
    with _bar() as watch, disks.open(path) as disk:
        disk.merge_to(new, to, watch=watch)


@app.command()
def reparent(
    path: Image,
    parent: Annotated[Path, typer.Argument(metavar="PARENT", help="Where the parent is.")],
    accept_other_id: Annotated[
        bool, typer.Option("--accept-other-id", help="The content is the same, though the identity is not.")
    ] = False,
) -> None:
    """Tell a differencing disk where its parent is, and that its time is right."""
    disks.reparent(path, parent, accept_other_id=accept_other_id)


@app.command("resize")
def resize_disk(
    path: Image,
    size: Annotated[str, typer.Argument(metavar="SIZE", help="Such as 40G.")],
    lose_data: Annotated[bool, typer.Option("--lose-data", help="Cut off data past the new end.")] = False,
) -> None:
    """Make a disk larger or smaller."""
    resize(path, _bytes(size), lose_data=lose_data)


@app.command("check")
def check_disk(
    context: typer.Context,
    path: Image,
    deep: Annotated[bool, typer.Option("--deep", help="Read every block too.")] = False,
    json: Json = False,
) -> None:
    """Look for everything that can be wrong with a disk; changes nothing."""
    with _bar() as watch:
        findings = check(path, deep=deep, watch=watch)
    if json:
        _print_json(context, [_finding(finding) for finding in findings])
    else:
        _say_findings(findings)
    if not all(finding.is_harmless for finding in findings):
        raise typer.Exit(UNSOUND)


@app.command("repair")
def repair_disk(
    path: Image, deep: Annotated[bool, typer.Option("--deep", help="Read every block too.")] = False
) -> None:
    """Mend what can be mended, after keeping what is overwritten beside the disk."""
    with _bar() as watch:
        done = repair(path, deep=deep, watch=watch)
    console = Console(highlight=False)
    for sentence in done or ["There was nothing to mend."]:
        console.print(Text(sentence))


@app.command()
def export(
    path: Image,
    socket: Annotated[Path, typer.Option(help="The Unix socket to make.")],
    writable: Annotated[bool, typer.Option("--writable", help="Let clients write.")] = False,
) -> None:
    """Offer a disk by NBD, parents and all, until Ctrl-C."""
    with (
        contextlib.closing(open_chain(image_path(path), writable=writable)) as layers,
        NbdServer(layers, image_path(socket), writable=writable) as server,
    ):
        Console(highlight=False).print(Text(server.url), soft_wrap=True)
        signal.signal(signal.SIGTERM, _interrupt)
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _BarWatch:
    """Draws an operation's progress, and passes Ctrl-C to it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}
        self._stop = False
        self._can_stop = True

    def advance(self, phase: str, done: int, total: int) -> None:
        """Move the phase's bar."""
        if phase not in self._bars:
            self._bars[phase] = self._progress.add_task(phase, total=total)
        self._progress.update(self._bars[phase], completed=done, total=total)

    def cancel_requested(self) -> bool:
        """Whether Ctrl-C was pressed while that still helped."""
        return self._stop and self._can_stop

    def past_return(self) -> None:
        """Know that the operation can only be finished."""
        self._can_stop = False

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Take Ctrl-C."""
        self._stop = True
        if not self._can_stop:
            self._progress.console.print("It has begun and can only be finished; this goes on.")


@contextlib.contextmanager
def _bar() -> Iterator[_BarWatch]:
    """Follow an operation on standard error; while it runs, Ctrl-C asks it to stop."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as progress:
        watch = _BarWatch(progress)
        before = signal.signal(signal.SIGINT, watch.interrupt)
        try:
            yield watch
        finally:
            signal.signal(signal.SIGINT, before)


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is no size.", advice="Write it as 20G, 512M or a number of bytes.")
    return int(match[1]) * _UNITS[match[2].upper()]


def _say_bytes(count: int) -> str:
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _label(disk: DiskFacts) -> Text:
    text = Text.assemble(
        (disk.file.name, "bold"),
        f"  {disk.kind.value}, {_say_bytes(disk.size_in_guest)}, ",
        f"{_say_bytes(disk.allocated_on_host)} on the host",
    )
    for warning in disk.warnings:
        text.append(f"\n{warning}", style="yellow")
    return text


def _lines(disk: DiskFacts) -> Iterator[tuple[str, str]]:
    yield "file", str(disk.file)
    yield "kind", disk.kind.value
    yield "size in guest", f"{_say_bytes(disk.size_in_guest)} ({disk.size_in_guest:,} bytes)"
    yield "size on host", f"{_say_bytes(disk.size_on_host)}, {_say_bytes(disk.allocated_on_host)} stored"
    yield "host free space", _say_bytes(disk.host_free_disk_space)
    yield "identity", str(disk.unique_id)
    yield "created", f"{disk.created_at:%Y-%m-%d %H:%M:%S} UTC"
    yield "made by", disk.creator
    if disk.block_bytes:
        yield "blocks", f"{disk.blocks_present:,} of {_say_bytes(disk.block_bytes)}"
    if disk.parent:
        yield "parent", str(disk.parent)
    for warning in disk.warnings:
        yield "warning", warning


def _as_json(disk: DiskFacts) -> dict[str, object]:
    fields = dataclasses.asdict(disk)
    for name in ("file", "parent", "unique_id"):
        fields[name] = None if fields[name] is None else str(fields[name])
    return fields | {"created_at": disk.created_at.isoformat()}


def _finding(finding: Finding) -> dict[str, object]:
    return dataclasses.asdict(finding) | {"is_harmless": finding.is_harmless}


def _say_findings(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    for finding in findings:
        word = ("note", "dim") if finding.is_harmless else ("wrong", "bold red")
        console.print(Text.assemble(word, f"  {finding.sentence}"))
    if not findings:
        console.print("Nothing is wrong.")


def _print_json(context: typer.Context, value: object) -> None:
    session_of(context).out.out(dumps(value, indent=2, default=str, ensure_ascii=False))
