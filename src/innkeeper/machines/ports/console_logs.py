"""Port for what the serial consoles of a host's machines have printed, as far as it is kept."""

from __future__ import annotations

from typing import Protocol


class ConsoleLogs(Protocol):
    """The files that serial consoles are written to. A machine has one where its definition asks for it.

    Nobody's console is taken away: what goes to a terminal alone cannot be read.
    """

    async def size(self, name: str) -> int | None:
        """How many bytes the log has now; ``None`` where there is none, or where it may not be read."""

    async def read(self, name: str, after: int) -> str:
        """The end of what was written since the log had so many bytes; of one that is shorter now, of all.

        Empty where it cannot be read.
        """
