"""The demo's packages are real, and each role is offered what its story needs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from demo.guest.packages import OFFERED, make_packages
from demo.machines import GUESTS


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("guest")
    make_packages(made)
    return made


def _field(package: Path, field: str) -> str:
    shown = subprocess.run(
        ["dpkg-deb", "--field", package, field], check=True, capture_output=True, text=True
    )
    return shown.stdout.strip()


def test_every_installed_package_has_an_upgrade(root: Path) -> None:
    """What is installed at version 1 is offered at another version, by exactly one role."""
    installed = {
        _field(deb, "Package"): _field(deb, "Version") for deb in (root / "srv/installed").glob("*.deb")
    }
    offered = [
        (_field(deb, "Package"), _field(deb, "Version"))
        for role in OFFERED
        for deb in (root / "srv/repo" / role).glob("*.deb")
    ]
    assert {name for name, _ in offered} == set(installed)
    assert len(offered) == len(installed)
    assert all(version > installed[name] for name, version in offered)


def test_each_repository_is_complete(root: Path) -> None:
    """apt finds lists with checksums: without a Release file it complains at each."""
    for role in OFFERED:
        assert "SHA256:" in (root / "srv/repo" / role / "Release").read_text()
        assert "Filename: ./" in (root / "srv/repo" / role / "Packages").read_text()


def test_every_guest_has_a_repository() -> None:
    """A machine's role names the packages that it is offered."""
    assert {guest.role for guest in GUESTS} == set(OFFERED)


def test_the_bad_server_refuses_its_old_data(tmp_path: Path) -> None:
    """Version 2 of the database ends with an error on data of version 1, and says why."""
    script = Path("demo/guest/packages/database-2.0/usr/lib/innkeeper-demo-database/server").read_text()
    (tmp_path / "format").write_text("1\n")
    moved = script.replace("/var/lib/innkeeper-demo-database", str(tmp_path))
    done = subprocess.run(["sh", "-c", moved], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 1
    assert "format 1" in done.stderr
