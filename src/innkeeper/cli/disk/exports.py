"""Offer disks by NBD, to machines and to other programs."""

from __future__ import annotations

import contextlib
import signal
from json import dumps
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.disk.confinement import confined
from innkeeper.cli.terminal import Json, MachineName, session_of
from innkeeper.disks.chain import open_chain
from innkeeper.disks.children import INSTEAD, WRITES, refuse_children
from innkeeper.disks.nbd.server import NbdServer
from innkeeper.disks.paths import image_path
from innkeeper.wire.disks import ConnectedMessage, ExportList

Image = Annotated[Path, typer.Argument(metavar="DISK", help="The image's file.")]


def add_to(app: typer.Typer) -> None:
    """Add these verbs to those on disks."""
    for verb in (export, exports, connect):
        app.command()(verb)


def export(
    context: typer.Context,
    path: Image,
    socket: Annotated[
        Path | None, typer.Option(help="Export it without the service, on this Unix socket, until Ctrl-C.")
    ] = None,
    writable: Annotated[bool, typer.Option("--writable", help="Let clients write.")] = False,
    ignore_parent_time: Annotated[
        bool, typer.Option("--ignore-parent-time", help="Go on although the parent's time has changed.")
    ] = False,
    end: Annotated[bool, typer.Option("--end", help="End the service's export of it.")] = False,
    json: Json = False,
) -> None:
    """Offer a disk by NBD, parents and all: by the service until --end, or here with --socket."""
    session = session_of(context)
    if socket is not None:
        with confined(context, path):
            _export_here(path, socket, writable=writable, ignore_parent_time=ignore_parent_time)
        return
    disk = session.inn.disks.at(image_path(path))
    if end:
        disk.end_export()
        return
    address = disk.export(writable=writable, ignore_parent_time=ignore_parent_time)
    if json:
        session.out.out(dumps({"path": disk.file, "address": address, "writable": writable}, indent=2))
    else:
        typer.echo(address)


def _export_here(path: Path, socket: Path, *, writable: bool, ignore_parent_time: bool) -> None:
    opened = open_chain(image_path(path), writable=writable, ignore_parent_time=ignore_parent_time)
    with contextlib.closing(opened) as layers:
        if writable:
            refuse_children(layers.top.file.path, what=WRITES, advice=INSTEAD)
            # What a client was told of survives a kill.
            layers.top.keep_maps()
        with (
            NbdServer(layers, image_path(socket), writable=writable) as server,
            contextlib.suppress(KeyboardInterrupt),
        ):
            signal.signal(signal.SIGTERM, _interrupt)
            typer.echo(server.url)
            server.wait()


def exports(context: typer.Context, json: Json = False) -> None:
    """List the disks that the service offers by NBD, to machines and to others."""
    session = session_of(context)
    offered = session.inn.disks.exports
    if json:
        session.answer(ExportList(exports=tuple(offered)))
        return
    for each in offered:
        kind = "writable" if each.writable else "read-only"
        # Not in a table: an address is to be copied.
        session.out.print(Text.assemble((each.path, "bold"), f"  ({kind})\n  {each.address}"), soft_wrap=True)
    if not offered:
        session.note("No disk is exported.")


def connect(context: typer.Context, name: MachineName, json: Json = False) -> None:
    """Give a machine that is off its VHDs by exports, as QEMU would misread a differencing disk."""
    session = session_of(context)
    targets = session.inn.disks.connect(name)
    if json:
        session.answer(ConnectedMessage(machine=name, targets=tuple(targets)))
    elif targets:
        session.out.print(Text(f"{name} reaches {', '.join(targets)} by an export from now on."))
    else:
        session.note(f"{name} has no disk that needs an export: QEMU reads none of them as a VHD.")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
