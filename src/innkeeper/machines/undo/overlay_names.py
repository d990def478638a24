"""Names of the files of an undo point: each carries its run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

#: What marks a file as part of an undo point; the number of the run follows it.
MARK = ".innkeeper-"
_OVERLAY = re.compile(r"\.innkeeper-(?P<run>\d+)(\.qcow2)?$")


def run_of(path: str) -> int | None:
    """The run whose undo point a file belongs to, by its name; ``None`` where it is not one's."""
    found = _OVERLAY.search(path)
    return int(found["run"]) if found else None


def runs_of(paths: Iterable[str]) -> frozenset[int]:
    """The runs whose undo points these files belong to."""
    return frozenset(run for path in paths if (run := run_of(path)) is not None)


def beside(overlay: str, part: str) -> str:
    """The file of the same undo point, ``memory`` or another part of it, in an overlay's folder.

    By the overlay's name: its machine may have another one by now.
    """
    run = PurePath(overlay).name.removesuffix(".qcow2").rpartition(MARK)[2]
    return str(PurePath(overlay).with_name(f"{first_machine_of(overlay)}.{part}{MARK}{run}"))


def first_machine_of(overlay: str) -> str:
    """The name that the machine of an overlay had when its undo point was taken."""
    return PurePath(overlay).name.rpartition(MARK)[0].rpartition(".")[0]


def is_overlay_of(path: str, machine: str) -> bool:
    """Whether an overlay may be this machine's, by its name; another service numbers its runs alike.

    Other files of an undo point do not tell their machine.
    """
    return not path.endswith(".qcow2") or PurePath(path).name.startswith(f"{machine}.")


def belongs_to(path: str, machine: str) -> bool:
    """Whether a file of an undo point is this machine's, by its name: an overlay, kept memory, or a note."""
    name = PurePath(path).name
    word = name.removeprefix(f"{machine}.").partition(MARK)[0]
    return run_of(path) is not None and name.startswith(f"{machine}.") and "." not in word
