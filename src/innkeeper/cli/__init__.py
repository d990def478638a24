"""The terminal's door: one file a noun, one function a verb."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line, without the parts of libraries that no command of ours uses."""
    # httpx brings a command line of its own, which imports click and a highlighter; it bears their absence.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # documented: an ImportError
    # Plug-ins of pydantic, which would be looked for in every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from innkeeper.cli.app import app

    app()
