"""Contracts of ``machines.ports.screens``.

A test module subclasses the contract and gives it the fixture ``shown``: a ``Subject`` whose machine, off,
has a screen; the fixture ``blind``: one whose machine has none.
"""

from __future__ import annotations

import asyncio

import pytest

from innkeeper.errors import ErrorCode, MachineError, NotSupported, WrongState
from innkeeper.machines.screen.picture import read_picture
from innkeeper.wire.byte_pipe import BytePipe
from tests.hypervisor.contracts.subject import Subject

_GREETING = b"RFB 003.008\n"


class PictureContract:
    """What a machine shows can be had as a picture."""

    async def test_a_machine_that_is_off_shows_nothing(self, shown: Subject) -> None:
        """With the documented identifier, and its state."""
        with pytest.raises(WrongState) as caught:
            await shown.hypervisor.screens.picture(shown.name)
        assert caught.value.code is ErrorCode.VM_E_VM_NOT_RUNNING
        assert caught.value.state == "TURNED_OFF"

    async def test_a_running_machine_shows_a_picture(self, shown: Subject) -> None:
        """Of a size that a screen has; one that is paused shows what it last showed."""
        await shown.hypervisor.lifecycle.start(shown.name)
        picture = read_picture(await shown.hypervisor.screens.picture(shown.name))
        assert 320 <= picture.width <= 4096
        assert 200 <= picture.height <= 4096
        assert picture.png.startswith(b"\x89PNG")
        await shown.hypervisor.lifecycle.pause(shown.name)
        still = [read_picture(await shown.hypervisor.screens.picture(shown.name)) for _ in range(2)]
        assert still[0].width == still[1].width


class DisplayContract(PictureContract):
    """A display can be watched, and a serial port opened."""

    async def test_a_display_greets_every_viewer(self, shown: Subject) -> None:
        """Two at once, and the machine knows where its server listens."""
        await shown.hypervisor.lifecycle.start(shown.name)
        viewers = [await shown.hypervisor.screens.open_display(shown.name) for _ in range(2)]
        assert [await _read(viewer, len(_GREETING)) for viewer in viewers] == [_GREETING] * 2
        for viewer in viewers:
            await viewer.close()
        video = await shown.hypervisor.screens.video(shown.name)
        assert video.has_display
        assert "vnc" in str(video.address)

    async def test_a_display_ends_for_whoever_hangs_up(self, shown: Subject) -> None:
        """What is read afterwards is the end."""
        await shown.hypervisor.lifecycle.start(shown.name)
        viewer = await shown.hypervisor.screens.open_display(shown.name)
        await _read(viewer, len(_GREETING))
        await viewer.close()
        assert await viewer.read() == b""

    async def test_a_machine_that_is_off_has_no_display_to_open(self, shown: Subject) -> None:
        """Nor a serial port."""
        for opening in (shown.hypervisor.screens.open_display, shown.hypervisor.screens.open_console):
            with pytest.raises(WrongState):
                await opening(shown.name)
        assert (await shown.hypervisor.screens.video(shown.name)).address is None

    async def test_a_machine_without_a_screen_is_refused(self, blind: Subject) -> None:
        """As documented, at each way of looking."""
        await blind.hypervisor.lifecycle.start(blind.name)
        for looking in (blind.hypervisor.screens.picture, blind.hypervisor.screens.open_display):
            with pytest.raises(MachineError) as caught:
                await looking(blind.name)
            assert caught.value.code is ErrorCode.VM_E_NO_DISPLAY
        video = await blind.hypervisor.screens.video(blind.name)
        assert (video.has_display, video.can_resize) == (False, False)

    async def test_a_serial_port_can_be_read(self, shown: Subject) -> None:
        """Whatever the guest says there first."""
        await shown.hypervisor.lifecycle.start(shown.name)
        console = await shown.hypervisor.screens.open_console(shown.name)
        assert await _read(console, 1)
        await console.close()


class UnopenableContract:
    """A host that shows pictures alone says so of all else."""

    async def test_no_display_and_no_serial_port_can_be_opened(self, shown: Subject) -> None:
        """A clear word, and the documented identifier."""
        await shown.hypervisor.lifecycle.start(shown.name)
        with pytest.raises(MachineError) as caught:
            await shown.hypervisor.screens.open_display(shown.name)
        assert caught.value.code is ErrorCode.VM_E_NO_DISPLAY
        with pytest.raises(NotSupported):
            await shown.hypervisor.screens.open_console(shown.name)


async def _read(pipe: BytePipe, count: int) -> bytes:
    data = b""
    async with asyncio.timeout(120):
        while len(data) < count and (piece := await pipe.read()):
            data += piece
    return data if count == 1 else data[:count]
