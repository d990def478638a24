"""Build the task agent as one file: ``python3 -m innkeeper.machines.guest.bundle FILE``."""

from __future__ import annotations

import importlib.resources
import io
import sys
import zipfile
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

#: The name of the file in the guest and in images.
BUNDLE_NAME = "innkeeper-agent.pyz"

#: What the agent shares with the host: the modules of ``wire`` that keep to the old grammar.
SHARED_WIRE_MODULES = ("__init__.py", "frames.py", "session.py", "streams.py")

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = "import sys\n\nfrom innkeeper.agent.program import main\n\nsys.exit(main(sys.argv[1:]))\n"
#: The oldest time a zip file can name, so that the same sources always give the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def agent_bundle() -> bytes:
    """Return the agent as a zipapp, built from this installation's own files.

    The same sources give the same bytes. It needs Python 3.6 or later and its standard library,
    and runs as ``python3 -I -S innkeeper-agent.pyz``.
    """
    buffer = io.BytesIO(_SHEBANG)
    buffer.seek(len(_SHEBANG))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in sorted(_contents()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            bundle.writestr(entry, content)
    return buffer.getvalue()


def _contents() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", _MAIN.encode()
    yield "innkeeper/__init__.py", b""
    package = importlib.resources.files("innkeeper")
    for name in SHARED_WIRE_MODULES:
        yield f"innkeeper/wire/{name}", package.joinpath("wire", name).read_bytes()
    yield from _modules(package.joinpath("agent"), "innkeeper/agent")


def _modules(directory: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in directory.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _modules(entry, f"{path}/{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{path}/{entry.name}", entry.read_bytes()


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else BUNDLE_NAME).write_bytes(agent_bundle())
