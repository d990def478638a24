"""systemd's journal as a source of events, followed while a task listens to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from innkeeper.schedule.events import journal
from innkeeper.schedule.registered import Watch
from innkeeper.schedule.running.occasions import EventWritten
from innkeeper.schedule.running.sources import OnOccasion
from innkeeper.tasks.ports import Clock

_COMMAND: Final = ("journalctl", "--output=json", "--follow", "--lines=0", "--quiet", "--all")
_CHANNELS: Final = frozenset(name.casefold() for name in journal.CHANNELS)
#: An entry that is longer is passed over.
_LONGEST_LINE: Final = 1 << 20
_LOOK_SECONDS: Final = 5.0
_DIRECTORIES: Final = (Path("/run/log/journal"), Path("/var/log/journal"))


class Journal:
    """Source of events: each entry that is written while a task listens to the journal's channels."""

    watches = Watch.EVENT

    def __init__(
        self,
        channels: Callable[[], Awaitable[frozenset[str]]],
        *,
        clock: Clock,
        command: Sequence[str] = _COMMAND,
        directories: Sequence[Path] = _DIRECTORIES,
    ) -> None:
        self._channels = channels
        self._clock = clock
        self._command = command
        self._directories = directories
        self.missing = "the service has not looked for systemd's journal yet"

    async def run(self, on_occasion: OnOccasion) -> None:
        """Follow the journal while a task listens; nothing runs while none does."""
        while True:
            self.missing = await asyncio.to_thread(self._look)
            if not self.missing and await self._is_wanted():
                await self._follow(on_occasion)
            await self._clock.sleep(_LOOK_SECONDS)

    def _look(self) -> str:
        """Return why the journal cannot be followed; ``journalctl`` would wait without a word."""
        files = [file for each in self._directories for file in each.glob("*/*.journal")]
        if not files:
            return "there is no journal of systemd on this computer"
        if not any(os.access(file, os.R_OK) for file in files):
            return (
                "the service may not read systemd's journal (its user belongs into the group systemd-journal)"
            )
        return ""

    async def _is_wanted(self) -> bool:
        return bool(await self._channels() & _CHANNELS)

    async def _follow(self, on_occasion: OnOccasion) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
            )
        except OSError as problem:
            self.missing = f"systemd's journal cannot be read: {self._command[0]}: {problem.strerror}"
            return
        watching = asyncio.create_task(self._stop_unwanted(process), name="end of the journal")
        try:
            assert process.stdout is not None  # it was asked for
            async for line in _lines(process.stdout):
                record = journal.of_line(line)
                if record is not None:
                    words = f"the journal's {record.id}"
                    await on_occasion(
                        EventWritten(
                            key=f"journal:{record.id}", at=self._clock.now(), words=words, record=record
                        )
                    )
            await self._note_end(process)
        finally:
            watching.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _note_end(self, process: asyncio.subprocess.Process) -> None:
        """A journal that can be read is followed without end."""
        assert process.stderr is not None  # it was asked for
        message = (await process.stderr.read(4096)).decode(errors="replace").strip()
        if process.returncode is None:
            await process.wait()
        if process.returncode and process.returncode > 0:
            self.missing = f"systemd's journal cannot be read: {message or 'journalctl failed'}"

    async def _stop_unwanted(self, process: asyncio.subprocess.Process) -> None:
        while await self._is_wanted():
            await self._clock.sleep(_LOOK_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            process.terminate()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines; one that is too long is passed over."""
    skipping = False
    while True:
        try:
            line = await stream.readuntil(b"\n")
        except asyncio.LimitOverrunError as long:
            await stream.readexactly(max(long.consumed, 1))
            skipping = True
            continue
        except asyncio.IncompleteReadError:
            return
        if not skipping:
            yield line
        skipping = False
