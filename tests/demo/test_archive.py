"""The guest image comes from the archive that the host itself comes from."""

from __future__ import annotations

from demo.guest.archive import select_sources

LISTED = [
    "http://deb.example/debian/ bookworm main Debian",
    "http://deb.example/debian/ bookworm-updates main Debian",
    "http://deb.example/debian-security/ bookworm-security main Debian",
    "https://packages.example/tools bookworm main Tools",
    "https://packages.example/nodes nodistro main Nodes",
    "http://deb.example/debian/ bookworm non-free Debian",
    "http://deb.example/debian/ bookworm main Debian",
]


def test_only_the_distribution_s_own_archive_is_used() -> None:
    """Another vendor's archive is left out, though it uses the distribution's suite and component."""
    assert list(select_sources(LISTED, "bookworm")) == [
        "deb http://deb.example/debian/ bookworm main",
        "deb http://deb.example/debian/ bookworm-updates main",
        "deb http://deb.example/debian-security/ bookworm-security main",
    ]


def test_an_archive_whose_lists_were_never_fetched_is_known_by_its_suite() -> None:
    """Before the first ``apt-get update`` apt knows no origin."""
    line = "http://deb.example/debian/ bookworm main "
    assert list(select_sources([line], "bookworm")) == ["deb http://deb.example/debian/ bookworm main"]
