"""The rules that every test runs under."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from blockbuster import BlockBuster, BlockingError, blockbuster_ctx


async def test_async_tests_run_on_asyncio() -> None:
    """An async test finds a running asyncio loop without a marker."""
    assert asyncio.get_running_loop().is_running()


async def test_a_blocked_loop_is_caught() -> None:
    """A blocking call on the event loop raises where it is made."""
    with blockbuster_ctx(), pytest.raises(BlockingError):
        time.sleep(0.001)


def test_blocking_calls_off_the_loop_are_allowed(tmp_path: Path, blockbuster: BlockBuster) -> None:
    """Plain tests and threads may block."""
    time.sleep(0)
    (tmp_path / "note").write_text("written")
