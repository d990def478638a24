"""The facts of what an init runs, in one form for all of them."""

from typing import Dict, List, NamedTuple, Tuple


class Unit(NamedTuple):
    """A unit of systemd's, or a service of another init, that runs, is to run, or has failed."""

    name: str
    #: Its other names.
    aliases: Tuple[str, ...] = ()
    #: ``active``, ``activating``, ``failed``, …, and the same more exactly: ``running``, ``auto-restart``.
    active: str = "active"
    sub: str = ""
    #: ``simple``, ``oneshot``, … of systemd's.
    type: str = ""
    #: How often its init has started it again by itself.
    restarts: int = 0
    #: Whether it stays active when its program has ended.
    remains: bool = False
    #: ``enabled``, ``static``, ``transient``, …
    enablement: str = ""
    #: Whether something of the boot wants it.
    wanted: bool = False
    #: Whether sockets, timers or paths start it when there is something to do.
    triggered: bool = False
    #: What it starts by itself.
    triggers: Tuple[str, ...] = ()
    #: Whether its init is about to change its state.
    has_job: bool = False
    #: Since when it is in this state, in seconds.
    age: int = 0


class Look(NamedTuple):
    """What an init says at one moment."""

    units: List[Unit]
    #: The names of those that have failed; swaps and the like may be among them, which are no units here.
    failed: List[str]
    #: The names of all that are installed.
    files: List[str]
    #: ``running``, ``starting``, ``maintenance``, …; empty where it does not say.
    state: str
    #: ``fstab``, ``unit`` or ``generated``, by place, of what it mounts.
    mounts: Dict[str, str]
    #: The same, by file or device, of what it swaps to.
    swaps: Dict[str, str] = {}  # noqa: RUF012 - a field's default, which nobody changes
