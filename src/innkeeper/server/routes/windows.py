"""Routes of windows: when machines may be maintained."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from fastapi import APIRouter, Request, Response

from innkeeper.errors import ChangedMeanwhile, InvalidArgument
from innkeeper.identity.roles import Role
from innkeeper.server.house import House
from innkeeper.server.http.conditional import is_known, tag_of
from innkeeper.server.http.paging import ThePage, by_fields
from innkeeper.server.identity.needs import needs
from innkeeper.server.messages import window_message, window_of
from innkeeper.server.routes.asking import TheHouse
from innkeeper.server.shared_names import of_shared_names
from innkeeper.updates.machine_name import is_glob
from innkeeper.updates.window import Window
from innkeeper.wire import messages as wire

router = APIRouter(prefix="/windows", tags=["windows"])


@router.get("", operation_id="list_windows", dependencies=needs(Role.VIEWER))
async def list_windows(house: TheHouse, page: ThePage) -> wire.WindowList:
    """All windows, by name."""
    now, titles = house.clock.now(), await _shared_titles(house)
    found = page.of(await house.windows.list(), by_fields("name"))
    return wire.WindowList(
        windows=tuple(_told(window, now, titles) for window in found.entries), next_after=found.next_after
    )


@router.post("", status_code=201, operation_id="add_window", dependencies=needs(Role.ADMINISTRATOR))
async def add_window(request: wire.WindowRequest, house: TheHouse) -> wire.WindowMessage:
    """Add a window, or replace the one of this name."""
    return await _add(request, house, None)


@router.get("/{name}", operation_id="get_window", dependencies=needs(Role.VIEWER))
async def get_window(name: str, house: TheHouse, response: Response) -> wire.WindowMessage:
    """One window; its ETag is that of its settings, whether it is open or not."""
    window, now = await house.windows.get(name), house.clock.now()
    response.headers["ETag"] = _tag(window_message(window, now))
    return _told(window, now, await _shared_titles(house))


@router.put("/{name}", operation_id="put_window", dependencies=needs(Role.ADMINISTRATOR))
async def put_window(
    name: str, request: wire.WindowRequest, house: TheHouse, http: Request
) -> wire.WindowMessage:
    """Replace or add a window; with ``If-Match`` only where nobody has changed it since.

    With ``If-None-Match: *`` only where there is none of this name.
    """
    if request.name != name:
        raise InvalidArgument(
            f"The window is called “{request.name}” in the request and “{name}” in its address.",
            advice="To rename a window, add it under its new name and remove the old one.",
        )
    is_new = http.headers.get("if-none-match", "").strip() == "*"
    return await _add(request, house, await _seen(name, house, http), is_new=is_new)


@router.delete(
    "/{name}", status_code=204, operation_id="remove_window", dependencies=needs(Role.ADMINISTRATOR)
)
async def remove_window(name: str, house: TheHouse, http: Request) -> None:
    """Remove a window."""
    await house.windows.remove(name, seen=await _seen(name, house, http))
    house.trigger.wake()


async def _add(
    request: wire.WindowRequest, house: House, seen: Window | None, *, is_new: bool = False
) -> wire.WindowMessage:
    await house.board.all()
    window = await house.windows.add(window_of(request), seen=seen, is_new=is_new)
    house.trigger.wake()
    told = _told(window, house.clock.now(), await _shared_titles(house))
    return told.model_copy(update={"unknown": _unknown(window)})


async def _shared_titles(house: House) -> Mapping[tuple[str, str], str]:
    """The names in full, by name and UUID, of machines whose names others have too."""
    shared = await of_shared_names(house)
    return {(each.name.casefold(), each.uuid): f"{each.host}/{each.name}" for each in shared}


def _told(window: Window, now: dt.datetime, titles: Mapping[tuple[str, str], str]) -> wire.WindowMessage:
    """A window as people read it: a name that several machines have by now stands behind its host's."""
    pins = dict(window.pins)
    names = ((name, name.casefold()) for name in window.machines)
    machines = tuple(titles.get((folded, pins.get(folded, "")), name) for name, folded in names)
    return window_message(window, now).model_copy(update={"machines": machines})


def _unknown(window: Window) -> tuple[str, ...]:
    """The names that no machine has which is known; patterns are for whatever may come."""
    known = {named for named, _ in window.pins}
    names = ((name, name.casefold()) for name in window.machines)
    return tuple(name for name, folded in names if folded not in known and not is_glob(folded))


async def _seen(name: str, house: House, http: Request) -> Window | None:
    """Return the window that the request is meant for, where it has a condition: no other is changed."""
    condition = http.headers.get("if-match")
    if condition is None:
        return None
    window = await house.windows.get(name)
    if not is_known(_tag(window_message(window, house.clock.now())), condition):
        raise ChangedMeanwhile(f"The window “{name}”")
    return window


def _tag(window: wire.WindowMessage) -> str:
    return tag_of(window.model_dump_json(exclude={"open_now", "next", "unknown"}).encode())
