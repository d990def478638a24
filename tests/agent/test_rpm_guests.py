"""The dnf and zypper plug-ins with the real dnf 4, zypper and rpm, on a guest's root of its own."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agent.managed import Rpm, RpmGuest

TOOLS = ("unshare", "dnf", "zypper", "rpmbuild", "createrepo_c")
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason="not installed: " + ", ".join(TOOLS)
)
both = pytest.mark.parametrize("manager", ["dnf", "zypper"])

#: A script that fails, and what is to be told of it.
FAILS = "echo the database is not there\nexit 4"
SAID = "the database is not there"
#: A script that holds its package manager up for as long as a file is there.
WAITS = "touch /busy\nwhile [ -e /busy ]; do sleep 0.1; done"


@both
def test_what_is_newer_is_installed_and_named(rpm_guest: RpmGuest, manager: str) -> None:
    """The guest has no package that is called rpm, and needs none."""
    rpm_guest.upgrade("shop", "till")
    ended = rpm_guest.work(manager)
    assert (ended.end, ended.text) == ("success", "2 packages changed.")
    assert ended.packages == {"shop": ("1-1", "2-1"), "till": ("1-1", "2-1")}
    assert rpm_guest.versions() == {"base": "1", "shop": "2", "till": "2"}
    assert rpm_guest.work(manager).text == "Nothing had to be updated."


@both
def test_only_what_is_named_is_installed(rpm_guest: RpmGuest, manager: str) -> None:
    """The rest stays as it is."""
    rpm_guest.upgrade("shop", "till")
    ended = rpm_guest.work(manager, b'{"packages": ["shop"]}')
    assert (ended.text, ended.packages) == ("1 package changed.", {"shop": ("1-1", "2-1")})


@both
def test_package_that_replaces_another_is_installed(rpm_guest: RpmGuest, manager: str) -> None:
    """It is no newer version of anything."""
    rpm_guest.install(Rpm(name="shop"))
    rpm_guest.publish(Rpm(name="store", version="2", head=("Obsoletes: shop < 2", "Provides: shop = 2")))
    assert rpm_guest.work(manager).packages == {"shop": ("1-1", ""), "store": ("", "2-1")}


@both
@pytest.mark.parametrize("kind", ["pre", "post", "posttrans", "preun", "postun"])
def test_script_that_fails_fails_the_update(rpm_guest: RpmGuest, manager: str, kind: str) -> None:
    """dnf calls three of these complete, zypper one; package, script and what it said are told."""
    bad = ((kind, FAILS),)
    is_of_old = kind.endswith("un")
    rpm_guest.install(Rpm(name="shop", scripts=bad if is_of_old else ()))
    rpm_guest.publish(Rpm(name="shop", version="2", scripts=() if is_of_old else bad))
    ended = rpm_guest.work(manager)
    assert (ended.end, ended.unchanged) == ("failed", False)
    assert f"%{kind}" in ended.text
    assert f"shop-{1 if is_of_old else 2}-1.noarch" in ended.text
    assert ended.text.endswith(SAID)


@both
def test_script_that_speaks_of_locks_is_not_run_again(rpm_guest: RpmGuest, manager: str) -> None:
    """Run again, zypper finds nothing to do and calls that a success: half an update would be kept."""
    says = "echo error: can\\'t create transaction lock on /var/lib/rpm/.rpm.lock >&2\nexit 4"
    rpm_guest.install(Rpm(name="shop"))
    rpm_guest.publish(Rpm(name="shop", version="2", scripts=(("post", says),)))
    ended = rpm_guest.work(manager)
    assert (ended.end, ended.unchanged, ended.packages) == ("failed", False, {"shop": ("1-1", "2-1")})
    assert "Waiting for" not in ended.output


def test_dnf_is_heard_where_its_configuration_silences_it(rpm_guest: RpmGuest) -> None:
    """A script that has run may have changed anything, whether its package is installed or not."""
    rpm_guest.install(Rpm(name="shop"))
    rpm_guest.publish(Rpm(name="shop", version="2", scripts=(("pre", FAILS),)))
    rpm_guest.write("etc/dnf/dnf.conf", "[main]\ndebuglevel=0\n")
    ended = rpm_guest.work("dnf")
    assert (ended.end, ended.unchanged) == ("failed", False)


@both
def test_one_dead_repository_is_named_and_the_others_are_used(rpm_guest: RpmGuest, manager: str) -> None:
    """A third party's repository holds nobody up."""
    rpm_guest.upgrade("shop")
    rpm_guest.add_repository("dead", "file:///srv/nowhere")
    ended = rpm_guest.work(manager)
    assert (ended.end, ended.packages) == ("success", {"shop": ("1-1", "2-1")})
    assert ended.text.startswith("1 package changed; not looked at: dead (")
    assert "/srv/nowhere" in ended.text
    assert rpm_guest.work(manager).text.startswith("Nothing was updated; not looked at: dead (")


@both
def test_a_guest_whose_repositories_are_dead_has_not_looked(rpm_guest: RpmGuest, manager: str) -> None:
    """What was read of them before is no look; and it says why."""
    assert rpm_guest.work(manager).end == "success"
    rpm_guest.upgrade("shop")
    rpm_guest.repository.rename(rpm_guest.root / "srv/away")
    ended = rpm_guest.work(manager)
    assert (ended.end, ended.packages, ended.unchanged) == ("failed", {}, True)
    assert ended.text.startswith("Not looked for updates: updates (")
    assert "/srv/updates" in ended.text


@both
def test_a_guest_without_repositories_has_not_looked(rpm_guest: RpmGuest, manager: str) -> None:
    """It has none, or none is enabled."""
    rpm_guest.remove_repositories()
    ended = rpm_guest.work(manager)
    assert ended.end == "failed"
    assert ended.text.startswith("Not looked for updates: ")
    assert "no enabled repositories" in ended.text


@both
def test_package_with_unmet_dependencies_is_held_back(rpm_guest: RpmGuest, manager: str) -> None:
    """Both call that a success; what else there is is installed."""
    rpm_guest.install(Rpm(name="shop"))
    rpm_guest.publish(Rpm(name="shop", version="2", head=("Requires: nowhere",)))
    held = "held back: shop (its dependencies are not met)."
    ended = rpm_guest.work(manager)
    assert (ended.end, ended.text) == ("success", f"Nothing was updated; {held}")
    rpm_guest.upgrade("till")
    assert rpm_guest.work(manager).text == f"1 package changed; {held}"


def test_package_that_is_excluded_from_dnf_is_held_back(rpm_guest: RpmGuest) -> None:
    """dnf does not even list it."""
    rpm_guest.upgrade("shop", "till")
    rpm_guest.write("etc/dnf/dnf.conf", "[main]\nexcludepkgs=shop\n")
    ended = rpm_guest.work("dnf", b'{"packages": ["shop", "till"]}')
    assert ended.text == "1 package changed; held back: shop (locked or excluded)."
    ended = rpm_guest.work("dnf")
    assert (ended.end, ended.text) == (
        "success",
        "Nothing was updated; held back: shop (locked or excluded).",
    )


def test_the_plugins_of_dnf_are_asked(rpm_guest: RpmGuest, dnf_plugins: Path) -> None:
    """A package that versionlock holds is named, and a reboot is due where needs-restarting says so."""
    rpm_guest.add_dnf_plugins(dnf_plugins)
    rpm_guest.upgrade("shop", "kernel")
    rpm_guest.call("dnf", "versionlock", "add", "shop")
    ended = rpm_guest.work("dnf")
    assert (ended.end, ended.text) == (
        "reboot",
        "1 package changed; held back: shop (locked or excluded); a reboot is due.",
    )
    assert "There is no needs-restarting" not in ended.output


def test_package_that_is_locked_in_zypper_is_held_back(rpm_guest: RpmGuest) -> None:
    """Also where it is named, which stops no other that is named: zypper would refuse them all."""
    rpm_guest.upgrade("shop", "till")
    rpm_guest.call("zypper", "addlock", "shop")
    held = "held back: shop (locked)."
    ended = rpm_guest.work("zypper", b'{"packages": ["shop", "till"]}')
    assert (ended.end, ended.text) == ("success", f"1 package changed; {held}")
    for context in (b"", b'{"packages": ["shop"]}'):
        ended = rpm_guest.work("zypper", context)
        assert (ended.end, ended.text) == ("success", f"Nothing was updated; {held}")


@both
@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_package_that_cannot_be_downloaded_is_named(rpm_guest: RpmGuest, manager: str, damage: str) -> None:
    """Nothing is changed by it."""
    rpm_guest.upgrade("shop")
    (rpm_guest.repository / "shop-2-1.noarch.rpm").unlink()
    if damage == "damaged":
        (rpm_guest.repository / "shop-2-1.noarch.rpm").write_text("half")
    ended = rpm_guest.work(manager)
    assert (ended.end, ended.packages, ended.unchanged) == ("failed", {}, True)
    assert ended.text.startswith("The download")
    assert "shop-2-1.noarch" in ended.text


def test_package_without_signature_is_named(rpm_guest: RpmGuest) -> None:
    """Not the check alone that failed."""
    rpm_guest.upgrade("shop")
    rpm_guest.add_repository("updates", "file:///srv/updates", "gpgcheck=1", "gpgkey=file:///srv/key")
    assert rpm_guest.work("dnf").text.endswith("Package shop-2-1.noarch.rpm is not signed")


@both
def test_a_preparation_downloads_and_changes_nothing(rpm_guest: RpmGuest, manager: str) -> None:
    """It tells what will be changed and what will not; the update then needs the repository no more."""
    rpm_guest.upgrade("shop")
    rpm_guest.install(Rpm(name="till"))
    rpm_guest.publish(Rpm(name="till", version="2", head=("Requires: nowhere",)))
    prepared = rpm_guest.work(manager, step="prepare")
    assert (prepared.end, prepared.packages) == ("ready", {"shop": ("1-1", "2-1")})
    assert "held back: till (its dependencies are not met)" in prepared.text
    assert rpm_guest.versions()["shop"] == "1"
    assert rpm_guest.work(manager, is_prepared=True).packages == {"shop": ("1-1", "2-1")}
    assert rpm_guest.work(manager, step="prepare").end == "nothing"


@both
def test_packages_with_the_same_file_change_nothing(rpm_guest: RpmGuest, manager: str) -> None:
    """It is found before the undo point."""
    rpm_guest.upgrade("till")
    rpm_guest.install(Rpm(name="shop"), Rpm(name="bank", path="/srv/ledger"))
    rpm_guest.publish(Rpm(name="shop", version="2", path="/srv/ledger"))
    ended = rpm_guest.work(manager, step="prepare")
    print(ended)
    assert (ended.end, ended.packages, ended.unchanged) == ("failed", {}, True)
    assert "/srv/ledger" in ended.text


@both
def test_new_kernel_wants_a_reboot(rpm_guest: RpmGuest, manager: str) -> None:
    """zypper goes by what the package provides, dnf by its name."""
    rpm_guest.install(Rpm(name="kernel"))
    rpm_guest.publish(Rpm(name="kernel", version="2", head=("Provides: installhint(reboot-needed)",)))
    ended = rpm_guest.work(manager)
    assert (ended.end, ended.text) == ("reboot", "1 package changed; a reboot is due.")
    assert ("There is no needs-restarting" in ended.output) is (manager == "dnf")


@both
def test_another_package_manager_is_waited_for_and_named(rpm_guest: RpmGuest, manager: str) -> None:
    """dnf would wait for ever by itself, and zypper not at all."""
    rpm_guest.upgrade("shop")
    rpm_guest.publish(Rpm(name="slow", scripts=(("post", WAITS),)))
    with busy(rpm_guest, manager, "-y" if manager == "dnf" else "-n", "install", "slow") as pid:
        ended = rpm_guest.work(manager)
    assert f"Waiting for {manager} (process {pid}, since " in ended.output
    assert ended.packages == {"shop": ("1-1", "2-1")}


@both
def test_rpm_at_work_is_waited_for_and_named(rpm_guest: RpmGuest, manager: str) -> None:
    """It names nobody: the kernel knows who holds its lock."""
    rpm_guest.upgrade("shop")
    rpm_guest.publish(Rpm(name="slow", scripts=(("post", WAITS),)))
    with busy(rpm_guest, "rpm", "-i", "/srv/updates/slow-1-1.noarch.rpm") as pid:
        ended = rpm_guest.work(manager)
    assert f"Waiting for rpm (process {pid}, since " in ended.output
    assert ended.packages["shop"] == ("1-1", "2-1")


@both
def test_rpm_that_is_waited_for_in_vain_has_changed_nothing(rpm_guest: RpmGuest, manager: str) -> None:
    """Though dnf and zypper have said by then that they begin."""
    rpm_guest.upgrade("shop")
    rpm_guest.publish(Rpm(name="slow", scripts=(("post", WAITS),)))
    rpm_guest.is_impatient = True
    with busy(rpm_guest, "rpm", "-i", "/srv/updates/slow-1-1.noarch.rpm", is_patient=True):
        ended = rpm_guest.work(manager)
    assert (ended.end, ended.unchanged, ended.packages) == ("failed", True, {}), ended
    assert "The package manager is in use by rpm" in ended.text


@contextmanager
def busy(guest: RpmGuest, *words: str, is_patient: bool = False) -> Iterator[int]:
    """A program that works in the guest until it was seen to be waited for, or to the end, as its process."""
    process = guest.begin(*words)
    mark = guest.root / "busy"
    while not mark.exists():
        assert process.poll() is None
        time.sleep(0.02)
    try:
        with contextlib.nullcontext() if is_patient else guest.until_waited_for(mark):
            yield process.pid
    finally:
        mark.unlink(missing_ok=True)
        process.wait(60)
