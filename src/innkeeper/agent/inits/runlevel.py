"""The runlevel of System V that a guest is in."""

from innkeeper.agent.places import Places, read_text
from innkeeper.agent.utmp import RUN_LEVEL, records


def runlevel(places: Places) -> str:
    """Return it, a digit or ``S``: as init notes it, else as its table begins; empty for none."""
    for record in records(places):
        if record.kind == RUN_LEVEL and chr(record.pid & 0xFF).isalnum():
            return chr(record.pid & 0xFF)
    for line in read_text(places.under("etc/inittab")).splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == "initdefault":
            return fields[1].strip()
    return ""
