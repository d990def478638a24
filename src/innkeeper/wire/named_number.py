"""Documented numbers that print as their names."""

from __future__ import annotations

import enum


class NamedNumber(enum.IntEnum):
    """A documented number: equal to it, and printed as its name (``SUCCESS``)."""

    def __str__(self) -> str:
        return self.name
