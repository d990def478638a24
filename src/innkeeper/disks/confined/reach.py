"""What a program may reach of the computer."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from pathlib import Path

#: A file, or a folder with all in it: by its path, or as an open descriptor.
Place = Path | int


class Sockets(enum.Enum):
    """The sockets that a program may make."""

    #: None at all.
    NONE = "none"
    #: Those of this computer: an export of ours is reached by one.
    LOCAL = "local"
    #: Those of networks, too: the image is on another computer.
    ANY = "any"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """The files and sockets that a program gets, besides the programs and libraries of the system."""

    reads: Sequence[Place] = ()
    #: Read and written; in a folder files may be made, renamed and removed.
    writes: Sequence[Place] = ()
    sockets: Sockets = Sockets.NONE
