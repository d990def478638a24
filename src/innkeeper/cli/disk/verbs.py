"""Work on virtual hard disks, through the service or with none running."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from json import dumps
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from innkeeper import disks
from innkeeper.cli.disk.bars import bar, exit_code, follow
from innkeeper.cli.disk.confinement import confined, set_folders
from innkeeper.cli.disk.exports import Image, add_to
from innkeeper.cli.disk.words import lines, parse_bytes, say_bytes, say_findings, tree
from innkeeper.cli.exit_codes import ExitCode
from innkeeper.cli.terminal import Json, NoWait, Session, facts, session_of, table
from innkeeper.client import Task
from innkeeper.client.disks import HardDiskCollection, findings_of
from innkeeper.disks.check import check
from innkeeper.disks.compact import compact
from innkeeper.disks.facts import describe
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import said_by_name
from innkeeper.disks.merge import merge
from innkeeper.disks.paths import image_path
from innkeeper.disks.progress import Watch
from innkeeper.disks.repair import repair
from innkeeper.disks.resize import resize
from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument
from innkeeper.wire.disks import FindingMessage, HardDiskMessage
from innkeeper.wire.states import TaskResult

T = TypeVar("T")

app = typer.Typer(
    name="disk", help="Work on virtual hard disks; a service is not needed.", no_args_is_help=True
)

app.callback()(set_folders)

New = Annotated[Path, typer.Argument(metavar="NEW", help="The image to create; the file must not exist yet.")]
To = Annotated[Kind, typer.Option("--to", help="The kind of image to create.")]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help="Do it in this process, with your own rights, even if the service manages the disk."
    ),
]
IgnoreParentTime = Annotated[
    bool, typer.Option("--ignore-parent-time", help="Go on although the parent's time has changed.")
]
Deep = Annotated[bool, typer.Option("--deep", help="Read every block too.")]


@app.command("list")
def list_disks(context: typer.Context, json: Json = False) -> None:
    """List the disks in the folders of the service."""
    session = session_of(context)
    found = session.inn.disks.read()
    if json:
        session.answer(found)
        return
    if not found.files:
        session.note(f"No disk is in the folders of the service: {', '.join(found.roots) or 'none'}.")
    for root in found.roots:
        inside = [file for file in found.files if file.startswith(root.rstrip("/") + "/")]
        if inside:
            # The folder once, above: a path seldom fits a column.
            session.out.print(Text(root), soft_wrap=True)
            session.out.print(_listed(session, root, inside))


def _listed(session: Session, root: str, files: Sequence[str]) -> Table:
    made = table("  DISK", "KIND", "IN GUEST", "ON HOST", right=("IN GUEST", "ON HOST"))
    for file in files:
        name = Text("  " + file.removeprefix(root).lstrip("/"))
        try:
            disk = session.inn.disks.at(file).read()
        except InnkeeperError as error:
            # A raw image has no mark that tells it, and is listed by its name alone.
            why = "raw?" if error.code is ErrorCode.VM_E_INVALID_HD_FILE else error.code.name
            made.add_row(name, Text(why, style="dim"), "", "")
        else:
            stored = say_bytes(disk.allocated_on_host)
            made.add_row(name, disk.kind.value, say_bytes(disk.size_in_guest), stored)
    return made


@app.command()
def create(
    context: typer.Context,
    path: New,
    size: Annotated[str, typer.Option(help="Such as 20G; not for a child, which has its parent's.")] = "",
    fixed: Annotated[bool, typer.Option("--fixed", help="Allocate all the space on the host now.")] = False,
    parent: Annotated[Path | None, typer.Option(help="Create a differencing disk over this one.")] = None,
    offline: Offline = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Make a dynamic, fixed or differencing disk."""
    if (parent is None) == (not size) or (parent and fixed):
        raise InvalidArgument("Give either --size, with or without --fixed, or --parent.")
    way = _Way(context, (path, parent), offline=offline, no_wait=no_wait)
    new = image_path(path)
    if parent is not None:
        base = image_path(parent)
        way.go(
            lambda far: far.create_differencing(new, base),
            lambda watch: disks.create_differencing(new, base),
        )
    elif fixed:
        size_bytes = parse_bytes(size)
        way.go(
            lambda far: far.create_fixed(new, size_bytes),
            lambda watch: disks.create_fixed(new, size_bytes, watch=watch),
        )
    else:
        size_bytes = parse_bytes(size)
        way.go(
            lambda far: far.create_dynamic(new, size_bytes),
            lambda watch: disks.create_dynamic(new, size_bytes),
        )
    way.end(f"{new} was created.")


@app.command()
def info(context: typer.Context, path: Image, offline: Offline = False, json: Json = False) -> None:
    """Show all that is known of a disk."""
    session = session_of(context)
    found = _described(context, path, offline=offline)[0]
    if json:
        session.answer(found)
    else:
        session.out.print(facts(dict(lines(found))))


@app.command()
def chain(context: typer.Context, path: Image, offline: Offline = False, json: Json = False) -> None:
    """Show a disk and its parents as a tree, the root first."""
    session = session_of(context)
    found = _described(context, path, offline=offline)
    if json:
        _answer(session, found)
    else:
        session.out.print(tree(found))


@app.command("compact")
def compact_disk(
    context: typer.Context,
    path: Image,
    free_blocks: Annotated[
        bool, typer.Option("--free-blocks", help="Also drop what the guest's ext4 or NTFS does not use.")
    ] = False,
    offline: Offline = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Give the host back what a disk does not need. A cancel stops it and leaves the disk whole."""
    way = _Way(context, (path,), offline=offline, no_wait=no_wait)
    disk = image_path(path)
    saved = way.go(
        lambda far: far.at(disk).compact(free_blocks=free_blocks),
        lambda watch: compact(disk, watch=watch, free_blocks=free_blocks),
    )
    way.end(f"{say_bytes(saved)} given back to the host." if saved is not None else "")


@app.command()
def convert(
    context: typer.Context,
    path: Image,
    new: New,
    to: To,
    source: Annotated[
        Kind | None,
        typer.Option(
            "--format", "--from", help="The format of DISK; needed for a raw image, and where it is unclear."
        ),
    ] = None,
    ignore_parent_time: IgnoreParentTime = False,
    offline: Offline = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Write a disk to a new image of another kind. A cancel leaves nothing of it."""
    way = _Way(context, (path, new), offline=offline, no_wait=no_wait)
    disk, target = image_path(path), image_path(new)
    said = said_by_name(target)
    if said is not None and said is not to and not (said.is_vhd and to.is_vhd):
        session_of(context).note(f"{target.name} will be {to.value}, and its name says {said.value}.")
    way.go(
        lambda far: far.convert(
            disk,
            target,
            to.value,
            source_kind=source.value if source else None,
            ignore_parent_time=ignore_parent_time,
        ),
        lambda watch: disks.convert(
            disk, target, to, source_kind=source, watch=watch, ignore_parent_time=ignore_parent_time
        ),
    )
    way.end(f"{target} was created.")


@app.command("merge")
def merge_disk(
    context: typer.Context,
    path: Image,
    keep_child: Annotated[bool, typer.Option("--keep-child", help="Do not remove the merged disk.")] = False,
    ignore_parent_time: IgnoreParentTime = False,
    offline: Offline = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Merge a differencing disk into its parent, or finish a merge that was interrupted."""
    way = _Way(context, (path,), offline=offline, no_wait=no_wait)
    disk = image_path(path)
    parent = way.go(
        lambda far: far.at(disk).merge(keep_child=keep_child, ignore_parent_time=ignore_parent_time),
        lambda watch: merge(disk, watch=watch, keep_child=keep_child, ignore_parent_time=ignore_parent_time),
    )
    way.end(f"{parent} holds everything now." if parent is not None else "")


@app.command()
def merge_to(
    context: typer.Context,
    path: Image,
    new: New,
    to: To = Kind.DYNAMIC,
    ignore_parent_time: IgnoreParentTime = False,
    offline: Offline = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Write a differencing disk and all of its parents to a new image."""
    way = _Way(context, (path, new), offline=offline, no_wait=no_wait)
    disk, target = image_path(path), image_path(new)

    def here(watch: Watch) -> None:
        with disks.open(disk, ignore_parent_time=ignore_parent_time) as opened:
            opened.merge_to(target, to, watch=watch)

    way.go(lambda far: far.at(disk).merge_to(target, to.value, ignore_parent_time=ignore_parent_time), here)
    way.end(f"{target} was created.")


@app.command()
def reparent(
    context: typer.Context,
    path: Image,
    parent: Annotated[Path, typer.Argument(metavar="PARENT", help="Where the parent is.")],
    accept_other_id: Annotated[
        bool, typer.Option("--accept-other-id", help="The content is the same, though the identity is not.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Set the path of a differencing disk's parent, and accept the parent's time."""
    disk, base = image_path(path), image_path(parent)
    far = _far(session_of(context), (path, parent), offline=offline)
    if far is not None:
        far.at(disk).reparent(base, accept_other_id=accept_other_id)
    else:
        with confined(context, path, parent):
            disks.reparent(disk, base, accept_other_id=accept_other_id)
    session_of(context).note(f"The parent of {disk} is {base} now.")


@app.command("resize")
def resize_disk(
    context: typer.Context,
    path: Image,
    size: Annotated[str, typer.Argument(metavar="SIZE", help="Such as 40G.")],
    lose_data: Annotated[bool, typer.Option("--lose-data", help="Cut off data past the new end.")] = False,
    offline: Offline = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Make a disk larger or smaller."""
    way = _Way(context, (path,), offline=offline, no_wait=no_wait)
    disk, size_bytes = image_path(path), parse_bytes(size)
    way.go(
        lambda far: far.at(disk).resize(size_bytes, lose_data=lose_data),
        lambda watch: resize(disk, size_bytes, lose_data=lose_data),
    )
    way.end(f"{disk} has {say_bytes(size_bytes)} now.")


@app.command("check")
def check_disk(
    context: typer.Context, path: Image, deep: Deep = False, offline: Offline = False, json: Json = False
) -> None:
    """Look for everything that can be wrong with a disk; changes nothing. Ends with 1 where something is."""
    session, disk = session_of(context), image_path(path)
    way = _Way(context, (path,), offline=offline)
    found = way.go(
        lambda far: far.at(disk).check(deep=deep), lambda watch: check(disk, deep=deep, watch=watch)
    )
    if way.task is not None:
        way.stop_where_it_failed()
        findings = list(findings_of(way.task))
    else:
        findings = [FindingMessage.model_validate(each, from_attributes=True) for each in found or ()]
    if json:
        _answer(session, findings)
    else:
        say_findings(session.out, findings)
    if not all(finding.is_harmless for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


@app.command("repair")
def repair_disk(
    context: typer.Context,
    path: Image,
    deep: Deep = False,
    size: Annotated[
        str, typer.Option(help="The size of a fixed disk that lost its footer, such as 40G.")
    ] = "",
    offline: Offline = False,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Mend what can be mended, after keeping what is overwritten beside the disk."""
    way = _Way(context, (path,), offline=offline, no_wait=no_wait)
    disk, size_bytes = image_path(path), parse_bytes(size) if size else None
    done = way.go(
        lambda far: far.at(disk).repair(deep=deep, size_bytes=size_bytes),
        lambda watch: repair(disk, deep=deep, size_bytes=size_bytes, watch=watch),
    )
    way.end(*(done or ["There was nothing to repair."]) if done is not None else ())


add_to(app)


class _Way:
    """One operation's way: a task of the service, or here in this process."""

    def __init__(
        self,
        context: typer.Context,
        paths: tuple[Path | None, ...],
        *,
        offline: bool,
        no_wait: bool = False,
    ) -> None:
        self._session = session_of(context)
        self._no_wait = no_wait
        self._far = _far(self._session, paths, offline=offline)
        self._context, self._paths = context, paths
        self.task: Task | None = None

    def go(self, far: Callable[[HardDiskCollection], Task], here: Callable[[Watch], T]) -> T | None:
        """Do it; returns what came of it where it was done here."""
        if self._far is not None:
            self.task = far(self._far)
            follow(self._session, self.task, no_wait=self._no_wait)
            return None
        with confined(self._context, *self._paths), bar() as watch:
            return here(watch)

    def end(self, *sentences: str) -> None:
        """Print the result and end the command."""
        message = self.task.read() if self.task is not None else None
        if self._session.json:
            if message is not None:
                self._session.answer(message)
            else:
                self._session.out.out(dumps({"done": [each for each in sentences if each]}, indent=2))
        elif message is None or message.result is TaskResult.SUCCESS:
            told = [line.text for line in self.task.log()] if self.task is not None else []
            for sentence in told or filter(None, sentences):
                self._session.out.print(Text(sentence), soft_wrap=True)
        if message is not None:
            raise typer.Exit(exit_code(message))

    def stop_where_it_failed(self) -> None:
        """End the command here where the task has ended with an error."""
        assert self.task is not None
        if code := exit_code(self.task.read()):
            if self._session.json:
                self._session.answer(self.task.read())
            raise typer.Exit(code)


def _far(session: Session, paths: tuple[Path | None, ...], *, offline: bool) -> HardDiskCollection | None:
    """The service's disks, where a service answers and all the paths lie in its folders."""
    if offline:
        return None
    try:
        far = session.inn.disks
        return far if far.holds(*(image_path(path) for path in paths if path is not None)) else None
    except InnkeeperError:
        # No service, or none that lets us in: what we may do ourselves is ours to do.
        return None


def _described(context: typer.Context, path: Path, *, offline: bool) -> list[HardDiskMessage]:
    disk = image_path(path)
    far = _far(session_of(context), (path,), offline=offline)
    if far is not None:
        return list(far.at(disk).chain)
    with confined(context, path):
        return [_message(dataclasses.asdict(one)) for one in describe(disk)]


def _message(fields: dict[str, object]) -> HardDiskMessage:
    for name in ("file", "parent", "unique_id"):
        fields[name] = None if fields[name] is None else str(fields[name])
    return HardDiskMessage.model_validate(fields | {"kind": str(fields["kind"])})


def _answer(session: Session, messages: Sequence[FindingMessage | HardDiskMessage]) -> None:
    """Print several as one JSON list."""
    session.out.out(dumps([each.model_dump(mode="json") for each in messages], indent=2, ensure_ascii=False))
