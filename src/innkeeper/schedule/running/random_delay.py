"""Draw random delays that can be drawn again."""

from __future__ import annotations

import datetime as dt
import hashlib


def random_delay(seed: int, trigger: int, occurrence: dt.datetime, limit: dt.timedelta) -> dt.timedelta:
    """A delay from 0 to ``limit``, both included, to the second: the same for the same occurrence.

    Every server draws the same, before and after a restart, and the history can be checked.
    """
    most = int(limit.total_seconds())
    text = f"{seed}:{trigger}:{int(occurrence.timestamp())}".encode()
    drawn = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
    return dt.timedelta(seconds=drawn % (most + 1))
