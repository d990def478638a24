"""Try faults and print a table: ``python -m tests.faults`` or ``make faults``, with names for some alone.

Ends with 1 where a promise did not hold. What cannot be tried on this computer is told as that.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.faults.catalogue import FAULTS
from tests.faults.fault import Fault, Seen

_OUT = Path(__file__).resolve().parent.parent.parent / "build" / "faults.json"
_WORDS = {True: "held", False: "BROKEN", None: "not tried"}


def main() -> int:
    """Try them in turn."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.faults")
    parser.add_argument("names", nargs="*", help="parts of the names of faults; all where none is given")
    parser.add_argument(
        "--list", action="store_true", help="name the faults and their promises, and try none"
    )
    options = parser.parse_args()
    chosen = [
        each for each in FAULTS if not options.names or any(name in each.name for name in options.names)
    ]
    seen: list[tuple[Fault, Seen | None, float]] = []
    for fault in chosen:
        began = time.monotonic()
        found = None if options.list else _try(fault)
        seen.append((fault, found, time.monotonic() - began))
        if found is not None:
            print(f"{_WORDS[found.holds]:9} {fault.name}: {found.words}", flush=True)
    _report(seen)
    return int(any(found is not None and found.holds is False for _, found, _ in seen))


def _try(fault: Fault) -> Seen:
    try:
        return fault.trial()
    except Exception as error:  # A trial that breaks has shown nothing, and the others go on.
        return Seen(holds=False, words=f"the trial broke: {type(error).__name__}: {str(error)[:200]}")


def _report(seen: list[tuple[Fault, Seen | None, float]]) -> None:
    table = Table("FAULT", "PROMISED", "SEEN", "", box=None)
    for fault, found, _ in seen:
        words = Text("" if found is None else found.words)
        table.add_row(
            Text(fault.name), Text(fault.promise), words, "" if found is None else _WORDS[found.holds]
        )
    Console().print(table)
    rows = [
        {
            "fault": fault.name,
            "promise": fault.promise,
            "holds": found.holds,
            "seen": found.words,
            "seconds": took,
        }
        for fault, found, took in seen
        if found is not None
    ]
    if rows:
        _OUT.parent.mkdir(parents=True, exist_ok=True)
        _OUT.write_text(json.dumps({"load": os.getloadavg(), "faults": rows}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
