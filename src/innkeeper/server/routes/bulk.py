"""Routes of acts on many machines by a selector, answered by one line a machine (NDJSON)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeGuard
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument, MachineError, NotPermitted
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role
from innkeeper.machines.directory import EVERY_MACHINE, MachineEntry
from innkeeper.machines.machine import Machine
from innkeeper.server import forgotten
from innkeeper.server.board import Notice
from innkeeper.server.house import House
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.selected import (
    Seen,
    role_elsewhere,
    selected,
    selected_by_known_words,
)
from innkeeper.server.identity.subjects import resource_of, what_they_see
from innkeeper.server.relay.machines import ElsewhereNotice, page_of_elsewhere
from innkeeper.server.relay.transport import NotMine, Unanswered, unanswered
from innkeeper.server.routes.asking import TheCaller, TheHouse, TheNote
from innkeeper.updates.bulk import Outcome
from innkeeper.wire import bulk as wire
from innkeeper.wire.events import Json
from innkeeper.wire.messages import Problem

router = APIRouter(tags=["updates"])

_NDJSON = "application/x-ndjson"
_LINES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": wire.BulkLine, "description": "One line a machine.", "content": {_NDJSON: {}}}
}
#: How many machines are labelled at once.
_AT_ONCE = 8
#: Lines that are sent in one piece.
_LINES_A_PIECE = 500


@router.post(
    "/updates/book",
    operation_id="book_updates",
    response_class=StreamingResponse,
    responses=_LINES,
    dependencies=needs(Role.OPERATOR, what_they_see),
)
async def book_updates(
    request: wire.BulkBookRequest, house: TheHouse, caller: TheCaller, note: TheNote
) -> StreamingResponse:
    """Book one update for all machines of a selector, in one transaction; one line tells of each."""
    chosen = await _choose(house, caller, Role.OPERATOR, request)
    note(chosen.words)
    if request.dry_run:
        return _answer(chosen.planned(request.identifier))
    outcomes = await house.bookings.book_many(
        chosen.titles,
        label=request.label,
        identifier=request.identifier,
        start=request.start,
        end=request.end,
        deadline=request.deadline,
        context=request.context,
        booked_by=caller.name,
    )
    return _answer([*chosen.refused, *chosen.lines(outcomes)])


@router.post(
    "/updates/cancel",
    operation_id="cancel_updates",
    response_class=StreamingResponse,
    responses=_LINES,
    dependencies=needs(Role.OPERATOR, what_they_see),
)
async def cancel_updates(
    request: wire.BulkCancelRequest, house: TheHouse, caller: TheCaller, note: TheNote
) -> StreamingResponse:
    """Take back what is booked for all machines of a selector, and has not started; a line for each.

    Machines count too of which nothing is left but what is booked for them.
    """
    chosen = await _choose(house, caller, Role.OPERATOR, request, only_booked=True)
    note(chosen.words)
    if request.dry_run:
        waiting = await house.bookings.cancellable(chosen.titles, request.identifier)
        return _answer([*chosen.refused, *chosen.lines(waiting, wire.BulkOutcome.PLANNED)])
    outcomes = await house.bookings.cancel_many(chosen.titles, request.identifier)
    return _answer([*chosen.refused, *chosen.lines(outcomes)])


@router.post(
    "/machines/label",
    operation_id="label_machines",
    response_class=StreamingResponse,
    responses=_LINES,
    dependencies=needs(Role.ADMINISTRATOR, what_they_see),
)
async def label_machines(
    request: wire.BulkLabelRequest, house: TheHouse, caller: TheCaller, note: TheNote
) -> StreamingResponse:
    """Give labels to all machines of a selector, or take labels from them; a line for each, as it is done."""
    if not request.add and not request.remove:
        raise InvalidArgument("No label is named.", advice="Give labels to add, to remove, or both.")
    chosen = await _choose(house, caller, Role.ADMINISTRATOR, request)
    note(chosen.words)
    if request.dry_run:
        return _answer([*chosen.refused, *[await _planned(house, each) for each in chosen.machines]])
    # Before the answer begins: the audit log is told how it came out.
    lines = [line async for line in _label(house, caller, chosen.machines, request)]
    return _answer([*chosen.refused, *lines])


@router.post(
    "/windows/{name}/machines",
    operation_id="put_machines_into_window",
    response_class=StreamingResponse,
    responses=_LINES,
    dependencies=needs(Role.ADMINISTRATOR),
)
async def put_machines_into_window(
    name: str, request: wire.BulkWindowRequest, house: TheHouse, caller: TheCaller, note: TheNote
) -> StreamingResponse:
    """Put all machines of a selector into a window, or take them out of it; a line for each."""
    chosen = await _choose(house, caller, Role.ADMINISTRATOR, request)
    note(f"window {name}, {chosen.words}")
    windows, machines = house.windows, chosen.machines
    if request.dry_run and request.remove:
        outcomes = await windows.covered_still(name, machines)
        return _answer([*chosen.refused, *chosen.lines(outcomes, wire.BulkOutcome.PLANNED)])
    if request.dry_run:
        await windows.get(name)
        return _answer(chosen.planned(None))
    outcomes = await (windows.uncover if request.remove else windows.cover)(name, machines)
    house.trigger.wake()
    return _answer([*chosen.refused, *chosen.lines(outcomes)])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Chosen:
    """The machines of a selector that the caller may act on, and lines about those that they may not."""

    machines: Sequence[Machine | MachineEntry]
    refused: Sequence[wire.BulkLine]

    @property
    def words(self) -> str:
        """For the audit log: all of them."""
        return "machines " + ", ".join(each.title for each in self.machines)

    @property
    def titles(self) -> Mapping[str, str]:
        """What people call them, by their keys."""
        return {each.key: each.title for each in self.machines}

    def planned(self, identifier: str | None) -> Sequence[wire.BulkLine]:
        """What would be done."""
        planned = (
            wire.BulkLine(
                machine=each.title, host=each.host, identifier=identifier, outcome=wire.BulkOutcome.PLANNED
            )
            for each in self.machines
        )
        return [*self.refused, *planned]

    def lines(
        self, outcomes: Iterable[Outcome], done: wire.BulkOutcome = wire.BulkOutcome.DONE
    ) -> Iterator[wire.BulkLine]:
        """What was done."""
        hosts = {each.title: each.host for each in self.machines}
        for outcome in outcomes:
            yield _line(
                outcome.machine, hosts.get(outcome.machine, ""), outcome.identifier, outcome.error, done
            )


async def _choose(
    house: House, caller: Caller, role: Role, request: wire.BulkRequest, *, only_booked: bool = False
) -> _Chosen:
    """Find the machines. Raises ``InvalidArgument`` for no selector, or for one that matches nothing."""
    machines: list[Machine | MachineEntry] = []
    refused: list[wire.BulkLine] = []
    for notice, held in await _found(house, caller, request, only_booked=only_booked):
        found = notice.machine
        if held >= role:
            machines.append(found)
        else:
            error = NotPermitted(f"{caller.name} needs the role {role.word} on {found.title} for this.")
            refused.append(_line(found.title, found.host, None, error))
    if not machines and not refused and not request.allow_empty:
        raise InvalidArgument(
            f"No machine matches the selector “{request.select}”.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="innkeeper machine list shows what there is. To take an empty selection: --allow-empty",
        )
    return _Chosen(machines=machines, refused=refused)


async def _found(
    house: House, caller: Caller, request: wire.BulkRequest, *, only_booked: bool
) -> Sequence[Seen]:
    """The machines of a selector that the caller sees, at all servers."""
    notices = await house.board.all()
    met, known = house.board.met, {notice.machine.key for notice in notices}
    seen: list[Seen] = list(_seen(notices, caller))
    role_on = role_elsewhere(caller, None)

    def noting(entry: MachineEntry) -> Role | None:
        known.add(entry.key)
        return role_on(entry)

    if house.neighbours is not None:
        seen += await page_of_elsewhere(
            house.neighbours, EVERY_MACHINE, met=met, after=None, limit=None, role_on=noting
        )
    if only_booked:
        left = [
            (ElsewhereNotice(entry), role_on(entry)) for entry in await forgotten.only_booked(house, known)
        ]
        seen += [(notice, held) for notice, held in left if held is not None]
    if request.allow_empty:
        return list(await selected(house, seen, request.select))
    return await selected_by_known_words(house, seen, request.select)


def _seen(notices: Iterable[Notice], caller: Caller) -> Iterator[Seen]:
    for notice in notices:
        held = caller.role_on(resource_of(notice.machine))
        if held is not None:
            yield notice, held


def _is_elsewhere(each: Machine | MachineEntry, house: House) -> TypeGuard[MachineEntry]:
    """Whether another server looks after a machine's host, or nobody does."""
    own = () if house.neighbours is None else house.neighbours.own_hosts()
    return isinstance(each, MachineEntry) and each.host_id not in own


async def _planned(house: House, each: Machine | MachineEntry) -> wire.BulkLine:
    error: InnkeeperError | None = None
    if _is_elsewhere(each, house) and house.neighbours is not None:
        care = await house.neighbours.care_of(each.host_id)
        error = None if care.answers else care.refusal(each.host)
    return _line(each.title, each.host, None, error, wire.BulkOutcome.PLANNED)


async def _label(
    house: House, caller: Caller, machines: Sequence[Machine | MachineEntry], request: wire.BulkLabelRequest
) -> AsyncIterator[wire.BulkLine]:
    settings, room = house.equipment.settings, asyncio.Semaphore(_AT_ONCE)

    async def label(each: Machine | MachineEntry) -> wire.BulkLine:
        error: InnkeeperError | None = None
        async with room:
            try:
                if _is_elsewhere(each, house):
                    await _label_elsewhere(house, caller, each, request)
                    return _line(each.title, each.host, None, None)
                if request.add:
                    await settings.add_labels(each.key, list(request.add))
                if held := [label for label in request.remove if label in each.labels]:
                    await settings.remove_labels(each.key, held)
            except InnkeeperError as refusal:
                error = refusal
        return _line(each.title, each.host, None, error)

    for line in asyncio.as_completed([label(each) for each in machines]):
        yield await line


async def _label_elsewhere(
    house: House, caller: Caller, entry: MachineEntry, request: wire.BulkLabelRequest
) -> None:
    """Label a machine at the server that looks after it, in the caller's name; raises what that refuses."""
    assert house.neighbours is not None  # or there were nothing elsewhere
    care = await house.neighbours.care_of(entry.host_id)
    if not care.answers or care.owner is None:
        raise care.refusal(entry.host)
    labels = f"/v1/machines/{quote(entry.key, safe='')}/labels"
    acts: list[tuple[str, str, Json]] = []
    if request.add:
        acts.append(("POST", labels, {"labels": list(request.add)}))
    held = [label for label in request.remove if label in entry.labels]
    acts += [("DELETE", f"{labels}/{quote(label, safe='')}", None) for label in held]
    for act in acts:
        try:
            status, content = await house.neighbours.transport.act(care.owner, caller, *act)
        except NotMine as error:
            house.neighbours.look_again()
            raise unanswered(care.owner, "it does not look after this any more") from error
        except Unanswered as silence:
            raise silence.error() from silence
        if status >= 400:
            raise _refusal(entry, content)


def _refusal(entry: MachineEntry, content: bytes) -> InnkeeperError:
    problem = Problem.model_validate_json(content)
    known = ErrorCode.__members__.get(problem.code, ErrorCode.E_FAIL)
    return MachineError(problem.detail, machine=entry.name, code=known, advice=problem.advice)


def _line(
    name: str,
    host: str,
    identifier: str | None,
    error: InnkeeperError | None,
    done: wire.BulkOutcome = wire.BulkOutcome.DONE,
) -> wire.BulkLine:
    return wire.BulkLine(
        machine=name,
        host=host,
        identifier=identifier,
        outcome=done if error is None else wire.BulkOutcome.REFUSED,
        reason="" if error is None else error.sentence,
        code="" if error is None else error.code.name,
    )


def _answer(lines: Sequence[wire.BulkLine]) -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        for start in range(0, len(lines), _LINES_A_PIECE):
            some = lines[start : start + _LINES_A_PIECE]
            yield "".join(f"{line.model_dump_json()}\n" for line in some)

    return StreamingResponse(pieces(), media_type=_NDJSON)
