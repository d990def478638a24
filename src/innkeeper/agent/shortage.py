"""Find what a guest ran out of when its update failed: room on a file system, or memory."""

import math
import os
import re
import time
from typing import List

from innkeeper.agent.boots import uptime_of
from innkeeper.agent.command import ask
from innkeeper.agent.places import Places, read_text

_ASK_S = 30.0
_MOST = 5
#: What the kernel says of a program that it has ended, in its own words (RHEL 7's are older) and those of a
#: control group.
_KILLED = re.compile(r"[Oo]ut of memory: Kill(?:ed)? process (\d+) \(([^)]*)\)")
#: Before its lines the kernel says how long after the boot it wrote them, by a clock of its own.
_KERNEL_TIME = re.compile(r"(?:<\d+>)?\[ *(\d+\.\d+)\]")
_CLOCKS_DIFFER_S = 2.0
_NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded|not enough free space", re.IGNORECASE)
#: A path in a message.
_PATH = re.compile(r"(?:^|[\s'\"`‘“(:])\.?(/[\w.+~/@:-]*[\w~/])")
#: Below this a file system is full, in bytes and as a share: since it was, the package manager has tidied
#: up, our own reserve was given back, and so was what the file system had held for its own use.
_FULL_BYTES = 4 * 1024 * 1024
_FULL_SHARE = 0.02
#: What packages are put on. Others are full by their nature, or may be away: whoever asks those hangs.
_DISKS = (
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "f2fs",
    "jfs",
    "reiserfs",
    "zfs",
    "bcachefs",
    "vfat",
    "tmpfs",
    "overlay",
)


def shortages(places: Places, said: str, since: float) -> str:
    """Return what was short, in words that follow what a program said; empty where nothing was.

    ``since`` is when the update began, in seconds since 1970.
    """
    found = [*_no_room(places, said), *_killed_words(killed(places, since))]
    return "".join("; " + words for words in found)


def killed(places: Places, since: float) -> List[str]:
    """Return the programs that the kernel has ended since for want of memory."""
    found = ["{} (process {})".format(name, pid) for pid, name in _KILLED.findall(_kernel_log(places, since))]
    return list(dict.fromkeys(found))[:_MOST]


def _kernel_log(places: Places, since: float) -> str:
    """Return what the kernel has said since, in this boot."""
    if places.has_systemd:
        journal = ["journalctl", "-k", "-q", "--no-pager", "-b", "-o", "cat"]
        return ask([*journal, "--since", "@{:.0f}".format(since)], timeout=_ASK_S).output
    begun = uptime_of(places) - (time.time() - since) - _CLOCKS_DIFFER_S
    lines = ask(["dmesg"], timeout=_ASK_S).output.splitlines()
    return "\n".join(line for line in lines if _seconds_of(line) >= begun)


def _seconds_of(line: str) -> float:
    """Return when the kernel said it, in seconds since the boot; a line without a time is an old one."""
    found = _KERNEL_TIME.match(line)
    return float(found.group(1)) if found else -math.inf


def _killed_words(names: List[str]) -> List[str]:
    return ["the kernel ran out of memory and killed " + ", ".join(names)] if names else []


def _no_room(places: Places, said: str) -> List[str]:
    """Name the file systems: those of the paths that are named, or those that are full now."""
    lines = [line for line in re.split(r"[\n;]", said) if _NO_ROOM.search(line)]
    if not lines:
        return []
    named = [_file_system(places, _path_in(line)) for line in lines]
    found = list(dict.fromkeys(filter(None, named))) or _full(places)
    return ["no room on {}".format(_words(places, place)) for place in found[:_MOST]]


def _path_in(line: str) -> str:
    """Return the path that the words are about: behind them, or else the last one before them."""
    before, _, after = _NO_ROOM.sub("\0", line, count=1).partition("\0")
    behind, ahead = _PATH.findall(after), _PATH.findall(before)
    return str(behind[0] if behind else ahead[-1] if ahead else "")


def _file_system(places: Places, path: str) -> str:
    """Return where the file system is mounted that a path lies on; empty for a path that is none."""
    known = sorted(_mounted(places), key=len, reverse=True)
    if not path or not os.path.isdir(places.under("/".join(path.split("/")[:2]).lstrip("/"))):
        return ""
    return next(
        (place for place in known if place == "/" or path == place or path.startswith(place + "/")), ""
    )


def _full(places: Places) -> List[str]:
    return [place for place in _mounted(places) if _is_full(places.under(place.lstrip("/")))]


def _is_full(path: str) -> bool:
    try:
        state = os.statvfs(path)
    except OSError:
        return False
    has_inodes = not state.f_files or state.f_ffree > 0
    least = max(_FULL_BYTES, _FULL_SHARE * state.f_blocks * state.f_frsize)
    return bool(state.f_blocks) and (state.f_bfree * state.f_frsize < least or not has_inodes)


def _words(places: Places, place: str) -> str:
    """Return the place with its size, and what is used up where that is not its blocks."""
    try:
        state = os.statvfs(places.under(place.lstrip("/")))
    except OSError:
        return place
    size = "{:,.0f} MB".format(state.f_blocks * state.f_frsize / 1e6)
    inodes = ", no inode is left" if state.f_files and not state.f_ffree else ""
    return "{} ({}{})".format(place, size, inodes)


def _mounted(places: Places) -> List[str]:
    rows = (line.split() for line in read_text(places.under("proc/self/mounts")).splitlines())
    return [row[1] for row in rows if len(row) > 2 and row[2] in _DISKS]
