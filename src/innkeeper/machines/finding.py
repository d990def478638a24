"""Find the machine that a reference means, over all hosts."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from innkeeper.errors import ErrorCode, HypervisorError, InnkeeperError, MachineAmbiguous, MachineNotFound
from innkeeper.machines.asking import Answers, ask, ask_all, is_away
from innkeeper.machines.description import MachineDescription
from innkeeper.machines.machine import Machine
from innkeeper.machines.places import Place, Places
from innkeeper.machines.ports.host import Host
from innkeeper.machines.sight import among_seen

T = TypeVar("T", Machine, MachineDescription)

#: Asks a host about one of its machines, by the machine's name there.
Question = Callable[[Host, str], Awaitable[T]]


class Finder:
    """Finds machines by names, hosts and names (``attic/web-1``), UUIDs, and keys.

    The host that had it last is asked first, and alone: another that is away is nothing to its machines.
    """

    def __init__(self, hosts: Mapping[str, Host], places: Places) -> None:
        self._hosts = hosts
        self._places = places

    async def find(self, reference: str, question: Question[T]) -> T:
        """What the host that has the machine answers.

        Raises ``MachineNotFound``, or ``MachineAmbiguous``; and what a host says that may have it, and is
        away: nobody else knows what became of the machine.
        """
        place = self._place(reference)
        if place is not None:
            with contextlib.suppress(MachineNotFound):
                return await self._ask_at(place, question)
            self._places.forget(place.host, place.name)
        return await self._look_everywhere(reference, question)

    def _place(self, reference: str) -> Place | None:
        """Where the machine was last; ``None`` where nobody knows. Raises ``MachineAmbiguous``."""
        return self._only(reference, self._places.resolve(reference))

    def _only(self, reference: str, found: Sequence[Place]) -> Place | None:
        found = [each for each in found if each.host in self._hosts or self._places.is_elsewhere(each)]
        if len(found) == 1 and reference in (found[0].key, found[0].uuid):
            # Whatever else has its name.
            return None if self._places.is_elsewhere(found[0]) else found[0]
        if len(found) > 1 and any(self._places.is_unsure(place.name) for place in found):
            return None
        if len(found) > 1:
            raise MachineAmbiguous(reference, sorted(place.full_name for place in found))
        if not found or self._places.is_unsure(found[0].name) or self._places.is_elsewhere(found[0]):
            return None
        return found[0]

    def _hosts_called(self, name: str) -> Sequence[Host]:
        """The hosts with this id; else with this name, whatever the case of its letters."""
        named = [host for host in self._hosts.values() if host.id == name]
        return named or [host for host in self._hosts.values() if host.name.casefold() == name.casefold()]

    async def _ask_at(self, place: Place, question: Question[T]) -> T:
        """Ask a host about a machine. Raises ``MachineNotFound`` where it has another of that name now."""
        found = await ask(self._hosts[place.host], lambda host: question(host, place.name))
        machine = _machine(found)
        self._places.note(machine)
        if machine.uuid != place.uuid:
            raise MachineNotFound(f"{place.full_name} is another machine now.", machine=place.name)
        return found

    # Without knowing where it is

    async def _look_everywhere(self, reference: str, question: Question[T]) -> T:
        name, _, word = reference.partition("/")
        if not word:
            return await self._look_by_name(reference, question)
        hosts = self._hosts_called(name)
        if hosts and hosts[0].id != name:
            with contextlib.suppress(MachineNotFound):
                found = await ask(hosts[0], lambda host: question(host, word))
                self._places.note(_machine(found))
                return found
        await self._list(hosts)
        if (place := self._place(reference)) is not None:
            return await self._ask_at(place, question)
        if hosts and hosts[0].id != name:
            raise _not_found(reference, ())
        return await self._look_where_it_went(reference, word, question, [host.name for host in hosts])

    async def _look_by_name(self, name: str, question: Question[T]) -> T:
        answers = await ask_all(self._hosts.values(), lambda host: question(host, name))
        for error in answers.missing.values():
            if not isinstance(error, MachineNotFound) and not is_away(error):
                raise error
        for found in answers.given.values():
            self._places.note(_machine(found))
        self._places.make_sure(name)
        if len(answers.given) == 1 and len(self._places.called(name)) == 1:
            return next(iter(answers.given.values()))
        listed = answers if answers.given else await self._list(self._hosts.values())
        place = self._place(name)
        if place is not None:
            return await self._ask_at(place, question)
        raise _not_found(name, [host for host, error in listed.missing.items() if is_away(error)])

    async def _look_where_it_went(
        self, reference: str, uuid: str, question: Question[T], former: Collection[str]
    ) -> T:
        """A key means a machine, wherever it was taken to: its former host, if it is here, must say that.

        While that does not answer, another of the same UUID may be a copy, which nobody has asked for.
        """
        answers = await self._list(self._hosts.values())
        if answers.missing.keys().isdisjoint(former):
            place = self._only(reference, among_seen(self._places.with_uuid(uuid)))
            if place is not None:
                return await self._ask_at(place, question)
        raise _not_found(reference, sorted(answers.missing))

    async def _list(self, hosts: Iterable[Host]) -> Answers[Sequence[Machine]]:
        answers = await ask_all(hosts, lambda host: host.inventory.list())
        for host, machines in answers.given.items():
            self._places.listed(host, machines)
        return answers


def _machine(found: Machine | MachineDescription) -> Machine:
    return found if isinstance(found, Machine) else found.machine


def _not_found(reference: str, away: Sequence[str]) -> InnkeeperError:
    if away:
        return HypervisorError(
            f"No host that answers has a machine “{reference}”, and not all do: {', '.join(sorted(away))}.",
            code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
            advice="innkeeper host list says what is wrong with them.",
        )
    return MachineNotFound(
        f"There is no machine “{reference}”.",
        machine=reference,
        advice="innkeeper machine list shows all of them.",
    )
