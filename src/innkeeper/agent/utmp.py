"""Read the accounting file of logins: ``utmp(5)``."""

import struct
from typing import Iterator, List, NamedTuple

from innkeeper.agent.places import Places

#: The kinds of a record that is asked for here.
RUN_LEVEL = 1
USER_PROCESS = 7
_LAST_KIND = 9
#: A record as it is on 32 bits, and on those 64-bit systems that took it over from them (x86, POWER, RISC-V);
#: and with the wide times of others (ARM).
_LAYOUTS = (struct.Struct("=hxxi32s4s32s256shhiii16s20s"), struct.Struct("=hxxi32s4s32s256shhqqq16s20s4x"))
_MOST = 1024


class Record(NamedTuple):
    """What is remembered of one terminal, or of the system."""

    kind: int
    pid: int
    user: str
    host: str
    #: Since 1970.
    seconds: int


def records(places: Places) -> Iterator[Record]:
    """Yield the records; none where there is no such file, as with musl."""
    try:
        with open(places.under("run/utmp"), "rb") as file:
            content = file.read(_LAYOUTS[1].size * _MOST)
    except OSError:
        return
    # One of them is a whole number of records long.
    for layout in sorted(_LAYOUTS, key=lambda layout: bool(len(content) % layout.size)):
        found = _read(layout, content[: len(content) - len(content) % layout.size])
        if found:
            yield from found
            return


def _read(layout: struct.Struct, content: bytes) -> List[Record]:
    """Return what a layout makes of the file; nothing where it makes no sense."""
    raw = list(layout.iter_unpack(content))
    if not all(0 <= fields[0] <= _LAST_KIND for fields in raw):
        return []
    return [Record(each[0], each[1], _text(each[4]), _text(each[5]), each[9]) for each in raw]


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
