"""Keep what a repair overwrites or cuts off, in a file beside the image."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from innkeeper.disks.draft import Draft
from innkeeper.disks.file import ImageFile
from innkeeper.disks.paths import LONGEST_NAME

KEPT_SUFFIX = ".before-repair"


def keep_parts(file: ImageFile, parts: list[tuple[int, int]]) -> str:
    """Copy these parts, each given as (start, stop), to their place in a new file of the same length.

    Returns the sentence that names it.
    """
    with Draft(_free_name(file.path)) as draft:
        size = file.size
        draft.file.truncate(size)
        for start, stop in parts:
            for at, length in file.data_extents(start, min(stop, size) - start):
                draft.file.copy_from(file, at, at, length)
        draft.publish()
        return f"What it overwrote is kept in {draft.path}."


def _free_name(path: Path) -> Path:
    """Return an unused name for the kept copy: each repair has one of its own."""
    for number in itertools.count(1):
        suffix = KEPT_SUFFIX if number == 1 else f"{KEPT_SUFFIX}-{number}"
        room = LONGEST_NAME - len(os.fsencode(suffix))
        name = os.fsdecode(os.fsencode(path.name)[:room])
        if not os.path.lexists(target := path.with_name(name + suffix)):
            return target
    raise AssertionError("numbers do not end")
