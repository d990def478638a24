"""The watch over exports of disks goes on whatever one look fails of, and its failure is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from innkeeper.disks.exports import Exports
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.domains import Domains
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.identities import LibvirtIdentity
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.tasks.supervision import Loops


def _nothing(*_heard: object) -> None:
    """Nobody connects."""


async def test_a_look_that_breaks_is_shown_and_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is none of ours ended the watch without a word."""
    exports = await asyncio.to_thread(Exports.in_reach, tmp_path / "exports")
    looks, revive = 0, exports.revive

    async def breaks_once() -> Sequence[str]:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise OSError("Too many open files")
        return await revive()

    monkeypatch.setattr(exports, "revive", breaks_once)
    uri, loops = HostUri.parse("qemu:///session"), Loops()
    identity = LibvirtIdentity(uri, tmp_path)
    nobody = Connection(
        uri,
        identity=identity,
        on_open=lambda _: (),
        clean_up=_nothing,
        on_connected=_nothing,
        on_lost=_nothing,
    )
    kept = ExportedDisks(uri, nobody, Domains("near", uri, identity), exports, loops)
    await kept.open()
    async with asyncio.timeout(60):
        while not loops.failing:
            await asyncio.sleep(0.01)
        assert loops.health[0].error == "Too many open files"
        while looks < 3:
            await asyncio.sleep(0.01)
    await kept.close()
    assert loops.health == []
