"""Processor time of whole commands, beside ``virsh list`` and a bare Python: the least of several runs.

Run as ``python -m benchmarks.command_line``. A checkout of another release is measured by naming its ``src``.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.serving import Service

_TIMES = 7
_PROGRAM = "import sys; sys.argv[0] = 'innkeeper'; from innkeeper.cli import main; main()"


def main(source: str = "") -> None:
    """Print the processor time of each command, in milliseconds."""
    with tempfile.TemporaryDirectory() as directory:
        service = Service(Path(directory))
        service.start()
        try:
            for name, (command, world) in _commands(service.socket).items():
                path = {"PYTHONPATH": source} if source else {}
                print(f"{name:32} {_least_seconds(command, world | path) * 1000:6.0f} ms")
        finally:
            service.end()


def _commands(socket: Path) -> Mapping[str, tuple[Sequence[str], dict[str, str]]]:
    ours = [sys.executable, "-c", _PROGRAM]
    place = {"INNKEEPER_SOCKET": str(socket)}
    tab = place | {"_INNKEEPER_COMPLETE": "complete_bash"}
    commands: dict[str, tuple[Sequence[str], dict[str, str]]] = {
        "python -c pass": ([sys.executable, "-c", "pass"], {}),
        "innkeeper --help": ([*ours, "--help"], place),
        "innkeeper machine list": ([*ours, "machine", "list"], place),
        "completing a noun": (ours, tab | {"COMP_WORDS": "innkeeper ma", "COMP_CWORD": "1"}),
        "completing a verb": (ours, tab | {"COMP_WORDS": "innkeeper machine l", "COMP_CWORD": "2"}),
        "completing a machine": (ours, tab | {"COMP_WORDS": "innkeeper machine show w", "COMP_CWORD": "3"}),
    }
    if shutil.which("virsh"):
        commands["virsh list"] = (["virsh", "-c", "test:///default", "list"], {})
    return commands


def _least_seconds(command: Sequence[str], world: Mapping[str, str]) -> float:
    return min(_seconds(command, world) for _ in range(_TIMES))


def _seconds(command: Sequence[str], world: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env={**os.environ, **world}, capture_output=True, timeout=60, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
