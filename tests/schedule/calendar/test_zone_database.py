"""Time zones are read once, before any is needed on the event loop."""

from __future__ import annotations

from zoneinfo import available_timezones

import pytest

from innkeeper.schedule.calendar import zone_database


async def test_every_zone_is_at_hand_without_reading_a_file() -> None:
    """Found on the loop, under the guard; an unknown name is refused without a look at the disk."""
    assert zone_database.names() == sorted(zone_database.names())
    assert {"UTC", "Europe/Madrid", "America/St_Johns"} <= set(zone_database.names())
    for name in zone_database.names():
        assert zone_database.find(name).key == name
    for unknown in ("Europe/Nowhere", "../etc/passwd", "", "\ud800"):
        with pytest.raises(KeyError):
            zone_database.find(unknown)


def test_the_names_are_those_of_the_computers_database() -> None:
    """None is left out."""
    assert set(zone_database.names()) == available_timezones()
