"""The names that scripts rely on."""

from __future__ import annotations

import tomllib
from pathlib import Path

import innkeeper


def test_the_package_exports_what_is_documented() -> None:
    """A name is added here when it is documented, and never taken away."""
    assert set(innkeeper.__all__) == {
        "AsyncInn", "CancelEffect", "ErrorCode", "HardDisk", "HardDiskType", "Inn", "InnkeeperError",
        "Machine", "MachineState", "ShutdownAction", "StartupOption", "Task", "TaskResult",
        "UndoAction", "UndoPointKind", "Update", "UpdateStatus", "Verdict", "__version__", "connect",
            "connect_async", "show",
    }  # fmt: skip
    for name in innkeeper.__all__:
        assert hasattr(innkeeper, name)


def test_the_version_is_the_packages() -> None:
    """One version: what the program says is what was installed."""
    pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert innkeeper.__version__ == pyproject["project"]["version"]
