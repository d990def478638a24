"""Details of a guest's health: its units, what listens, what is mounted; an old agent tells none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UnitFacts:
    """A unit of systemd's, or a service of another init, that runs, is to run, or has failed."""

    name: str
    aliases: tuple[str, ...] = ()
    #: ``active``, ``activating``, ``inactive``, ``failed``, …
    active: str
    #: The same more exactly: ``running``, ``auto-restart``, …
    sub: str = ""
    #: ``simple``, ``oneshot``, … of a service of systemd's.
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
    triggers: tuple[str, ...] = ()
    #: Whether its init is about to change its state.
    has_job: bool = False
    #: Since when it is in this state, in seconds.
    age: int = 0

    @property
    def is_expected(self) -> bool:
        """Return whether the boot starts it, not somebody."""
        return self.wanted or self.enablement.startswith("enabled")

    @property
    def is_starting(self) -> bool:
        """Return whether its start is under way; a pause between two crashes is none."""
        is_under_way = self.active in ("activating", "reloading", "refreshing") and not self.is_between_starts
        return is_under_way or (self.active == "inactive" and self.has_job)

    @property
    def is_between_starts(self) -> bool:
        """Return whether its init waits before it starts it again, after an end by itself."""
        return self.sub.startswith("auto-restart")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Listener:
    """A socket that waits for somebody."""

    #: ``tcp`` or ``udp``.
    protocol: str
    address: str
    port: int
    #: Empty where the guest cannot say, or the kernel itself holds it.
    unit: str = ""
    program: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A file system that fstab or a unit wants where it is, or the root."""

    place: str
    kind: str
    read_only: bool = False
    #: ``fstab``, ``unit`` or ``generated``; empty for the root of a guest whose fstab does not name it.
    origin: str = ""
    #: As fstab has them.
    options: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A network, and by which device a guest reaches it."""

    #: ``ipv4`` or ``ipv6``; empty for a card by itself.
    family: str
    #: ``default``, or a network that a card is in; empty for a card by itself.
    network: str
    device: str
    #: ``card`` (also a bridge, bond or VLAN over one), ``ethernet`` (of programs), ``tunnel``.
    kind: str = "card"
    #: Whether its device has a link.
    is_linked: bool = True
    #: Whether it is switched on; so is that of a guest that does not say.
    is_up: bool = True
    #: Of a network of IPv4 that a card is in: the guest's addresses there; none where it does not say.
    addresses: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StaleProgram:
    """A program that still runs a file that was replaced."""

    #: Empty where no unit has it.
    unit: str
    program: str
    path: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """Whether an update has taken effect."""

    #: What only a reboot changes; empty where nothing waits for one.
    reboot: str = ""
    stale: tuple[StaleProgram, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PastBoot:
    """How a boot before this one went, as the guest watched it."""

    #: For how many seconds after the boot it was watched.
    watched: int
    #: ``tcp/80`` → at most so many seconds after the boot somebody listened on it.
    ports: Mapping[str, int]
    #: The load when it was looked at last, in hundredths, and the memory that could be had, in MiB.
    load: int = 0
    free_mib: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuestDetails:
    """What a guest tells of itself beside its health report's lists."""

    #: Seconds since its boot.
    uptime: int
    units: Mapping[str, UnitFacts]
    #: The names of the units that are installed.
    unit_files: frozenset[str] = frozenset()
    listeners: tuple[Listener, ...] = ()
    #: The range of ports that its kernel gives to whoever asks for any.
    any_ports: tuple[int, int] = (32768, 60999)
    mounts: tuple[Mount, ...] = ()
    #: Its default routes, and what its cards are in; ``None`` where it cannot say.
    routes: tuple[Route, ...] | None = None
    #: The addresses that managers of a cluster, which run, give to one of its machines at a time; ``default``
    #: where they do so with a default route.
    floating: frozenset[str] = frozenset()
    #: What is wrong with its package database, a line each.
    complaints: frozenset[str] = frozenset()
    #: The units that its journal has seen fail in the week before.
    failed_lately: frozenset[str] = frozenset()
    #: The last boots before this one, the newest last.
    boots: tuple[PastBoot, ...] = ()

    def usual_seconds(self, port: str) -> int:
        """How long after a boot this port is listened on, by the boots before; 0 where none tells."""
        return max((boot.ports.get(port, 0) for boot in self.boots), default=0)

    def unit(self, name: str) -> UnitFacts | None:
        """The unit of this name, or that has it beside another."""
        found = self.units.get(name)
        return found or next((unit for unit in self.units.values() if name in unit.aliases), None)

    def is_installed(self, name: str) -> bool:
        """Whether there is such a unit, or the template of such an instance."""
        base, at, rest = name.partition("@")
        template = f"{base}@.{rest.rpartition('.')[2]}" if at else name
        return name in self.unit_files or template in self.unit_files
