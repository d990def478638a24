"""Timers of the guest's own package managers stand still while it is updated, by its agent or by a kit."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.wire.states import UpdateStatus
from tests.agent.rig import Guest, Host, appears, ended, host_of
from tests.kits.rig import SHELLS, KitHost

_SYSTEMCTL = """
case "$1" in
is-active) shift; echo "Warning: some.timer changed on disk." >&2; for unit; do case $unit in
    -q) ;;
    dnf-makecache.timer | os-update.timer | packagekit.service) echo active ;;
    *) echo inactive ;;
    esac; done ;;
stop) echo "$@" >>"$ROOT/called" ;;
--no-block) shift; echo "$@" >>"$ROOT/called" ;;
esac
"""
STOPPED = ["stop dnf-makecache.timer os-update.timer", "PackageKit"]
STARTED = ["start dnf-makecache.timer os-update.timer"]


@pytest.fixture(params=["agent", *SHELLS])
async def any_host(guest: Guest, request: pytest.FixtureRequest) -> AsyncIterator[Host | KitHost]:
    """The host of a guest with systemd, and with an update that writes down that it ran."""
    guest.environment.update(ROOT=str(guest.root), INNKEEPER_BACKEND="scripts")
    guest.program("systemctl", _SYSTEMCTL)
    guest.program("systemd-run", "exit 1")
    guest.program("busctl", 'echo PackageKit >>"$ROOT/called"')
    (guest.root / "run/systemd/system").mkdir(parents=True)
    if request.param in SHELLS:
        yield KitHost(guest, request.param)
        return
    async with host_of(guest) as host:
        guest.start()
        yield host


async def test_they_are_stopped_and_started_again(guest: Guest, any_host: Host | KitHost) -> None:
    """Those alone that had run; PackageKit is asked to end by itself."""
    guest.script("one", 'echo update >>"$ROOT/called"; exit 3')
    agent = await any_host.session()
    await agent.start_task("", "u1", b"")
    assert (await ended(agent, "u1")).status is UpdateStatus.FAILED
    assert (guest.root / "called").read_text().splitlines() == [*STOPPED, "update", *STARTED]


async def test_they_are_started_again_after_a_worker_that_was_killed(
    guest: Guest, any_host: Host | KitHost
) -> None:
    """By whoever finds it dead, once."""
    guest.script("one", 'echo $PPID >"$ROOT/worker.new"; mv "$ROOT/worker.new" "$ROOT/worker"; sleep 20')
    agent = await any_host.session()
    await agent.start_task("", "u1", b"")
    await appears(guest.root / "worker")
    kill_worker(guest.root)
    assert (await ended(agent, "u1")).status is UpdateStatus.FAILED
    assert (guest.root / "called").read_text().splitlines() == [*STOPPED, *STARTED]


def kill_worker(root: Path) -> None:
    """Kill what runs the script, and the agent's worker or the kit's above it."""
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().split(b"\0")
            if b"work" in words and str(root).encode() in b" ".join(words):
                os.kill(int(directory.name), signal.SIGKILL)
