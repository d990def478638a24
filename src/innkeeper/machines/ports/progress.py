"""Progress of a long call to a host."""

from __future__ import annotations

from collections.abc import Callable

#: Called on the event loop with how far a long call has come: bytes done, bytes in all.
OnProgress = Callable[[int, int], None]
