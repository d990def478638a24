"""Kill an operation on disks anywhere, and give it a file system that is full."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from innkeeper import disks
from innkeeper.disks import journal
from innkeeper.disks.file import ImageFile

#: Every way in which the room changes a file.
CHANGES = ("pwrite", "copy_from", "zero", "sync", "truncate", "allocate", "reserve", "release")


def in_a_killed_process(work: Callable[[], object]) -> bool:
    """Run ``work`` in a process of its own; says whether it was killed."""
    process = os.fork()
    if not process:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(process, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def kill_at(count: int) -> None:
    """Kill this process at the ``count``-th change of a file or of the journal."""
    left = [count]

    def watched(owner: type, name: str) -> None:
        real = getattr(owner, name)

        def step(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(owner, name, step)

    for name in CHANGES:
        watched(ImageFile, name)
    watched(journal.MergeJournal, "write")
    for name in ("unlink", "replace"):
        watched(Path, name)


def killed_everywhere(prepare: Callable[[int], Callable[[], object]], most: int = 500) -> Iterator[int]:
    """Kill an operation before each of its changes in turn, on a fresh copy each; ends when one gets through.

    ``prepare`` makes the copy of that number and returns the operation on it.
    """
    for number in range(1, most):
        work = prepare(number)

        def die(work: Callable[[], object] = work, number: int = number) -> None:
            kill_at(number)
            work()

        if not in_a_killed_process(die):
            return
        yield number
    raise AssertionError(f"not finished after {most} changes")


def killed_at_random(program: str, *arguments: str | Path, longest: float, chance: random.Random) -> bool:
    """Run Python code and kill it -9 at a random instant; says whether the kill came before its end."""
    code = f"import sys\n{_READY}{program}"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | code_path()) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, longest))
        process.kill()
        return process.wait() != 0


def on_a_small_file_system(folder: Path, size_bytes: int, program: str) -> str:
    """Run Python code in ``folder`` on a file system of that size, as an ordinary user; what it printed."""
    mount = f"mount -t tmpfs -o size={size_bytes} none {folder} && cd {folder} && exec {sys.executable} -c"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} "$0"', program],
        env=os.environ | code_path(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def code_path() -> dict[str, str]:
    """The environment in which another Python finds this code."""
    return {"PYTHONPATH": str(Path(disks.__file__).parents[2])}


_READY = """
import innkeeper.disks
from innkeeper.disks import *
from innkeeper.disks.compact import compact
from innkeeper.disks.merge import merge
from innkeeper.disks.repair import repair
from innkeeper.disks.resize import resize
print("ready", flush=True)
"""
