"""A Windows guest of our own making for each test."""

from __future__ import annotations

import pytest

from tests.kits.windows.guest import Guest
from tests.kits.windows.machine import Windows


@pytest.fixture
def windows() -> Windows:
    """A server that runs, with nothing to update."""
    return Windows()


@pytest.fixture
def guest(windows: Windows) -> Guest:
    """The same, as the host asks it."""
    return Guest(windows)
