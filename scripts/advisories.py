"""Compare the lock with known faults of its packages: ``advisories.py FOLDER``.

``FOLDER`` holds advisories in the OSV format, a JSON file each, as https://osv.dev offers them for PyPI in
one archive (``all.zip``). Without one nothing is compared, and this says so and ends with 2; with 1 where
there is a fault, with 0 where none is known.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bill_of_materials import pins

_LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"


def faults(lock: str, folder: Path) -> Iterator[str]:
    """A sentence for each advisory that concerns a pinned version."""
    pinned = {canonicalize_name(name): version for name, version, _ in pins(lock)}
    for file in sorted(folder.rglob("*.json")):
        advisory = json.loads(file.read_text())
        for affected in advisory.get("affected", ()):
            name = canonicalize_name(affected.get("package", {}).get("name", ""))
            if (
                affected.get("package", {}).get("ecosystem") == "PyPI"
                and name in pinned
                and not advisory.get("withdrawn")
                and _concerns(affected, pinned[name])
            ):
                summary = advisory.get("summary", "without a summary")
                yield f"{name} {pinned[name]}: {advisory['id']}, {summary}"


def _concerns(affected: Mapping[str, Any], version: str) -> bool:
    if version in affected.get("versions", ()):
        return True
    ranges = (each for each in affected.get("ranges", ()) if each.get("type") == "ECOSYSTEM")
    return any(_is_within(each.get("events", ()), Version(version)) for each in ranges)


def _is_within(events: list[Mapping[str, str]], version: Version) -> bool:
    """Whether the last event at or before the version opens the fault."""
    is_open = False
    for event in events:
        (kind, text), *_ = event.items()
        try:
            at = Version(text)
        except InvalidVersion:
            continue
        if kind == "introduced" and version >= at:
            is_open = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            is_open = False
    return is_open


def main() -> int:
    """Compare, and print what is known."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if folder is None or not folder.is_dir():
        print("There is no folder of advisories: the lock was compared with nothing.", file=sys.stderr)
        return 2
    found = list(faults(_LOCK.read_text(), folder))
    print("\n".join(found) or "No advisory of the folder concerns a package of the lock.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
