"""Build the agent's one file once, and give each test a guest of its own."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from innkeeper.machines.guest.bundle import BUNDLE_NAME, agent_bundle
from tests.agent.managed import PacmanGuest, RpmGuest, Workshop
from tests.agent.rig import Guest, Host, guest_of, host_of
from tests.kits.rig import SHELLS, KitHost

#: Who does the work of an update, one promise for all; these shells are those of the managers' distributions.
WORKERS = ("agent", "busybox", "bash")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent as it is shipped."""
    path = tmp_path_factory.mktemp("bundle") / BUNDLE_NAME
    path.write_bytes(agent_bundle())
    return path


@pytest.fixture
def guest(bundle: Path) -> Iterator[Guest]:
    """A guest with the script plug-in."""
    with guest_of(bundle) as guest:
        guest.use_plugin("innkeeper.scripts")
        yield guest


@pytest.fixture
async def host(guest: Guest) -> AsyncIterator[Host]:
    """The host of that guest."""
    async with host_of(guest) as host:
        yield host


@pytest.fixture(params=["agent", "busybox"])
async def any_host(guest: Guest, request: pytest.FixtureRequest) -> AsyncIterator[Host | KitHost]:
    """The host of that guest, which asks its agent, or a kit: one promise for both."""
    if request.param in SHELLS:
        yield KitHost(guest, request.param)
        return
    async with host_of(guest) as host:
        yield host


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """What builds packages, each once."""
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(params=WORKERS)
def rpm_guest(workshop: Workshop, bundle: Path, request: pytest.FixtureRequest) -> Iterator[RpmGuest]:
    """A guest with an empty repository of rpms, that is updated by the agent, or by a kit."""
    with contextlib.closing(RpmGuest(workshop, bundle)) as guest:
        guest.shell = SHELLS.get(request.param, ())
        yield guest


@pytest.fixture(scope="session")
def dnf_plugins(guest_cache: Path) -> Path:
    """Debian's package of dnf's own plug-ins, which cannot be installed beside zypper."""
    directory = guest_cache / "dnf-plugins"
    directory.mkdir(parents=True, exist_ok=True)
    if not list(directory.glob("*.deb")):
        download = ["apt-get", "-q", "download", "dnf-plugins-core"]
        if subprocess.run(download, cwd=directory, check=False, capture_output=True).returncode != 0:
            pytest.skip("apt-get cannot download dnf-plugins-core here")
    return next(directory.glob("*.deb"))


@pytest.fixture(params=WORKERS)
def pacman_guest(workshop: Workshop, bundle: Path, request: pytest.FixtureRequest) -> Iterator[PacmanGuest]:
    """A guest of Arch's package manager with an empty repository, updated by the agent, or by a kit."""
    with contextlib.closing(PacmanGuest(workshop, bundle)) as guest:
        guest.shell = SHELLS.get(request.param, ())
        yield guest
