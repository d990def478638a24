"""Lists are whole in the client, however many pages they come in."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from pydantic import BaseModel

from innkeeper.client import Inn
from innkeeper.client.calls import Call
from innkeeper.client.transport import Transport, local
from innkeeper.schedule import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType
from innkeeper.wire.identity import GrantRequest, RoleName
from innkeeper.wire.messages import Paged, WindowRequest
from tests.serving import Service

Answer = TypeVar("Answer", bound=BaseModel)


class _OneByOne(Transport):
    """Asks for pages of one entry."""

    def send(self, call: Call[Answer]) -> Answer:
        if issubclass(call.answer, Paged):
            call = dataclasses.replace(call, query={**call.query, "limit": 1})
        return super().send(call)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two entries or more in most lists."""
    running = Service(tmp_path_factory.mktemp("pages"), speed=120)
    running.start()
    with running.connect() as inn:
        folder = inn.schedule.folder().create_folder("Pages")
        (root, *_) = inn.disks.read().roots
        for name in ("a", "b", "c"):
            inn.people.give_role(GrantRequest(holder=name, realm="system", role=RoleName.VIEWER))
            inn.people.tokens.make(name)
            inn.windows.add(
                WindowRequest(
                    name=name, opens_at=dt.time(2), duration_seconds=60, dates=(dt.date(2031, 1, 1),)
                )
            )
            inn.machines["web-1"].start_communication_channel(rf"\\.\pipe\{name}", 80)
            inn.machines["web-1"].updates.book(
                label=name, identifier=name, start=dt.datetime(2031, 1, 1, tzinfo=dt.UTC)
            )
            assert inn.disks.create_dynamic(f"{root}/{name}.vhd", 4 * 2**20).wait(30)
            definition = TaskDefinition.new()
            definition.actions.create(ActionType.EXEC).path = "/bin/true"
            folder.register(name, definition)
            folder.register("Often", definition).run()
    yield running
    running.end()


@pytest.mark.parametrize(
    ("read", "fewest"),
    [
        (lambda inn: [user.name for user in inn.people.list().users], 3),
        (lambda inn: inn.people.list().realms, 0),
        (lambda inn: [token.name for token in inn.people.tokens.list().tokens], 3),
        (lambda inn: [window.name for window in inn.windows], 3),
        (lambda inn: [server.name for server in inn.servers], 1),
        (lambda inn: [channel.pipe_name for channel in inn.channels], 3),
        (lambda inn: inn.disks.read().files, 3),
        (lambda inn: inn.disks.exports, 0),
        (lambda inn: [task.path for task in inn.schedule.folder("\\Pages").tasks], 4),
        (lambda inn: [run.id for run in inn.schedule.task("\\Pages\\Often").runs()], 3),
        (lambda inn: [run.id for run in inn.schedule.history("Pages")], 3),
        (lambda inn: [run.id for run in inn.schedule.history("Pages", limit=2)], 2),
        (lambda inn: [update.identifier for update in inn.updates], 3),
        (lambda inn: [machine.name for machine in inn.machines.list()], 3),
        (lambda inn: [account.account.machine for account in inn.machines.accounts()], 3),
        (lambda inn: [host.name for host in inn.virtual_pc.read_hosts().hosts], 1),
        (lambda inn: [network.name for network in inn.virtual_pc.read_networks().networks], 1),
        (lambda inn: [device.name for device in inn.virtual_pc.read_usb_devices().devices], 0),
        (lambda inn: inn.virtual_pc.get_hard_disk_files(*inn.disks.read().roots), 3),
    ],
)
def test_a_list_is_whole(service: Service, read: Callable[[Inn], list[object]], fewest: int) -> None:
    """The same in pages of one entry as in one page."""
    one_by_one = Inn(_OneByOne(local(service.socket).door))
    try:
        with service.connect() as inn:
            whole = read(inn)
        assert read(one_by_one) == whole
        assert len(whole) >= fewest
    finally:
        one_by_one.close()
