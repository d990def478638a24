"""What package managers print of waiting updates is read, and nothing else of it."""

from __future__ import annotations

from innkeeper.agent.waiting import read_apt, read_dnf, read_zypper


def test_apt_tells_what_it_would_install() -> None:
    """Upgrades with the installed version, new packages without, and which are security's."""
    text = (
        "Reading package lists...\n"
        "Inst libc6 [2.36-9] (2.36-9+deb12u4 Debian-Security:12/stable-security [amd64])\n"
        "Inst linux-image-new (6.1.2 Debian:12.4/stable [amd64]) []\n"
        "Conf libc6 (2.36-9+deb12u4 Debian-Security:12/stable-security [amd64])\n"
    )
    assert [tuple(each.values()) for each in read_apt(text)] == [
        ("libc6", "2.36-9", "2.36-9+deb12u4", True),
        ("linux-image-new", "", "6.1.2", False),
    ]


def test_dnf_tells_a_table_up_to_what_it_obsoletes() -> None:
    """Names without their architecture."""
    text = "\nbash.x86_64   5.2.26-3.fc40   updates\nLast line\nObsoleting Packages\nold.noarch 1 updates\n"
    assert [(each["name"], each["available"]) for each in read_dnf(text)] == [("bash", "5.2.26-3.fc40")]


def test_zypper_tells_a_table() -> None:
    """Its head and its rule are no updates."""
    text = (
        "S | Repository | Name | Current Version | Available Version | Arch\n"
        "--+------------+------+-----------------+-------------------+-----\n"
        "v | updates    | vim  | 9.0-1           | 9.1-2             | x86_64\n"
    )
    assert [tuple(each.values())[:3] for each in read_zypper(text)] == [("vim", "9.0-1", "9.1-2")]
