"""The trial of how fast a disk is leaves nothing behind, whatever ends it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

_TRIALS = """
import sys
from pathlib import Path
from innkeeper.hypervisor.libvirt.memory_points import _try_speed
while True:
    _try_speed(Path(sys.argv[1]))
"""


async def test_a_kill_leaves_no_file(tmp_path: Path) -> None:
    """It has none with a name, even while it writes."""
    trials = await asyncio.create_subprocess_exec(sys.executable, "-c", _TRIALS, str(tmp_path))
    try:
        while not await asyncio.to_thread(_writes_in, tmp_path, trials.pid):
            assert trials.returncode is None
            await asyncio.sleep(0.01)
    finally:
        trials.kill()
        await trials.wait()
    assert await asyncio.to_thread(lambda: [*tmp_path.iterdir()]) == []


def _writes_in(folder: Path, process: int) -> bool:
    for each in Path(f"/proc/{process}/fd").iterdir():
        try:
            path = each.readlink()
        except FileNotFoundError:
            continue
        if path.is_relative_to(folder):
            return True
    return False
