"""The kit for Windows guests as text, and how Windows PowerShell is called through qemu-guest-agent.

Written to Microsoft's documentation, and untried on Windows.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from importlib import resources

#: The parts of the kit, in the order in which they make one file.
_PARTS = (
    "head.ps1",
    "words.ps1",
    "state.ps1",
    "search.ps1",
    "worker.ps1",
    "tasks.ps1",
    "services.ps1",
    "health.ps1",
    "guest.ps1",
    "verbs.ps1",
)
#: By its whole path: qemu-guest-agent asks no shell.
_PROGRAM = ("C:/Windows/System32/WindowsPowerShell/v1.0/powershell.exe", "-NoProfile", "-NonInteractive")
#: What stands before a file that is run.
RUN_FILE = (*_PROGRAM, "-ExecutionPolicy", "Bypass", "-File")


@functools.cache
def source() -> bytes:
    """Return the whole kit: Windows PowerShell 5.1, in ASCII, with the lines that Windows is used to."""
    parts = resources.files("innkeeper.channels.kits").joinpath("windows")
    return b"\n".join(parts.joinpath(name).read_bytes() for name in _PARTS).replace(b"\n", b"\r\n")


def word(argument: str) -> str:
    """Return an argument as the kit reads it.

    PowerShell takes what begins with a dash for a parameter of its own, and parts it at a colon.
    """
    return "=" + base64.b64encode(argument.encode()).decode()


def command(script: str) -> Sequence[str]:
    """Return the command that runs some lines, whatever is quoted in them; it fails where one does."""
    lines = f"$ErrorActionPreference = 'Stop'; $ProgressPreference = 'SilentlyContinue'; {script}"
    return (*_PROGRAM, "-EncodedCommand", base64.b64encode(lines.encode("utf-16-le")).decode())


def quoted(text: str) -> str:
    """Return a text as PowerShell's own, in which nothing has a meaning."""
    return "'" + text.replace("'", "''") + "'"


def settle(*, arrived: str, path: str, digest: str) -> str:
    """Return the lines that put a file in its place if it is what it should be.

    Kits of former releases, and what never arrived whole, are cleared away an hour after they were put:
    another service may be about to use its own.
    """
    folder, _, name = path.rpartition("/")
    return (
        f"if ((Get-FileHash -Algorithm SHA256 -LiteralPath {quoted(arrived)}).Hash -ne {quoted(digest)}) "
        f"{{ Remove-Item -Force -LiteralPath {quoted(arrived)}; "
        "throw 'it did not arrive whole: is the disk full?' }; "
        f"Move-Item -Force -LiteralPath {quoted(arrived)} -Destination {quoted(path)}; "
        f"Get-ChildItem -File -LiteralPath {quoted(folder)} | "
        f"Where-Object {{ $_.Name -ne {quoted(name)} -and $_.Name -match '\\.(ps1|new)\\z' "
        "-and $_.LastWriteTimeUtc -lt [datetime]::UtcNow.AddHours(-1) } | "
        "Remove-Item -Force -ErrorAction SilentlyContinue"
    )
