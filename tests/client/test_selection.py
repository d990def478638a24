"""The machines of a selector are called by what means one each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from innkeeper.client.machine_collection import MachineCollection
from innkeeper.client.transport import Transport
from innkeeper.wire.messages import MachineList
from tests.serving import Service


class _Pages:
    """One page, as a service answers whose hosts share a name."""

    def __init__(self, page: MachineList) -> None:
        self._page = page

    def pages(self, _call: object) -> Iterator[MachineList]:
        yield self._page


def test_one_of_several_of_a_name_is_called_by_its_host_too(service: Service) -> None:
    """By its plain name every act on it would be refused."""
    with service.http() as http:
        page = MachineList.model_validate_json(http.get("/v1/machines").content)
    first = page.machines[0].model_copy(update={"title": f"attic/{page.machines[0].name}"})
    shared = page.model_copy(update={"machines": (first, *page.machines[1:])})
    selection = MachineCollection(cast(Transport, _Pages(shared))).select("all")
    assert [each.name for each in selection] == [first.title, *(each.name for each in page.machines[1:])]
