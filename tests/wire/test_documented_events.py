"""The table of events names every documented one."""

from __future__ import annotations

from pathlib import Path

from innkeeper.wire.documented_events import DocumentedEvent
from virtual_pc import INTERFACES

_PAGE = Path(__file__).parents[2] / "docs/reference/events.md"


def test_every_documented_event_is_in_the_reference() -> None:
    """By its interface and its name."""
    page = _PAGE.read_text()
    assert [event for event in DocumentedEvent if event not in page] == []


def test_the_documented_events_are_those_of_the_interfaces() -> None:
    """No more, and no fewer."""
    named = {f"{each.name}.{member.name}" for each in INTERFACES for member in each.members}
    assert set(DocumentedEvent) == {name for name in named if "Events." in name}
