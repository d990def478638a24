"""The apt plug-in with the real apt-get and dpkg, on a root of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from innkeeper.agent.backends.apt import read_phased, reads_any
from innkeeper.agent.backends.room import read_growth
from innkeeper.channels.ports import (
    GuestOutput,
    PackageChange,
    PreparationState,
    TaskStateChanged,
    UpdateStatus,
)
from innkeeper.errors import AgentError
from innkeeper.wire.guest_facts import Ability
from tests.agent.rig import Guest, Host, appears, ended, guest_of, host_of, prepared
from tests.kits.rig import SHELLS, KitHost

TOOLS = ("apt-get", "dpkg", "dpkg-deb", "apt-ftparchive")
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason="apt is a Debian's: " + ", ".join(TOOLS)
)


#: Kits are looked at now and then, and reboot nothing by themselves.
by_the_agent_alone = pytest.mark.parametrize("apt_host", ["agent"], indirect=True)


class AptGuest:
    """A guest whose package database and repository are real, and its own."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self._root = guest.root
        self._repository = self._root / "srv/repo"
        for directory in ("var/lib/dpkg/updates", "var/lib/dpkg/info", "var/lib/apt/lists/partial"):
            (self._root / directory).mkdir(parents=True)
        for directory in ("var/cache/apt/archives/partial", "var/log/apt", "etc/apt/apt.conf.d", "srv/repo"):
            (self._root / directory).mkdir(parents=True)
        guest.write("var/lib/dpkg/status", "")
        guest.write("etc/apt/sources.list", f"deb [trusted=yes] file:{self._repository} ./\n")
        self._configure()

    def _configure(self) -> None:
        """What apt is told by a file here, it finds by itself in a guest."""
        config = self.guest.write(
            "apt.conf",
            f'Dir "{self._root}";\nDir::State::status "{self._root}/var/lib/dpkg/status";\n'
            'APT::Architecture "amd64";\nAPT::Architectures {"amd64";};\nAPT::Sandbox::User "";\n'
            f'Dir::Bin::methods "/usr/lib/apt/methods";\nDPkg::Options {{"--root={self._root}"; '
            '"--force-not-root"; "--log=/dev/null";};\nDir::Bin::dpkg "/usr/bin/dpkg";\n',
        )
        self.guest.environment.update(
            APT_CONFIG=str(config), DPKG_ROOT=str(self._root), DPKG_FORCE="not-root"
        )

    def publish(
        self,
        name: str,
        version: str,
        files: dict[str, str] | None = None,
        breaks: bool = False,
        cannot_be_configured: bool = False,
        head: str = "",
    ) -> Path:
        """Build a package and add it to the repository; ``head`` are more lines of its control file."""
        tree = self._root / "build" / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: Ana <ana@example.org>\n"
        )
        (tree / "DEBIAN/control").write_text(f"{control}{head}Description: a test\n")
        broken = [*(["preinst"] if breaks else []), *(["postinst"] if cannot_be_configured else [])]
        for script in broken:
            (tree / "DEBIAN" / script).write_text("not a program\n")
            (tree / "DEBIAN" / script).chmod(0o755)
        for path, text in (files or {f"usr/share/{name}": version}).items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        package = self._repository / f"{name}_{version}_amd64.deb"
        subprocess.run(["dpkg-deb", "-b", tree, package], check=True, stdout=subprocess.DEVNULL)
        index = subprocess.run(
            ["apt-ftparchive", "packages", "."], check=True, cwd=self._repository, stdout=subprocess.PIPE
        ).stdout
        (self._repository / "Packages").write_bytes(index)
        release = subprocess.run(
            ["apt-ftparchive", "release", "."], check=True, cwd=self._repository, stdout=subprocess.PIPE
        ).stdout
        (self._repository / "Release").write_bytes(release)
        return package

    def hold(self, name: str) -> None:
        """Hold a package, as its administrator may."""
        status = self._root / "var/lib/dpkg/status"
        head, package, rest = status.read_text().partition(f"Package: {name}\n")
        rest = rest.replace("Status: install ", "Status: hold ", 1)
        status.write_text(head + package + rest)

    def unpack(self, package: Path) -> None:
        """Unpack a package file, and configure it not."""
        self.install(package, "--unpack")

    def install(self, package: Path, action: str = "--install") -> None:
        """Install a package file, as the guest's administrator once did, whatever it lacks."""
        command = ["dpkg", f"--root={self._root}", "--force-not-root", "--force-depends", "--log=/dev/null"]
        command += [action, str(package)]
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


@pytest.fixture
def apt_guest(bundle: Path) -> Iterator[AptGuest]:
    """A guest with hello and world in version 1.0."""
    with guest_of(bundle) as guest:
        guest.use_plugin("innkeeper.apt")
        apt = AptGuest(guest)
        for name in ("hello", "world"):
            apt.install(apt.publish(name, "1.0"))
        yield apt


@pytest.fixture(params=["agent", "dash", "busybox"])
async def apt_host(apt_guest: AptGuest, request: pytest.FixtureRequest) -> AsyncIterator[Host | KitHost]:
    """The host of that guest, which asks its agent, or a kit: one promise for both."""
    if request.param in SHELLS:
        yield KitHost(apt_guest.guest, request.param)
        return
    async with host_of(apt_guest.guest) as host:
        apt_guest.guest.start()
        yield host


@by_the_agent_alone
async def test_upgrade_changes_packages_and_names_them(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """A real upgrade goes through every state, its percent never goes back, and it names what changed."""
    apt_guest.publish("hello", "2.0")
    agent = await apt_host.session()
    messages = agent.messages()
    await agent.start_task("", "u1", b"")
    states, percents, last = [], [0], None
    async for message in messages:
        if isinstance(message, TaskStateChanged):
            last = message.task
            states.append(last.status)
            percents.append(percents[-1] if last.percent is None else last.percent)
            if last.status.is_final:
                break
    assert last is not None
    assert list(dict.fromkeys(states)) == [
        UpdateStatus.SEARCHING,
        UpdateStatus.DOWNLOADING,
        UpdateStatus.APPLYING,
        UpdateStatus.SUCCESS,
    ]
    assert percents == sorted(percents)
    assert (percents[-1], len(set(percents)) > 4) == (100, True)
    assert last.packages == (PackageChange(name="hello", old_version="1.0", new_version="2.0"),)
    assert last.text == "1 package changed."
    assert (apt_guest.guest.root / "usr/share/hello").read_text() == "2.0"


async def test_nothing_to_upgrade_is_a_success(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """A guest that is up to date has succeeded, and says so."""
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert (task.status, task.text, task.packages) == (
        UpdateStatus.SUCCESS,
        "Nothing had to be updated.",
        (),
    )


async def test_only_the_named_packages_are_upgraded(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """A context that names packages leaves the others as they are."""
    apt_guest.publish("hello", "2.0")
    apt_guest.publish("world", "2.0")
    agent = await apt_host.session()
    await agent.start_task("", "u1", b'{"packages": ["world"]}')
    changed = (await ended(agent, "u1")).packages
    assert changed == (PackageChange(name="world", old_version="1.0", new_version="2.0"),)


async def test_no_package_is_removed_by_the_name_that_it_is_given(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """A dash at its end means just that to apt."""
    agent = await apt_host.session()
    with pytest.raises(AgentError, match="hello-"):
        await agent.start_task("", "u1", b'{"packages": ["hello-"]}')
    assert (apt_guest.guest.root / "usr/share/hello").exists()


async def test_package_that_breaks_fails_the_update(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """A package whose script cannot run fails the update, and the report names package and script."""
    apt_guest.publish("hello", "2.0", breaks=True)
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert task.status is UpdateStatus.FAILED
    assert "apt-get failed (exit code 100): dpkg: error processing archive" in task.text
    assert "hello package pre-installation script" in task.text


async def test_missing_repository_fails_the_update(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """A repository that cannot be read fails the search, and nothing is changed."""
    shutil.rmtree(apt_guest.guest.root / "srv/repo")
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert task.status is UpdateStatus.FAILED
    assert "Not looked for updates: apt-get update failed" in task.text
    assert "srv/repo" in task.text


async def test_a_guest_without_sources_has_not_looked(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """apt itself calls that a success."""
    apt_guest.guest.write("etc/apt/sources.list", "")
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert (task.status, task.text[:46]) == (
        UpdateStatus.FAILED,
        "Not looked for updates: apt has no package sou",
    )


async def test_one_bad_source_is_named_and_the_others_are_used(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """A third party's repository that is gone holds nobody up."""
    sources = apt_guest.guest.root / "etc/apt/sources.list"
    sources.write_text(f"{sources.read_text()}deb [trusted=yes] file:/nowhere ./\n")
    apt_guest.publish("hello", "2.0")
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert task.status is UpdateStatus.SUCCESS
    assert task.text.startswith("1 package changed; not looked at: ")
    assert "/nowhere" in task.text


async def test_what_is_held_back_is_named(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """It is not the same as nothing to do."""
    apt_guest.publish("hello", "2.0")
    apt_guest.hold("hello")
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert (task.status, task.text) == (
        UpdateStatus.SUCCESS,
        "Nothing was updated; held back: hello (on hold).",
    )


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ("Conflicts: world\n", "others would have to be removed"),
        ("Depends: absent\n", "its dependencies are not met"),
    ],
)
async def test_what_is_kept_back_is_named_with_why(
    apt_guest: AptGuest, apt_host: Host | KitHost, head: str, why: str
) -> None:
    """The update removes nothing."""
    apt_guest.publish("hello", "2.0", head=head)
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    assert (await ended(agent, "u1")).text == f"Nothing was updated; held back: hello ({why})."
    assert list(await agent.scan()) == []


async def test_what_an_installed_package_lacks_is_installed(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """By the update, under its undo point; a preparation only says that it will be."""
    apt_guest.install(apt_guest.publish("shop", "1.0", head="Depends: till\n"))
    apt_guest.publish("till", "1.0")
    agent = await apt_host.session()
    found, _ = await prepared(agent, "u1")
    assert (found.state, "has to be repaired first" in found.text) == (PreparationState.READY, True)
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert (task.status, [change.name for change in task.packages]) == (UpdateStatus.SUCCESS, ["till"])


async def test_nothing_is_removed_to_mend_what_is_lacking(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """apt would remove the package that lacks something: that is a person's decision."""
    apt_guest.install(apt_guest.publish("shop", "1.0", head="Depends: absent\n"))
    apt_guest.publish("hello", "2.0")
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert (task.status, task.packages, task.unchanged) == (UpdateStatus.FAILED, (), True)
    assert "apt would remove shop to mend that" in task.text
    assert "shop : Depends: absent" in task.text


async def test_a_package_that_could_never_be_configured_fails_no_update(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """It is told, and the others are updated; where another one fails too, the update does."""
    apt_guest.unpack(apt_guest.publish("oldie", "1.0", cannot_be_configured=True))
    apt_guest.publish("hello", "2.0")
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert task.status is UpdateStatus.SUCCESS, task.text
    assert [(each.name, each.new_version) for each in task.packages] == [("hello", "2.0")]
    assert task.text == "1 package changed; held back: oldie (not configured, as before the update)."
    apt_guest.publish("world", "2.0", cannot_be_configured=True)
    await agent.start_task("", "u2", b"")
    task = await ended(agent, "u2")
    assert task.status is UpdateStatus.FAILED
    assert "world" in task.text


async def test_an_old_complaint_of_dpkg_fails_no_update(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """What was wrong with the database before is told in the health report, and no more."""
    (apt_guest.guest.root / "var/lib/dpkg/info/world.list").unlink()
    apt_guest.publish("hello", "2.0")
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    assert (await ended(agent, "u1")).status is UpdateStatus.SUCCESS
    report = await agent.health()
    assert report.details is not None
    assert any(complaint.startswith("world: ") for complaint in report.details.complaints)


async def test_another_apt_is_waited_for_and_named(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """Its lock on the lists fails an ordinary call at once, whatever time-out apt is given."""
    apt_guest.publish("hello", "2.0")
    lock = apt_guest.guest.write("var/lib/apt/lists/lock", "", 0o640)
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        agent = await apt_host.session()
        messages = agent.messages()
        await agent.start_task("", "u1", b"")
        async for message in messages:
            if isinstance(message, GuestOutput) and message.text.startswith("Waiting for "):
                break
    assert (await ended(agent, "u1")).packages == (
        PackageChange(name="hello", old_version="1.0", new_version="2.0"),
    )


@by_the_agent_alone
async def test_package_that_wants_a_reboot_gets_it(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """A mark in /run makes the agent reboot, and its package database is checked after it."""
    guest = apt_guest.guest
    called = guest.power_program("reboot")
    apt_guest.publish("hello", "2.0", {"usr/share/hello": "2.0", "run/reboot-required": "*** wanted ***\n"})
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"")
    await appears(called, 60)
    guest.kill()
    guest.reboot(2)
    guest.start()
    agent = await apt_host.session(other_boot_than="boot-1")
    task = await ended(agent, "u1")
    assert (task.status, task.packages) == (
        UpdateStatus.SUCCESS,
        (PackageChange(name="hello", old_version="1.0", new_version="2.0"),),
    )
    assert (await agent.health()).package_database_ok


async def test_a_scan_names_what_waits_and_installs_nothing(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """Real apt: the newer version, and the one that is installed, which stays."""
    apt_guest.publish("hello", "2.0")
    agent = await apt_host.session()
    assert agent.knows(Ability.SCAN)
    for _ in range(2):
        (update,) = await agent.scan()
        assert (update.name, update.installed, update.available) == ("hello", "1.0", "2.0")


# What is done before the undo point

HELLO = PackageChange(name="hello", old_version="1.0", new_version="2.0")


async def test_a_preparation_downloads_and_changes_nothing(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """It names what will change and has it in the cache; the update then needs no repository any more."""
    sources = apt_guest.guest.root / "etc/apt/sources.list"
    sources.write_text(sources.read_text().replace("file:", "copy:"))
    apt_guest.publish("hello", "2.0")
    agent = await apt_host.session()
    assert agent.knows(Ability.PREPARE)
    found, output = await prepared(agent, "u1")
    assert (found.state, found.text, found.packages) == (
        PreparationState.READY,
        "Downloaded: hello.",
        (HELLO,),
    )
    assert any("hello" in line for line in output)
    assert (apt_guest.guest.root / "usr/share/hello").read_text() == "1.0"
    shutil.rmtree(apt_guest.guest.root / "srv/repo")
    assert await agent.task("u1") is None
    await agent.start_task("", "u1", b"")
    task = await ended(agent, "u1")
    assert (task.status, task.packages) == (UpdateStatus.SUCCESS, (HELLO,)), task.text


async def test_a_preparation_finds_nothing_to_do(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """Nothing to do, and held back, are two sentences."""
    agent = await apt_host.session()
    found, _ = await prepared(agent, "u1")
    assert (found.state, found.text) == (PreparationState.NOTHING, "Nothing had to be updated.")
    apt_guest.publish("hello", "2.0")
    apt_guest.hold("hello")
    found, _ = await prepared(agent, "u1", attempt="2")
    assert (found.state, found.text) == (
        PreparationState.NOTHING,
        "Nothing was updated; held back: hello (on hold).",
    )


async def test_a_preparation_fails_with_the_cause(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """Unsigned, without any source, a package gone, a dependency unmet: said before anything is begun."""
    root = apt_guest.guest.root
    apt_guest.publish("hello", "2.0").unlink()
    agent = await apt_host.session()
    found, _ = await prepared(agent, "u1")
    assert (found.state, "Failed to fetch" in found.text) == (PreparationState.FAILED, True)
    (root / "etc/apt/sources.list").write_text(f"deb file:{root}/srv/repo ./\n")
    found, _ = await prepared(agent, "u1", attempt="2")
    assert (found.state, "is not signed" in found.text) == (PreparationState.FAILED, True)
    (root / "etc/apt/sources.list").write_text("")
    found, _ = await prepared(agent, "u1", attempt="3")
    assert (found.state, "no package source" in found.text) == (PreparationState.FAILED, True)
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{root}/srv/repo ./\n")
    apt_guest.install(apt_guest.publish("shop", "1.0", head="Depends: absent\n"))
    found, _ = await prepared(agent, "u1", attempt="4")
    assert (found.state, "shop : Depends: absent" in found.text) == (PreparationState.FAILED, True)


async def test_a_preparation_repairs_nothing(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """A dpkg that was interrupted is repaired under the undo point, by the update."""
    apt_guest.publish("hello", "2.0")
    interrupted = apt_guest.guest.write("var/lib/dpkg/updates/0001", "")
    agent = await apt_host.session()
    found, _ = await prepared(agent, "u1")
    assert (found.state, found.text) == (
        PreparationState.READY,
        "The package database has to be repaired first.",
    )
    assert interrupted.exists()


async def test_the_same_attempt_is_not_begun_twice(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """Asked again from the start, its answer is the same; another attempt looks anew."""
    agent = await apt_host.session()
    first, _ = await prepared(agent, "u1")
    apt_guest.publish("hello", "2.0")
    assert (await prepared(agent, "u1"))[0].state is first.state is PreparationState.NOTHING
    assert (await prepared(agent, "u1", attempt="2"))[0].state is PreparationState.READY


async def test_a_preparation_that_waits_for_a_lock_can_be_stopped(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """It says whom it waits for, and stops at the host's request."""
    apt_guest.publish("hello", "2.0")
    lock = apt_guest.guest.write("var/lib/apt/lists/lock", "", 0o640)
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        agent = await apt_host.session()
        _, output = await prepared(agent, "u1", until="Waiting for ")
        assert "which uses the package manager" in output[-1]
        await agent.stop_preparing("u1")
        found, _ = await prepared(agent, "u1")
    assert (found.state, found.text) == (PreparationState.FAILED, "It was stopped at the host's request.")


@by_the_agent_alone
async def test_a_guest_that_went_down_before_dpkg_ran_has_changed_nothing(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """Somebody reset it while its update still waited for another apt."""
    assert isinstance(apt_host, Host)
    apt_guest.publish("hello", "2.0")
    guest = apt_guest.guest
    lock = guest.write("var/lib/apt/lists/lock", "", 0o640)
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        agent = await apt_host.session()
        messages = agent.messages()
        await agent.start_task("", "u1", b"")
        async for message in messages:
            if isinstance(message, GuestOutput) and message.text.startswith("Waiting for "):
                break
        guest.kill()
        guest.reboot(2)
        guest.start()
        task = await ended(await apt_host.session(other_boot_than="boot-1"), "u1")
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, True)
    assert task.text == "The guest went down before the update had begun to change it."


async def test_an_update_that_fails_before_dpkg_runs_has_changed_nothing(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """The agent says so, and starts it again when another of the host's runs asks."""
    (apt_guest.guest.root / "srv/repo/Packages").unlink()
    agent = await apt_host.session()
    await agent.start_task("", "u1", b"", attempt="1")
    task = await ended(agent, "u1")
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, True)
    apt_guest.publish("hello", "2.0", breaks=True)
    assert (await agent.start_task("", "u1", b"", attempt="1")).status is UpdateStatus.FAILED
    assert not (await agent.start_task("", "u1", b"", attempt="2")).status.is_final
    task = await ended(agent, "u1")
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, False)
    assert (await agent.start_task("", "u1", b"", attempt="3")).status is UpdateStatus.FAILED


_READ = "Get:1 http://deb.debian.org/debian bookworm InRelease [151 kB]\n"
_OTHER = "Hit:2 http://deb.debian.org/debian bookworm-updates InRelease\n"
_FLAT = "Ign:1 file:/srv/repo ./ InRelease\nGet:2 file:/srv/repo ./ Release [487 B]\n"
_RELEASE = "http://deb.debian.org/debian/dists/bookworm/InRelease"
_NAMED = "'http://deb.debian.org/debian bookworm InRelease'"
_EXPIRED = "E: Release file for file:/srv/repo/./Release is expired (invalid since 4352d 0h).\n"
_EARLY = f"E: Release file for {_RELEASE} is not valid yet (invalid for another 5d).\n"
_OTHER_SUITE = f"E: Repository {_NAMED} changed its 'Suite' value from 'stable' to 'oldstable'\n"
_UNSIGNED = f"E: The repository {_NAMED} is not signed.\n"
_LEGACY_KEY = f"W: {_RELEASE}: Key is stored in legacy trusted.gpg keyring\n"


@pytest.mark.parametrize(
    ("text", "has_read"),
    [
        (_READ, True),
        (_FLAT + _EXPIRED, False),
        (_READ + _EARLY, False),
        (_READ + _OTHER + _EARLY, True),
        (_READ + _OTHER_SUITE, False),
        (_READ + _UNSIGNED, False),
        (_READ + _LEGACY_KEY, True),
    ],
)
def test_a_source_with_an_error_of_its_own_is_not_read(text: str, has_read: bool) -> None:
    """Expired, of the future, of another suite than before, unsigned: apt's words of each."""
    assert reads_any(text) is has_read


@pytest.mark.parametrize(
    ("text", "growth"),
    [
        ("After this operation, 25.3 MB of additional disk space will be used.\n", 25_300_000),
        ("x\nAfter this operation, 1,024 kB of additional disk space will be used.\ny", 1_024_000),
        ("After this operation, 0 B of additional disk space will be used.\n", 0),
        ("After this operation, 12.0 MB disk space will be freed.\n", 0),
        ("", 0),
    ],
)
def test_what_packages_will_take_is_read_from_apts_sum(text: str, growth: int) -> None:
    """What is freed takes nothing."""
    assert read_growth(text) == growth


_POLICY = """\
shop:
  Installed: 1.0
  Candidate: 2.0
  Version table:
     2.0 500 (phased 10%)
        500 file:/case/archive ./ Packages
 *** 1.0 100
        100 /var/lib/dpkg/status
libc6:
  Installed: 2.36-9
  Candidate: 2.36-9
  Version table:
     2.37-1 1 (phased 0%)
 *** 2.36-9 500
"""


def test_a_candidate_that_is_phased_is_told_from_other_versions() -> None:
    """By what apt-cache prints beside its priority."""
    assert read_phased(_POLICY) == {"shop"}


async def test_a_named_package_on_hold_stops_no_other(apt_guest: AptGuest, apt_host: Host | KitHost) -> None:
    """apt would refuse them all; one that has nothing newer is no news."""
    for name in ("hello", "world"):
        apt_guest.publish(name, "2.0")
    apt_guest.install(apt_guest.publish("quiet", "1.0"))
    for name in ("hello", "quiet"):
        apt_guest.hold(name)
    agent = await apt_host.session()
    await agent.start_task("", "u1", b'{"packages": ["hello", "quiet", "world"]}')
    task = await ended(agent, "u1")
    assert task.packages == (PackageChange(name="world", old_version="1.0", new_version="2.0"),), task.text
    assert task.text == "1 package changed; held back: hello (on hold)."
    await agent.start_task("", "u2", b'{"packages": ["hello"]}')
    task = await ended(agent, "u2")
    assert (task.status, task.text) == (
        UpdateStatus.SUCCESS,
        "Nothing was updated; held back: hello (on hold).",
    )


async def test_a_kernel_takes_room_on_a_boot_of_its_own(
    apt_guest: AptGuest, apt_host: Host | KitHost
) -> None:
    """As much as the present one; it is asked before anything is changed."""
    apt_guest.install(apt_guest.publish("linux-image-amd64", "1.0"))
    apt_guest.publish("linux-image-amd64", "2.0")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as boot:
        (apt_guest.guest.root / "boot").symlink_to(boot)
        for name, size in (("vmlinuz-1", 1), ("initrd.img-1", 4 * 10**12), ("initrd-rescue.img", 9 * 10**12)):
            with (Path(boot) / name).open("wb") as file:
                file.truncate(size)
        agent = await apt_host.session()
        await agent.start_task("", "u1", b"")
        task = await ended(agent, "u1")
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, True)
    assert task.text.startswith("No room for the update: it takes ")
    assert " MB more below /boot, and " in task.text
