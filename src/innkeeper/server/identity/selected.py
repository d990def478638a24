"""Apply selectors to the machines that a caller sees, here and at other servers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role
from innkeeper.machines.directory import MachineEntry
from innkeeper.machines.selector import Described, Selector
from innkeeper.server.board import Notice
from innkeeper.server.house import House
from innkeeper.server.identity.subjects import resource_of
from innkeeper.server.relay.machines import ElsewhereNotice, RoleOn

#: How long a session is waited for that a guest's agent has.
_AGENT_SECONDS = 1.0

#: A machine here or at another server, and the caller's role on it.
Seen = tuple[Notice | ElsewhereNotice, Role]


async def selected(house: House, seen: Iterable[Seen], select: str) -> Iterator[Seen]:
    """Iterate over those of a selector. Raises ``InvalidArgument`` where it is none."""
    selector = Selector.parse(select)
    if not selector.asks_for_os:
        return (each for each in seen if selector.matches(_described(each[0])))
    known = await _all_described(house, seen, selector)
    return (each for each, described in known if selector.matches(described))


async def selected_by_known_words(house: House, seen: Iterable[Seen], select: str) -> Sequence[Seen]:
    """Return those of a selector, each word of which must name a machine that is seen, denied or not.

    Raises ``InvalidArgument`` for a word that names none, and ``MachineAmbiguous`` for a plain name of
    several: they would act on others than were meant.
    """
    selector = Selector.parse(select)
    known = await _all_described(house, seen, selector)
    selector.refuse_ambiguous([described for _, described in known])
    if unmatched := selector.unmatched([described for _, described in known]):
        words = ", ".join(f"“{word}”" for word in unmatched)
        raise InvalidArgument(
            f"No machine matches {words} in the selector “{select}”.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="innkeeper machine list shows what there is. To take the selector as it is: --allow-empty",
        )
    return [each for each, described in known if selector.matches(described)]


async def _all_described(
    house: House, seen: Iterable[Seen], selector: Selector
) -> Sequence[tuple[Seen, Described]]:
    asks = selector.asks_for_os
    return [(each, _described(each[0], await _os(house, each[0]) if asks else "")) for each in list(seen)]


def role_elsewhere(caller: Caller, select: str | None) -> RoleOn:
    """The caller's role on a machine of another server, where it is of the selector."""
    selector = None if select is None else Selector.parse(select)

    def role_on(entry: MachineEntry) -> Role | None:
        if selector is not None and not selector.matches(_described(ElsewhereNotice(entry))):
            return None
        return caller.role_on(resource_of(entry))

    return role_on


def _described(notice: Notice | ElsewhereNotice, os: str = "") -> Described:
    found = notice.machine
    return Described(name=found.name, host=found.host, labels=found.labels, state=found.state, os=os)


async def _os(house: House, notice: Notice | ElsewhereNotice) -> str:
    """Return a guest's operating system, as its agent names it; empty where none answers here."""
    if not isinstance(notice, Notice) or notice.way is None:
        return ""
    try:
        agent = await house.agents.connected(notice.machine.key, timeout=_AGENT_SECONDS)
    except InnkeeperError:  # it has gone just now
        return ""
    return agent.hello.os_name
