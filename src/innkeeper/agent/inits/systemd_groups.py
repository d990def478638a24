"""Read which of systemd's units a process is of, by its control group."""

import re

_UNIT = re.compile(r"[^/]+\.(?:service|scope|socket)\Z")


def unit_of(cgroup: str) -> str:
    """Return the unit of a process by its control group; ``user@1000.service/x.service`` for a user's."""
    for line in cgroup.splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers not in ("", "name=systemd"):
            continue
        parts = [part for part in path.split("/") if _UNIT.match(part)]
        if parts:
            manager = parts[0] if parts[0].startswith("user@") and len(parts) > 1 else ""
            return "/".join(filter(None, (manager, parts[-1])))
    return ""
