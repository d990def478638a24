"""Find what a program has said last, in the files that syslog writes."""

import glob
import os
import re
from typing import Iterator, List

from innkeeper.agent.command import ask
from innkeeper.agent.places import Places

#: How many of the last lines are told.
LINES = 6
#: Where daemons' lines go, by the habits of distributions.
_FILES = ("syslog", "messages", "daemon.log", "everything/current", "socklog/everything/current")
_TAIL_BYTES = 512 * 1024
_ASK_S = 20.0


def last_words(places: Places, name: str) -> List[str]:
    """Return the last lines of a service: by its own name as the tag, of syslog's file, else of its own."""
    for lines in _sources(places, name):
        if lines:
            return lines[-LINES:]
    return []


def tail(path: str) -> List[str]:
    """Return the last lines of a file; none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            data = file.read(_TAIL_BYTES)
    except OSError:
        return []
    return [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]


def _sources(places: Places, name: str) -> Iterator[List[str]]:
    # Dec  1 03:14:07 web nginx[77]: cannot bind
    tag = re.compile(r"[ .]{}(?:\[\d+\])?: ".format(re.escape(name)))
    for file in _FILES:
        yield list(filter(tag.search, tail(places.under("var/log/" + file))))
    if places.root == "/":
        # BusyBox' syslogd may keep them in memory.
        yield list(filter(tag.search, ask(["logread"], timeout=_ASK_S).output.splitlines()))
    own = glob.glob(places.under("var/log/{0}.log".format(glob.escape(name))))
    own += glob.glob(places.under("var/log/{0}/*.log".format(glob.escape(name))))
    own += glob.glob(places.under("var/log/{0}/error_log".format(glob.escape(name))))
    yield tail(max(own, key=os.path.getmtime)) if own else []
