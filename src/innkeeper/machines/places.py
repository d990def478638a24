"""Where machines were when their hosts were last asked: by name, and by UUID."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from innkeeper.errors import MachineAmbiguous
from innkeeper.machines.machine import Machine
from innkeeper.machines.sight import among_seen
from innkeeper.wire.events import Event, EventKind


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One machine on one host."""

    #: The host's name, and what programs call it.
    host: str
    host_id: str
    name: str
    uuid: str

    @classmethod
    def of(cls, machine: Machine) -> Place:
        """Where a machine was found."""
        return cls(host=machine.host, host_id=machine.host_id, name=machine.name, uuid=machine.uuid)

    @property
    def key(self) -> str:
        """What programs call the machine."""
        return f"{self.host_id}/{self.uuid}"

    @property
    def full_name(self) -> str:
        """The host and the name."""
        return f"{self.host}/{self.name}"


class Places:
    """The machines of all hosts, as names and UUIDs. May be read from any thread."""

    def __init__(self, *, shared: bool = False) -> None:
        """``shared``: other servers have machines too, and a directory tells of each."""
        self._shared_with_others = shared
        #: Machines here that the directory may not have yet, by their keys …
        self._new: dict[str, Place] = {}
        #: … and those of them whose namesakes elsewhere were not asked for since they came.
        self._unheard: set[Place] = set()
        #: By the host's name: each machine by its name.
        self._hosts: dict[str, dict[str, Place]] = {}
        self._by_name: dict[str, dict[str, Place]] = {}
        self._by_uuid: dict[str, dict[str, Place]] = {}
        #: The names, in small letters, that machines of several hosts here have.
        self._shared: set[str] = set()
        #: Machines of hosts that are not looked after here, whose names or UUIDs others have too.
        self._elsewhere: tuple[Place, ...] = ()
        self._elsewhere_by_name: Mapping[str, Sequence[Place]] = {}
        self._elsewhere_by_uuid: Mapping[str, Sequence[Place]] = {}
        #: Names, in small letters, that another host may have got since: all hosts are asked for them.
        self._unsure: set[str] = set()

    def listed(self, host: str, machines: Sequence[Machine]) -> None:
        """Note all machines of a host."""
        known = self._hosts.setdefault(host, {})
        fresh = [machine for machine in machines if not _is_known(known.get(machine.name), machine)]
        if not fresh and len(known) == len(machines):
            return
        there = {machine.name for machine in machines}
        for name in known.keys() - there:
            self._forget(known[name])
        for machine in fresh:
            self.note(machine)

    def note(self, machine: Machine) -> None:
        """Note one machine."""
        known = self._hosts.setdefault(machine.host, {}).get(machine.name)
        if known is not None:
            if _is_known(known, machine):
                return
            self._forget(known)
        place = Place.of(machine)
        self._hosts[place.host][place.name] = place
        same = self._by_name.setdefault(place.name.casefold(), {})
        same[place.full_name] = place
        if len(same) > 1:
            self._shared.add(place.name.casefold())
        self._by_uuid.setdefault(place.uuid, {})[place.full_name] = place
        if self._shared_with_others:
            self._new[place.key] = place
            self._unheard.add(place)

    def forget(self, host: str, name: str) -> None:
        """Forget a machine that its host has no longer."""
        if (place := self._hosts.get(host, {}).get(name)) is not None:
            self._forget(place)

    def keep_only(self, hosts: Collection[str]) -> None:
        """Forget the machines of hosts that are no longer here."""
        for host in self._hosts.keys() - set(hosts):
            for place in [*self._hosts.pop(host).values()]:
                self._forget(place)

    @property
    def new(self) -> Collection[Place]:
        """The machines here that the directory may not have yet: nothing there leads to their namesakes."""
        return tuple(self._new.values())

    @property
    def has_unheard(self) -> bool:
        """Whether there are machines here whose namesakes elsewhere nobody has asked for."""
        return bool(self._unheard)

    def is_written(self, key: str) -> bool:
        """Whether the directory has the machine with this key, which is here."""
        place = self.with_key(key)
        return place is not None and not self.is_elsewhere(place) and key not in self._new

    def written(self, places: Iterable[tuple[str, str]]) -> None:
        """Note that the directory has machines, each by its key and its name."""
        for key, name in places:
            if (place := self._new.get(key)) is not None and place.name == name:
                del self._new[key]

    def hear_elsewhere(self, namesakes: Iterable[Place], asked: Iterable[Place] = ()) -> bool:
        """Note all machines elsewhere with a name or a UUID that one here has; whether that is news.

        Of hosts that have come here since more is known: what is said of those does not count. ``asked`` are
        the new machines that were asked about beside those of the directory.
        """
        self._unheard.difference_update(asked)
        found = tuple(namesakes)
        if found == self._elsewhere:
            return False
        self._elsewhere = found
        self._elsewhere_by_name = _grouped(found, lambda place: place.name.casefold())
        self._elsewhere_by_uuid = _grouped(found, lambda place: place.uuid)
        return True

    def is_elsewhere(self, place: Place) -> bool:
        """Whether a machine's host is not looked after here."""
        return place.host not in self._hosts

    def doubt(self, name: str | None = None) -> None:
        """Note that another host may have a machine of this name, or of any."""
        if name is None:
            self._unsure.update(self._by_name)
        else:
            self._unsure.add(name.casefold())

    def doubts(self) -> Collection[str]:
        """The names that are in doubt now."""
        return frozenset(self._unsure)

    def settle(self, doubts: Collection[str]) -> None:
        """Note that the hosts were asked for all that they have since these were in doubt."""
        self._unsure.difference_update(doubts)

    def make_sure(self, name: str) -> None:
        """Note that every host that answers was asked for this name."""
        self._unsure.discard(name.casefold())

    def is_unsure(self, name: str) -> bool:
        """Whether another host may have a machine of this name."""
        return name.casefold() in self._unsure

    def at(self, host: str, name: str) -> Place | None:
        """A machine of a host, by its name."""
        return self._hosts.get(host, {}).get(name)

    def called(self, name: str) -> Sequence[Place]:
        """The machines of this name: on each host the one that has it exactly, else in other letters."""
        found: dict[str, Place] = {}
        elsewhere = filter(self.is_elsewhere, self._elsewhere_by_name.get(name.casefold(), ()))
        for place in (*self._by_name.get(name.casefold(), {}).values(), *elsewhere):
            if place.host not in found or place.name == name:
                found[place.host] = place
        return list(found.values())

    def of_shared_names(self) -> Iterator[Place]:
        """The machines whose names others have too, as far as one of them is here."""
        for name in sorted(self._shared.union(self._elsewhere_by_name)):
            found = self.called(name)
            if len(found) > 1:
                yield from found

    def with_uuid(self, uuid: str) -> Sequence[Place]:
        """The hosts' machines with this UUID."""
        elsewhere = filter(self.is_elsewhere, self._elsewhere_by_uuid.get(uuid, ()))
        return (*self._by_uuid.get(uuid, {}).values(), *elsewhere)

    def resolve(self, reference: str) -> Sequence[Place]:
        """What a name, a host and a name (``attic/web-1``), a UUID or a key can mean, of what may be seen."""
        return among_seen(self._resolve(reference))

    def _resolve(self, reference: str) -> Sequence[Place]:
        host, slash, word = reference.partition("/")
        if not slash:
            return self.called(reference) or self.with_uuid(reference)
        folded = host.casefold()
        for found in (self.called(word), self.with_uuid(word)):
            if here := [place for place in found if place.host_id == host]:
                return here
            if here := [place for place in found if place.host.casefold() == folded]:
                return here
        return ()

    def only(self, reference: str) -> Place | None:
        """The machine that a reference means; ``None`` for one never seen. Raises ``MachineAmbiguous``."""
        found = self.resolve(reference)
        if len(found) > 1:
            raise MachineAmbiguous(reference, sorted(place.full_name for place in found))
        return found[0] if found else None

    def certain(self, reference: str) -> Place | None:
        """The machine that a reference means, unless others have the name, or may have got it since."""
        found = self.resolve(reference)
        return found[0] if len(found) == 1 and not self.is_unsure(found[0].name) else None

    def with_key(self, key: str) -> Place | None:
        """The machine with this key."""
        host_id, _, uuid = key.partition("/")
        return next((place for place in self.with_uuid(uuid) if place.host_id == host_id), None)

    def placed(self, event: Event) -> Event:
        """An event of a machine, told under its title and with its key, and taken account of here.

        Its subject is a name, with the host's in its data, or a key. One of a machine that was never seen
        stays as it is.
        """
        if event.kind is EventKind.HOST_CONNECTED:
            self.doubt()
        host = event.data.get("host")
        if "/" in event.subject:
            place = self.with_key(event.subject)
        elif isinstance(host, str):
            place = self.at(host, event.subject)
        else:
            place = None
        if event.kind is EventKind.MACHINE_DEFINED:
            self.doubt(event.subject)
        if place is None:
            return event
        told = {"host": place.host, "key": place.key, **event.data}
        named = dataclasses.replace(event, subject=self.title(place), data=told)
        if event.kind is EventKind.MACHINE_UNDEFINED:
            self.forget(place.host, place.name)
        return named

    def title(self, place: Place) -> str:
        """What people call it."""
        return place.full_name if any(_other_hosts(place, self.called(place.name))) else place.name

    def marked(self, machine: Machine) -> Machine:
        """The machine, with the hosts that have others of its name, and those that have it once more."""
        if not self._is_one_of_several(machine):
            return machine
        place = Place.of(machine)
        namesakes = tuple(sorted(set(_other_hosts(place, self.called(machine.name)))))
        also_on = tuple(sorted(set(_other_hosts(place, self.with_uuid(machine.uuid)))))
        if not namesakes and not also_on:
            return machine
        return dataclasses.replace(machine, namesakes=namesakes, also_on=also_on)

    def _is_one_of_several(self, machine: Machine) -> bool:
        """Whether another may have its name or its UUID: a quick look, for nearly none has."""
        name = machine.name.casefold()
        return (
            len(self._by_name.get(name, ())) > 1
            or len(self._by_uuid.get(machine.uuid, ())) > 1
            or name in self._elsewhere_by_name
            or machine.uuid in self._elsewhere_by_uuid
        )

    def _forget(self, place: Place) -> None:
        self._unheard.discard(place)
        if self._new.get(place.key) is place:
            del self._new[place.key]
        self._hosts.get(place.host, {}).pop(place.name, None)
        for index, by in ((self._by_name, place.name.casefold()), (self._by_uuid, place.uuid)):
            index[by].pop(place.full_name, None)
            if not index[by]:
                del index[by]
        if len(self._by_name.get(place.name.casefold(), ())) < 2:
            self._shared.discard(place.name.casefold())


def _grouped(places: Iterable[Place], by: Callable[[Place], str]) -> Mapping[str, Sequence[Place]]:
    found: dict[str, list[Place]] = {}
    for place in places:
        found.setdefault(by(place), []).append(place)
    return found


def _is_known(place: Place | None, machine: Machine) -> bool:
    return place is not None and place.uuid == machine.uuid and place.host_id == machine.host_id


def _other_hosts(place: Place, others: Iterable[Place]) -> Iterator[str]:
    return (other.host for other in others if other.host != place.host)
