"""The cause of a failure is quoted, from what package managers print: rarely their last line."""

from __future__ import annotations

import pytest

from innkeeper.agent.backends.cause import cause

POSTINST = """\
Setting up shop (2.0) ...
dpkg: error processing package shop (--configure):
 installed shop package post-installation script subprocess returned error exit status 7
Errors were encountered while processing:
 shop
E: Sub-process /usr/bin/dpkg returned an error code (1)
"""
FULL = """\
update-initramfs: Generating /boot/initrd.img-6.1.0-28-amd64
zstd: error 70 : Write error : cannot write block : No space left on device: /boot
dpkg: error processing package initramfs-tools (--configure):
 installed initramfs-tools package post-installation script subprocess returned error exit status 1
E: Sub-process /usr/bin/dpkg returned an error code (1)
"""
MIRROR = """\
Err:1 http://deb.example.org stable InRelease
  Could not connect to deb.example.org:80
E: Failed to fetch http://deb.example.org/dists/stable/InRelease  Could not connect to deb.example.org:80
E: Some index files failed to download. They have been ignored, or old ones used instead.
"""
DNF = """\
  Running scriptlet: shop-2.0-1.noarch    1/2
the database is not there
error: %prein(shop-2.0-1.noarch) scriptlet failed, exit status 4

Error in PREIN scriptlet in rpm package shop
Error: Transaction failed
"""
ZYPPER = """\
System management is locked by the application with pid 4711 (zypper).
Close this application before trying again.
"""


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (
            POSTINST,
            (
                "dpkg: error processing package shop (--configure): installed shop package "
                "post-installation script subprocess returned error exit status 7"
            ),
        ),
        (
            FULL,
            (
                "dpkg: error processing package initramfs-tools (--configure): installed "
                "initramfs-tools package post-installation script subprocess returned error exit status 1; "
                "it said: zstd: error 70 : Write error : cannot write block : "
                "No space left on device: /boot"
            ),
        ),
        (
            MIRROR,
            (
                "E: Failed to fetch http://deb.example.org/dists/stable/InRelease "
                "Could not connect to deb.example.org:80"
            ),
        ),
        (
            DNF,
            (
                "error: %prein(shop-2.0-1.noarch) scriptlet failed, exit status 4; "
                "it said: the database is not there"
            ),
        ),
        (ZYPPER, "System management is locked by the application with pid 4711 (zypper)."),
        ("one\ntwo\n", "two"),
        ("E: Unable to locate package shop\nbye\n", "E: Unable to locate package shop"),
        ("", "it printed nothing"),
    ],
)
def test_the_cause_is_quoted(printed: str, said: str) -> None:
    """With package and script where one failed, and with what broke it."""
    assert cause(printed) == said


def test_a_long_cause_is_cut_between_words() -> None:
    """Half a name is none."""
    quoted = cause("E: " + "package " * 100)
    assert quoted.endswith("package …")
