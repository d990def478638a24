"""Images by QEMU's tools, encrypted ones too."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

#: QEMU measures how quick the processor derives a key. Where the computer counts a thread's time coarsely, as
#: virtual ones do, it often sees none at all, and gives up with these words.
_NOTHING_MEASURED = "Unable to get accurate CPU usage"
_TRIES = 200
_PAUSE_SECONDS = 0.02


def make_image(*arguments: str | Path) -> None:
    """``qemu-img create`` with these arguments, as often as it takes until the processor could be measured.

    Raises ``AssertionError`` with what it printed, where it fails for anything else.
    """
    for left in reversed(range(_TRIES)):
        command = ["qemu-img", "create", "-q", *map(str, arguments)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return
        assert left, done.stderr
        assert _NOTHING_MEASURED in done.stderr, done.stderr
        time.sleep(_PAUSE_SECONDS)
