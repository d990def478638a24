"""The port to whatever starts and keeps the guest's services; each module beside this one knows one."""

from typing import Callable, Dict, List, NamedTuple

from innkeeper.agent.inits.unit import Look
from innkeeper.agent.places import Places

#: Says which unit a process is of; empty for none.
Owner = Callable[[int], str]


class Main(NamedTuple):
    """The process of a service that is kept running."""

    #: 0 while there is none.
    pid: int
    #: Changes with each start and end; empty where its init keeps no such thing.
    changed: str = ""


class Init:
    """One init, or what supervises services beside it."""

    #: For people.
    name = ""
    #: Whether it can be given a service of its own to run.
    takes_services = True

    def __init__(self, places: Places) -> None:
        self._places = places

    @classmethod
    def runs(cls, places: Places) -> bool:
        """Return whether it runs this guest, or services in it."""
        raise NotImplementedError

    @classmethod
    def is_installed(cls, places: Places) -> bool:
        """Return whether a guest that is not running yet would be run by it."""
        raise NotImplementedError

    def look(self) -> Look:
        """Return what it runs. Raises ``PluginError`` where it does not say."""
        raise NotImplementedError

    def owner(self) -> Owner:
        """Return what says which unit a process is of, at this moment."""
        raise NotImplementedError

    def evidence(self, unit: str) -> List[str]:
        """Return what is known of a unit in trouble, its state first; nothing where it knows none."""
        raise NotImplementedError

    def restart(self, units: List[str]) -> List[str]:
        """Begin to restart those of them that it runs; returns which."""
        raise NotImplementedError

    def failed_lately(self) -> List[str]:
        """Return the units that failed in the last week, as far as it remembers."""
        return []

    def mains(self) -> Dict[str, Main]:
        """Return the processes that it keeps running, where it does not count how often it started them."""
        return {}

    # The agent's own service

    def install(self) -> str:
        """Make it run the agent, also from the next boot on; returns what was done, empty where it cannot.

        Raises ``PluginError``.
        """
        return ""

    def remove(self) -> bool:
        """Stop it from running the agent; returns whether it did."""
        return False
