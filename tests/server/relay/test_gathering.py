"""Lists of all servers are put together of their parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.routing import BaseRoute

from innkeeper.server.http.paging import PageWanted
from innkeeper.server.identity.needs import declared_in
from innkeeper.server.relay.gathering import merged
from innkeeper.server.relay.reference import Gathered
from innkeeper.server.routes import tonight, updates
from innkeeper.wire.events import Json


def test_a_booking_is_listed_once_though_two_servers_title_its_machine_differently() -> None:
    """In the list of updates, and in tonight's plan."""
    row = {"key": "host/uuid", "identifier": "r3", "start": "2026-01-01T00:00:00Z"}
    for routes in (tonight.router.routes, updates.router.routes):
        (gathered,) = _gathered(routes)
        (name, _) = gathered.lists[0]
        here: Mapping[str, Json] = {name: [row | {"machine": "barn/web-3"}]}
        there: Mapping[str, Json] = {
            name: [row | {"machine": "web-3"}, row | {"machine": "web-3", "identifier": "r4"}]
        }
        found = merged(here, [there], gathered, PageWanted())[name]
        assert isinstance(found, list)
        assert len(found) == 2


def _gathered(routes: Iterable[BaseRoute]) -> list[Gathered]:
    needs = [need for _, need in declared_in(routes) if need is not None]
    return [need.on.gathered for need in needs if need.on.gathered is not None]
