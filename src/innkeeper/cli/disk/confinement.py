"""Folders in which the parents of disks may lie when the command line itself works on them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from innkeeper.disks.allowed import beside_named, only_within
from innkeeper.disks.paths import image_path
from innkeeper.errors import ErrorCode, InvalidArgument

_KEY = "innkeeper.disk.within"


def set_folders(
    context: typer.Context,
    within: Annotated[
        list[Path] | None,
        typer.Option(help="Without the service: another folder in which parents of the disks may lie."),
    ] = None,
) -> None:
    """Work on virtual hard disks; a service is not needed."""
    folders = tuple(map(image_path, within or ()))
    for folder in folders:
        if not folder.is_dir():
            raise InvalidArgument(
                f"--within {folder}: there is no such folder.",
                code=ErrorCode.ERROR_PATH_NOT_FOUND,
                advice="Name a folder that parents of the disks lie in.",
            )
    context.meta[_KEY] = folders


def confined(context: typer.Context, *named: Path | None) -> contextlib.AbstractContextManager[None]:
    """Open what images name beside the files that were named, and in the folders that were allowed, alone."""
    paths = (image_path(path) for path in named if path is not None)
    return only_within(beside_named(*paths, others=context.meta.get(_KEY, ())))
