"""A machine with its configuration and the files of both, read from its host at one moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from innkeeper.machines.configuration import Configuration
from innkeeper.machines.machine import Machine

#: Picks the images whose backing chains are to be read too, by their paths.
Follow = Callable[[str], bool]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MachineDescription:
    """Everything that a host keeps of one machine, from one question."""

    machine: Machine
    configuration: Configuration
    #: The file of its definition; empty where that lies on another computer, or nowhere.
    definition_path: str
    #: The file of its saved state; empty where there is none, or on another computer.
    saved_state_path: str
    #: The backing chain of each image that was asked for, by its path: top first.
    chains: Mapping[str, Sequence[str]]
    #: The speed of the host's processors; 0 where the host does not tell it.
    processor_mhz: int


def follow_none(_path: str) -> bool:
    """No backing chain is wanted."""
    return False
