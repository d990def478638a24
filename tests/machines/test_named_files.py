"""The names of files are read out of definitions as values, however XML writes them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from innkeeper.machines.image_users import files_named_by
from innkeeper.machines.machine import MachineState
from innkeeper.machines.named_files import names, values_in
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPoint
from tests.updates.inn import Inn

NAME = '/srv/ann\'s "own" & <b>/a.img'


SOURCES = [
    "<source file='/srv/ann&apos;s &quot;own&quot; &amp; &lt;b&gt;/a.img'/>",
    "<source file='/srv/ann&#39;s \"own\" &amp; &lt;b>/a.img'/>",
    '<source>\n  /srv/ann\'s "own" &amp; &lt;b>/a.img</source>',
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_name_is_found_however_it_is_written(source: str) -> None:
    """As a value, and in a disk from before that a note keeps as a text."""
    assert names(values_in(f"<domain>{source}</domain>"), NAME)
    note = f"<metadata><disk>{escape(f'<disk>{source}</disk>')}</disk></metadata>"
    assert names(values_in(f"<domain>{note}</domain>"), NAME)


def test_another_file_is_not_taken_for_it() -> None:
    """One whose name goes on; an address that has the path in it counts."""
    assert not names(values_in("<domain><source file='/srv/a.img.old'/></domain>"), "/srv/a.img")
    assert names(['json:{"file": {"filename": "/srv/a.img"}}'], "/srv/a.img")


async def in_time(inn: Inn, call: Coroutine[object, object, None]) -> None:
    """Let time pass until the call has ended."""
    task = asyncio.ensure_future(call)
    while not task.done():
        await inn.pass_time()
    await task


async def test_an_undo_disk_that_only_saved_memory_names_is_kept(tmp_path: Path) -> None:
    """In a folder with quotes in its name: what a kill in the middle of a merge leaves."""
    folder = tmp_path / 'ann\'s "own" & more'
    folder.mkdir()
    inn = Inn(folder)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    plan = await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules())
    undo = UndoPoint(inn.host, plan, clock=inn.clock)
    await undo.take(freeze_seconds=0)
    await in_time(inn, inn.host.saved_states.save("web-1"))
    await inn.host.undo_disks.drop("web-1", plan.bases)
    machine = await inn.machine()
    assert [disk.path for disk in machine.disks] == [*plan.bases.values()]
    assert await undo.is_named()
    assert {*plan.overlays.values()} <= await files_named_by(inn.host, machine)
