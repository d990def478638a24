"""Write the index of the decision records, with the status of each.

A record stands as it was accepted, until a later one says ``This replaces record 12.``, or
``This replaces the last sentence of record 12.`` where only a part of it no longer holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

DECISIONS = Path(__file__).parents[1] / "docs" / "decisions"
_REPLACES = re.compile(r"This replaces (?P<part>[^.]*?)\s*record (?P<number>\d+)\.")
_HEAD = """# Decisions

Written by `scripts/reference.py` from the records themselves.
[How decisions are kept](0000-how-decisions-are-kept.md) tells what a record is.
"""
#: What the records are about, by the tens of their numbers.
_THEMES = {
    0: "The whole",
    1: "The agent in the guest, and channels",
    2: "libvirt and machines",
    3: "The durable engine",
    4: "Update runs and plans",
    5: "The service, its doors and its people",
    6: "The demo and the pages",
    7: "Virtual hard disks",
    8: "Scheduled tasks",
    9: "Screens, and words with guests",
    10: "Undo points on every storage",
}


def records() -> Iterator[Path]:
    """The records in the order of their numbers, without the one about records."""
    yield from sorted(path for path in DECISIONS.glob("[0-9]*.md") if not path.name.startswith("0000"))


def index() -> str:
    """The page: a table for each theme, with each record's title and status."""
    found = {int(path.name[:4]): path for path in records()}
    replaced = _replaced(found)
    lines = [_HEAD]
    for number, path in found.items():
        if number // 10 not in {each // 10 for each in found if each < number}:
            lines += [
                "",
                f"## {_THEMES.get(number // 10, 'More')}",
                "",
                "| | record | status |",
                "|---|---|---|",
            ]
        status = "; ".join(replaced.get(number, ["accepted"]))
        lines.append(f"| {number} | [{title_of(path)}]({path.name}) | {status} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def title_of(path: Path) -> str:
    """The record's title, without its number."""
    return re.sub(r"^#\s*(?:\d+\.\s*)?", "", path.read_text().partition("\n")[0])


def _replaced(found: Mapping[int, Path]) -> dict[int, list[str]]:
    """What later records say of earlier ones."""
    said: dict[int, list[str]] = {}
    for number, path in found.items():
        for match in _REPLACES.finditer(" ".join(path.read_text().split())):
            kind = "in part replaced by" if match["part"] else "replaced by"
            earlier = int(match["number"])
            if earlier not in found or earlier >= number:
                raise ValueError(f"{path.name} replaces record {earlier}, which is no earlier record")
            said.setdefault(earlier, []).append(f"{kind} [{number}]({path.name})")
    return said
