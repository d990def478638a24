"""A Windows guest of our own making for each test."""

from __future__ import annotations

import pytest

from innkeeper.channels.kits.kit import windows_kit
from tests.kits.windows.guest import Guest
from tests.kits.windows.machine import Windows
from tests.kits.windows.powershell.language import parsed


@pytest.fixture
def windows() -> Windows:
    """A server that runs, with nothing to update."""
    # Read and parsed here, for no test's loop waits for files.
    parsed(windows_kit().content)
    return Windows()


@pytest.fixture
def guest(windows: Windows) -> Guest:
    """The same, as the host asks it."""
    return Guest(windows)
