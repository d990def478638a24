"""Port for the small state files of a host's machines: UEFI variables, and the memory of their TPMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class StateFiles(Protocol):
    """The small files, beside the disks, that a guest changes and its host keeps for it."""

    async def find(self, machine: str, *, leave_tpm_out: bool = False) -> Sequence[str]:
        """The paths of a machine's state files, UEFI variables first, whether they are there yet or not.

        Raises ``MachineUnfit`` where one cannot be copied and put back; with ``leave_tpm_out``, such a TPM is
        passed over.
        """

    async def keep(self, path: str, copy: str) -> str:
        """Copy a state file, durably, with its owner and mode; returns the digest of what was copied.

        Does nothing and returns an empty text where the file is not there. A cut-off copy is begun anew.
        """

    async def put_back(self, copy: str, path: str) -> None:
        """Give a copy the place of a state file, whole or not at all; needs no room. The copy stays."""

    async def write_note(self, path: str, text: str) -> None:
        """Write down, durably, what was kept. Cut short, a part of the text is there."""

    async def read_note(self, path: str) -> str:
        """What was written down; empty where nothing was."""

    async def remove(self, path: str) -> None:
        """Remove a state file that a start has made, and the folders that were made for it alone."""
