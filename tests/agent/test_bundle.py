"""The agent as it is shipped: one file that needs nothing but an old Python."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.machines.guest.bundle import agent_bundle


def _pythons() -> Iterator[Path]:
    """Real other Pythons, where the computer has them beside the one that runs this."""
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    with contextlib.suppress(PermissionError):  # another user's
        for version in ("3.6", "3.8", "3.9", "3.13"):
            yield from sorted(versions.glob(f"{version}.*/bin/python3"))


PYTHONS = list(_pythons())


def test_same_sources_give_the_same_bytes() -> None:
    """The bundle can be compared by its checksum."""
    assert agent_bundle() == agent_bundle()


def test_every_module_keeps_to_the_old_grammar(bundle: Path) -> None:
    """Python 3.6 can read it all; ``annotations`` from the future it could not."""
    with zipfile.ZipFile(bundle) as file:
        modules = [name for name in file.namelist() if name.endswith(".py")]
        for name in modules:
            text = file.read(name).decode()
            ast.parse(text, name, feature_version=(3, 6))
            assert "from __future__ import annotations" not in text
    assert {"innkeeper/wire/frames.py", "innkeeper/agent/service.py", "__main__.py"} <= set(modules)


def test_no_module_needs_a_newer_library_than_python_3_6_has(bundle: Path, tmp_path: Path) -> None:
    """Neither a function nor an argument of a later release's standard library is used."""
    pytest.importorskip("vermin")
    with zipfile.ZipFile(bundle) as file:
        file.extractall(tmp_path)
    command = [sys.executable, "-c", "from vermin import main; main()", "--no-tips", "--eval-annotations"]
    done = subprocess.run(
        [*command, "--violations", "-t=3.6-", tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Minimum required versions: 3.6" in done.stdout


def test_bundle_imports_the_standard_library_and_itself_alone(bundle: Path) -> None:
    """Nothing of the service is shipped, and nothing that is not shipped is imported."""
    with zipfile.ZipFile(bundle) as file:
        shipped = {name[:-3].replace("/", ".") for name in file.namelist()}
        for name in file.namelist():
            for node in ast.walk(ast.parse(file.read(name))):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("innkeeper"):
                    assert node.module in shipped or f"{node.module}.__init__" in shipped, (name, node.module)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    names = (
                        [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                    )
                    assert all(str(n).split(".")[0] in sys.stdlib_module_names for n in names), (name, names)


@pytest.mark.parametrize("python", [Path(sys.executable), *PYTHONS], ids=lambda path: path.parent.parent.name)
def test_bundle_runs_alone(bundle: Path, python: Path, tmp_path: Path) -> None:
    """Isolated and without site packages it reports health, on every Python there is."""
    command: list[str | Path] = [python, "-I", "-S", bundle, "--root", tmp_path, "health"]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=tmp_path, timeout=60, check=True)
    assert json.loads(done.stdout)["package_database_ok"] in (True, False)


@pytest.mark.parametrize("python", [Path(sys.executable), *PYTHONS], ids=lambda path: path.parent.parent.name)
def test_modules_are_well_inside_other_pythons(bundle: Path, python: Path, tmp_path: Path) -> None:
    """Each is imported, and reads what kernels, inits and packages write: large files and late times too."""
    inside = Path(__file__).with_name("checked_inside.py")
    command: list[str | Path] = [python, "-I", "-S", inside, bundle]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " modules are well with Python 3." in done.stdout


def test_bundle_installs_itself(bundle: Path, tmp_path: Path) -> None:
    """``install`` puts the file, a launcher and a unit into place, and may be done again."""
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    command: list[str | Path] = [sys.executable, "-I", "-S", bundle, "--root", tmp_path, "install"]
    for _ in range(2):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
        assert done.stdout == "Installed; it starts with the next boot.\n"
    installed = tmp_path / "usr/local/lib/innkeeper/innkeeper-agent.pyz"
    assert installed.read_bytes() == bundle.read_bytes()
    wanted = tmp_path / "etc/systemd/system/multi-user.target.wants/innkeeper-agent.service"
    assert wanted.readlink() == Path("/etc/systemd/system/innkeeper-agent.service")
    launcher = tmp_path / "usr/local/bin/innkeeper-agent"
    environment = {**os.environ, "INNKEEPER_AGENT_BUNDLE": str(installed)}
    version = subprocess.run(
        [launcher, "--version"], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    assert version.stdout == "0.1.0\n"


def test_bundle_installs_itself_into_a_tree_that_does_not_run(bundle: Path, tmp_path: Path) -> None:
    """Debian's trees have links for runlevels beside systemd's units: those are given no service."""
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/rc2.d").mkdir()
    (tmp_path / "etc/rc2.d/S01procps").touch()
    command: list[str | Path] = [sys.executable, "-I", "-S", bundle, "--root", tmp_path, "install"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert done.stdout == "Installed; it starts with the next boot.\n"
    assert (tmp_path / "etc/systemd/system/multi-user.target.wants/innkeeper-agent.service").is_symlink()


def test_package_cannot_install_itself() -> None:
    """Only the one file can: run from the package, ``install`` says so."""
    done = subprocess.run(
        [sys.executable, "-m", "innkeeper.agent", "install"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 1
    assert "Only the one-file agent" in done.stderr
