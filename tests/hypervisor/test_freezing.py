"""Whatever a guest's freeze hooks take, and whoever is killed meanwhile, no guest is left frozen."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from innkeeper.hypervisor.libvirt import embedded_root
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import Consistency, UndoPoint
from innkeeper.tasks.clock import SystemClock
from tests.guests import tiny
from tests.guests.machines import GUEST_AGENT_PORT, TinyMachine, tiny_definition
from tests.guests.tiny import TinyGuest
from tests.hypervisor.service import Service
from tests.hypervisor.test_embedded import agent_answers

pytestmark = pytest.mark.qemu

_NAME = "frozen"


@pytest.fixture
def service(state_directory: Path, tiny_guest: TinyGuest) -> Iterator[Service]:
    """A host of its own, with a machine that runs and whose agent answers."""
    path = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
    cache = "cache/qemu/capabilities"
    shutil.copytree(embedded_root(state_directory) / cache, embedded_root(path) / cache)
    service = Service(path)
    machine = TinyMachine(name=_NAME, disk=path / "base.qcow2", console=path / "console")
    tiny.data_disk(machine.disk, format="qcow2")
    service.run("define", tiny_definition(machine, tiny_guest, "qcow2", GUEST_AGENT_PORT))
    service.run("start", _NAME)
    yield service
    service.kill_qemu()
    shutil.rmtree(path)


def _asked(step: int, _: int) -> bool:
    return step == 1


def _frozen(step: int, _: int) -> bool:
    return step == 2


async def test_a_guest_whose_hook_outlasts_the_wait_is_thawed_once_it_ends(
    embedded_hypervisor: Host,
    define_machine: Callable[..., Awaitable[TinyMachine]],
) -> None:
    """The undo point is taken without a freeze then, of a guest that has said that it is thawed."""
    host = embedded_hypervisor
    await define_machine("hooked")
    await host.lifecycle.start("hooked")
    await agent_answers(host, "hooked")
    await host.guest_agents.write_file("hooked", "/data/hook-seconds", b"8")
    said: list[str] = []
    plan = await plan_undo_point(host, await host.inventory.get("hooked"), 7, UndoRules())
    undo, began = UndoPoint(host, plan, clock=SystemClock()), time.monotonic()
    assert await undo.take(freeze_seconds=10, hook_seconds=2, say=said.append) is Consistency.CRASH
    assert time.monotonic() - began >= 8
    assert "has not done so within 2 seconds" in said[0]
    assert not await host.guest_agents.is_frozen("hooked")
    assert not (await host.inventory.get("hooked")).freezing_since
    # And what is quick enough is frozen as ever.
    await host.guest_agents.write_file("hooked", "/data/hook-seconds", b"0")
    await undo.merge()
    await undo.delete_files()
    assert await undo.take(freeze_seconds=10, hook_seconds=20) is Consistency.FROZEN
    assert not await host.guest_agents.is_frozen("hooked")


@pytest.mark.parametrize("killed", ["in the hook", "frozen"])
def test_a_guest_that_a_killed_service_froze_is_thawed_by_the_next(service: Service, killed: str) -> None:
    """Also where the hook ends after the kill, and the guest freezes with nobody there."""
    service.run("have_hooks_take", _NAME, 4)
    service.kill_in_the_middle("freeze", _NAME, 30, 600, at=_asked if killed == "in the hook" else _frozen)
    if killed == "frozen":
        assert service.run("is_frozen", _NAME) is True
    took = service.run("thaw_what_is_owed", _NAME)
    assert service.run("is_frozen", _NAME) is False
    assert isinstance(took, float)
    assert took < 60
