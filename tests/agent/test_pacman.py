"""The pacman plug-in with the real pacman, on a guest's root of its own."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.agent.managed import PacmanGuest

TOOLS = ("unshare", "pacman", "repo-add", "bsdtar")
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason="not installed: " + ", ".join(TOOLS)
)
DEAD = "[dead]\nServer = file:///srv/nowhere\n"


def test_what_is_newer_is_installed_and_named(pacman_guest: PacmanGuest) -> None:
    """And then there is nothing to do."""
    pacman_guest.install("shop")
    pacman_guest.publish("shop")
    ended = pacman_guest.work("pacman")
    assert (ended.end, ended.text, ended.packages) == (
        "success",
        "1 package changed.",
        {"shop": ("1-1", "2-1")},
    )
    assert pacman_guest.work("pacman").text == "Nothing had to be updated."


def test_a_preparation_downloads_and_leaves_the_databases_alone(pacman_guest: PacmanGuest) -> None:
    """Else whoever installs a package then gets half an update."""
    pacman_guest.install("shop")
    pacman_guest.call("pacman", "-Sy")
    # Two databases of one second are the same to pacman.
    os.utime(pacman_guest.root / "var/lib/pacman/sync/updates.db", (1, 1))
    pacman_guest.publish("shop")
    prepared = pacman_guest.work("pacman", step="prepare")
    assert (prepared.end, prepared.packages) == ("ready", {"shop": ("1-1", "2-1")})
    assert (pacman_guest.root / "var/cache/pacman/pkg/shop-2-1-any.pkg.tar").exists()
    assert "shop 1-1" in pacman_guest.call("pacman", "-Q")
    assert pacman_guest.call("sh", "-c", "pacman -Qu || true") == ""
    assert pacman_guest.work("pacman", is_prepared=True).packages == {"shop": ("1-1", "2-1")}


def test_script_that_fails_fails_the_update(pacman_guest: PacmanGuest) -> None:
    """pacman ends with 0 and does not name the package."""
    pacman_guest.install("shop")
    pacman_guest.publish("shop", "echo the database is not there\nfalse")
    ended = pacman_guest.work("pacman")
    assert (ended.end, ended.unchanged, ended.packages) == ("failed", False, {"shop": ("1-1", "2-1")})
    assert "a script failed: shop: " in ended.text
    assert ended.text.endswith("it said: the database is not there")


def test_a_dead_repository_is_a_look_that_failed(pacman_guest: PacmanGuest) -> None:
    """pacman itself updates nothing then, whatever the other repositories have."""
    pacman_guest.install("shop")
    pacman_guest.publish("shop")
    pacman_guest.configure(more=DEAD)
    ended = pacman_guest.work("pacman")
    assert (ended.end, ended.unchanged, ended.packages) == ("failed", True, {})
    assert ended.text.startswith("Not looked for updates: ")
    assert "dead.db" in ended.text


def test_a_package_that_is_ignored_is_held_back(pacman_guest: PacmanGuest) -> None:
    """By the administrator's IgnorePkg."""
    pacman_guest.install("shop")
    pacman_guest.publish("shop")
    pacman_guest.configure("IgnorePkg = shop")
    assert pacman_guest.work("pacman").text == "Nothing was updated; held back: shop (ignored)."


def test_a_package_that_cannot_be_downloaded_is_named(pacman_guest: PacmanGuest) -> None:
    """Nothing is changed by it."""
    pacman_guest.install("shop")
    pacman_guest.publish("shop").unlink()
    ended = pacman_guest.work("pacman")
    assert (ended.end, ended.unchanged) == ("failed", True)
    assert "failed retrieving file 'shop-2-1-any.pkg.tar'" in ended.text


def test_databases_that_were_refreshed_are_a_change(pacman_guest: PacmanGuest) -> None:
    """A file in the way stops pacman after that: whoever installs a package then gets half an update."""
    pacman_guest.install("shop")
    pacman_guest.publish("shop")
    pacman_guest.write("var/lib/pacman/local/shop-1-1/files", "")
    ended = pacman_guest.work("pacman")
    assert "exists in filesystem" in ended.output
    assert (ended.end, ended.unchanged, ended.packages) == ("failed", False, {})


def test_the_copy_of_the_databases_is_where_other_users_may_come(pacman_guest: PacmanGuest) -> None:
    """Since version 7 pacman downloads as a user of its own."""
    pacman_guest.install("shop")
    pacman_guest.publish("shop")
    assert pacman_guest.work("pacman", step="prepare").end == "ready"
    (database,) = pacman_guest.root.rglob("innkeeper/**/sync/updates.db")
    inside = database.relative_to(pacman_guest.root)
    directories = [pacman_guest.root / each for each in inside.parents if each.name]
    assert all(directory.stat().st_mode & 0o005 == 0o005 for directory in directories)


def test_a_part_is_not_updated(pacman_guest: PacmanGuest) -> None:
    """Arch supports no partial updates."""
    ended = pacman_guest.work("pacman", b'{"packages": ["shop"]}')
    assert (ended.end, ended.unchanged) == ("failed", True)
    assert "everything or nothing" in ended.text


def test_a_new_kernel_wants_a_reboot(pacman_guest: PacmanGuest) -> None:
    """By its name."""
    pacman_guest.install("linux")
    pacman_guest.publish("linux")
    assert pacman_guest.work("pacman").end == "reboot"


def test_another_pacman_is_waited_for(pacman_guest: PacmanGuest) -> None:
    """Its lock is a file that names nobody."""
    pacman_guest.install("shop")
    pacman_guest.publish("shop")
    with pacman_guest.until_waited_for(pacman_guest.write("var/lib/pacman/db.lck", "")):
        ended = pacman_guest.work("pacman")
    assert "Waiting for another program, which uses the package manager" in ended.output
    assert ended.packages == {"shop": ("1-1", "2-1")}
