"""Make the demo's packages: version 1 to install, version 2 in one repository a role."""

from __future__ import annotations

import subprocess
from pathlib import Path

#: Each package's tree, as dpkg-deb takes it.
TREES = Path(__file__).with_name("packages")

INSTALLED = ("site-1.0", "theme-1.0", "database-1.0", "kernel-notes-1.0")
#: Role of a machine → the packages that it is offered.
OFFERED = {
    "web": ("site-2.0", "theme-1.1"),
    "db": ("database-2.0",),
    "old": ("kernel-notes-2.0",),
}


def make_packages(root: Path) -> None:
    """Put ``srv/installed/*.deb`` and the repositories ``srv/repo/ROLE`` under ``root``."""
    _make(INSTALLED, root / "srv/installed")
    for role, trees in OFFERED.items():
        repository = root / "srv/repo" / role
        _make(trees, repository)
        _index(repository)


def _make(trees: tuple[str, ...], directory: Path) -> None:
    directory.mkdir(parents=True)
    for tree in trees:
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", TREES / tree, directory],
            check=True, capture_output=True,
        )  # fmt: skip


def _index(repository: Path) -> None:
    """Write the lists that apt reads; without a Release file it complains of one for each list."""
    for listing, command in (("Packages", "packages"), ("Release", "release")):
        made = subprocess.run(
            ["apt-ftparchive", command, "."], check=True, capture_output=True, cwd=repository
        ).stdout
        (repository / listing).write_bytes(made)
