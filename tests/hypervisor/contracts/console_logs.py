"""Contract of ``machines.ports.console_logs``.

A test module subclasses it and gives it the fixtures ``subject``: a machine, off, whose console is written to
a file; and ``unlogged``: one whose console is not.
"""

from __future__ import annotations

import asyncio

from tests.hypervisor.contracts.subject import Subject

_TIMEOUT_S = 120


class ConsoleLogsContract:
    """What a console has printed can be read, where it is kept."""

    async def test_what_a_console_has_printed_is_read(self, subject: Subject) -> None:
        """All of it, or what came since; of a log that was begun anew, what is there."""
        logs = subject.hypervisor.console_logs
        await subject.hypervisor.lifecycle.start(subject.name)
        async with asyncio.timeout(_TIMEOUT_S):
            while not await logs.size(subject.name):
                await asyncio.sleep(0.05)
        await subject.hypervisor.lifecycle.pause(subject.name)
        size, text = await logs.size(subject.name), await logs.read(subject.name, 0)
        assert size == len(text.encode())
        assert await logs.read(subject.name, size - 1) == text[-1]
        assert await logs.read(subject.name, size) == ""
        assert await logs.read(subject.name, size + 1000) == text

    async def test_a_console_that_nobody_keeps_cannot_be_read(self, unlogged: Subject) -> None:
        """That is no failure."""
        logs = unlogged.hypervisor.console_logs
        assert await logs.size(unlogged.name) is None
        await unlogged.hypervisor.lifecycle.start(unlogged.name)
        assert await logs.size(unlogged.name) is None
