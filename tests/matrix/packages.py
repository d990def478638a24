"""Make the packages of a case, and the archive that offers them."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Deb:
    """A Debian package, in the few parts that matter here."""

    name: str = "shop"
    version: str = "1.0"
    #: Paths below the root, with their text; those below ``bin`` are programs.
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: ``postinst``, ``prerm`` … as shell.
    scripts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Further fields of its control file.
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    conffiles: Sequence[str] = ()
    #: Random bytes that it holds beside, in MiB: what does not pack.
    ballast_mib: int = 0


def make(packages: Sequence[Deb], directory: Path) -> None:
    """Put each as a file into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, package in enumerate(packages):
        tree = directory / f".tree-{number}"
        _lay_out(package, tree)
        _run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(directory))
        _run("rm", "-r", str(tree))


def index(directory: Path) -> None:
    """Write the lists that apt reads."""
    directory.mkdir(parents=True, exist_ok=True)
    for listing, command in (("Packages", "packages"), ("Release", "release")):
        made = subprocess.run(
            ["apt-ftparchive", command, "."], check=True, capture_output=True, cwd=directory
        )
        (directory / listing).write_bytes(made.stdout)


def _lay_out(package: Deb, tree: Path) -> None:
    control = {
        "Package": package.name,
        "Version": package.version,
        "Architecture": "all",
        "Maintainer": "Nobody <nobody@example.org>",
        "Description": "a package of a night that is tried",
        "Installed-Size": str(16 + 1024 * package.ballast_mib),
        **package.fields,
    }
    for path, text in package.files.items():
        _write(tree / path, text, 0o755 if "bin/" in path else 0o644)
    if package.ballast_mib:
        ballast = tree / f"usr/share/{package.name}/ballast"
        ballast.parent.mkdir(parents=True)
        with Path("/dev/urandom").open("rb") as random, ballast.open("wb") as file:
            file.write(random.read(package.ballast_mib * 1024 * 1024))
    _write(tree / "DEBIAN/control", "".join(f"{name}: {value}\n" for name, value in control.items()), 0o644)
    for name, text in package.scripts.items():
        _write(
            tree / "DEBIAN" / name, text if text.startswith("#!") else f"#!/bin/sh\nset -e\n{text}\n", 0o755
        )
    if package.conffiles:
        _write(tree / "DEBIAN/conffiles", "".join(f"{path}\n" for path in package.conffiles), 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
