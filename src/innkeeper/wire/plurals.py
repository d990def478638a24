"""Numbers of things for people: ``1 machine``, ``2 machines``."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun; ``plural`` where that is not the noun with an ``s``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
