"""What apt prints of waiting updates is read, and nothing else of it."""

from __future__ import annotations

from innkeeper.agent.backends.apt import read_security


def test_apt_tells_what_is_securitys() -> None:
    """By the source's name, in a plan."""
    text = (
        "Reading package lists...\n"
        "Inst libc6 [2.36-9] (2.36-9+deb12u4 Debian-Security:12/stable-security [amd64])\n"
        "Inst linux-image-new (6.1.2 Debian:12.4/stable [amd64]) []\n"
        "Conf libc6 (2.36-9+deb12u4 Debian-Security:12/stable-security [amd64])\n"
    )
    assert read_security(text) == {"libc6"}
