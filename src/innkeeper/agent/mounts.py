"""Report what is mounted in the guest, and swapped to, and whose wish that is."""

import os
import re
from typing import Dict, Iterator, List, NamedTuple

from innkeeper.agent.places import Places, read_text

#: File systems that say nothing of health, or come and go by themselves.
_PASSING = frozenset({"autofs", "overlay", "squashfs", "nsfs", "fuse.portal", "tracefs", "binfmt_misc"})
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A file system where it is."""

    place: str
    #: Its file system: ``ext4``, ``nfs4``.
    kind: str
    read_only: bool
    #: ``fstab``, ``unit`` (a file of the administrator's or a package's), ``generated``; empty where
    #: somebody just mounted it.
    origin: str
    #: As fstab has them; empty for others.
    options: str


def mounts(places: Places, wanted: Dict[str, str]) -> List[Mount]:
    """Return what is mounted, by place, with who wants it, as init says; of several the uppermost."""
    table = _fstab(places)
    found = {}
    for fields in _lines(places.under("proc/self/mounts")):
        place, kind, options = _plain(fields[1]), fields[2], fields[3]
        if kind in _PASSING or place.startswith("/run/user/"):
            continue
        origin = "fstab" if place in table else wanted.get(place, "")
        found[place] = Mount(place, kind, "ro" in options.split(","), origin, table.get(place, ""))
    return [found[place] for place in sorted(found)]


def swaps(places: Places, wanted: Dict[str, str]) -> List[Mount]:
    """Return what is swapped to: by its name in fstab or a unit, else by the kernel's."""
    table = [fields for fields in _lines(places.under("etc/fstab")) if fields[2] == "swap"]
    # fstab's own words come first: systemd makes a unit of each, too.
    named = [(_plain(fields[0]), "fstab", fields[3]) for fields in table]
    named += [(what, origin, "") for what, origin in sorted(wanted.items())]
    used = [_plain(fields[0]) for fields in _lines(places.under("proc/swaps"))][1:]
    left = {_real(places, what): what for what in used}
    found = []
    for what, origin, options in named:
        if left.pop(_real(places, what), None) is not None:
            found.append(Mount(what, "swap", False, origin, options))
    return sorted([*found, *(Mount(what, "swap", False, "", "") for what in left.values())])


def _real(places: Places, what: str) -> str:
    """Return the file, or device, that is meant by ``UUID=…`` and the like."""
    tag, sign, value = what.partition("=")
    path = "dev/disk/by-{}/{}".format(tag.lower(), value.strip('"')) if sign and "/" not in tag else what
    return os.path.realpath(places.under(path.lstrip("/")))


def _fstab(places: Places) -> Dict[str, str]:
    """Return the options of fstab, by place."""
    return {_plain(fields[1]): fields[3] for fields in _lines(places.under("etc/fstab"))}


def _lines(path: str) -> Iterator[List[str]]:
    for line in read_text(path).splitlines():
        fields = line.split()
        if len(fields) > 3 and not line.startswith("#"):
            yield fields


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found.group(1), 8)), text)
