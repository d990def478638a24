"""Fixtures for tests that run real guests: an embedded hypervisor and machines for it.

They work as an ordinary user and leave nothing behind but the guest's cache
(``INNKEEPER_TEST_CACHE``, or the user's cache directory).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from innkeeper.disks.exports import Exports
from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.libvirt import embedded_root, embedded_uri, libvirt_host, prepare_root
from innkeeper.machines.ports.host import Host
from innkeeper.wire.events import Event
from tests.guests import echo_agent, shown, tiny
from tests.guests.machines import TinyMachine, define_tiny_machine, forget
from tests.guests.tiny import TinyGuest


@pytest.fixture(scope="session")
def guest_cache() -> Path:
    """Where built guests are kept from one session to the next."""
    configured = os.environ.get("INNKEEPER_TEST_CACHE")
    return Path(configured) if configured else Path.home() / ".cache/innkeeper-tests"


@pytest.fixture(scope="session")
def echo_guest(guest_cache: Path) -> TinyGuest:
    """The tiny guest with a program on the agent's port that echoes."""
    return tiny.build(guest_cache, echo_agent.bundle())


@pytest.fixture(scope="session")
def tiny_guest(guest_cache: Path) -> TinyGuest:
    """The tiny guest with Innkeeper's task agent, set up with its script-directory plug-in."""
    from innkeeper.machines.guest.prepare import agent_bundle

    return tiny.build(guest_cache, agent_bundle())


@pytest.fixture(scope="session")
def shown_guest(guest_cache: Path) -> TinyGuest:
    """A guest with the virtio graphics driver, which follows its screen's size."""
    return shown.build(guest_cache)


@pytest.fixture(scope="session")
def state_directory() -> Iterator[Path]:
    """A private state directory where QEMU was probed; its path is short, for sockets lie below it."""
    path = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
    # In a thread: the session may have an event loop already, and this fixture serves plain tests, too.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(prepare_root(path))).result()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def hypervisor_events() -> list[Event]:
    """Everything the embedded hypervisor has published, oldest first."""
    return []


@pytest.fixture(scope="session")
async def embedded_hypervisor(state_directory: Path, hypervisor_events: list[Event]) -> AsyncIterator[Host]:
    """libvirt's embedded driver in a directory of its own, for the whole session."""
    hypervisor = libvirt_host(
        name="here",
        uri=embedded_uri(embedded_root(state_directory)),
        publish=hypervisor_events.append,
        state_directory=state_directory,
        exports=Exports(state_directory / "exports"),
    )
    await hypervisor.connection.open()
    yield hypervisor
    for machine in await hypervisor.inventory.list():
        with contextlib.suppress(InnkeeperError):
            await forget(hypervisor, machine.name)
    await hypervisor.connection.close()


@pytest.fixture
async def define_machine(
    embedded_hypervisor: Host, tiny_guest: TinyGuest, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[TinyMachine]]]:
    """Define machines with the tiny guest; they are turned off and forgotten after the test."""
    names: list[str] = []

    async def define(name: str, *, guest: TinyGuest | None = None, **options: object) -> TinyMachine:
        names.append(name)
        return await define_tiny_machine(embedded_hypervisor, guest or tiny_guest, tmp_path, name, **options)  # type: ignore[arg-type]

    yield define
    for name in names:
        with contextlib.suppress(InnkeeperError):
            await forget(embedded_hypervisor, name)
