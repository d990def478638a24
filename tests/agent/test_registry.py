"""Which plug-in a guest uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.agent.journal import Journal
from innkeeper.agent.places import Places
from innkeeper.agent.plugin import PluginError
from innkeeper.agent.registry import find_plugin

OWN = """
from innkeeper.agent.plugin import TaskPlugin

class Own(TaskPlugin):
    @property
    def plugin_name(self):
        return "our own"
"""


def register(root: Path, name: str, clsid: str, enabled: int = 1) -> None:
    """Write a registration."""
    directory = root / "etc/innkeeper/agent/plugins.d"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(f"[plugin]\nCLSID = {clsid}\nIsEnabled = {enabled}\n")


def chosen(root: Path) -> str:
    """The name of the plug-in in use."""
    places = Places(str(root))
    return find_plugin(places, Journal(places.journal)).plugin_name


def test_first_enabled_registration_is_used(tmp_path: Path) -> None:
    """Of many registrations the first enabled one counts, by file name."""
    register(tmp_path, "10-off.conf", "innkeeper.apt", enabled=0)
    register(tmp_path, "20-on.conf", "innkeeper.zypper")
    register(tmp_path, "30-later.conf", "innkeeper.dnf")
    register(tmp_path, "00-not-a-registration", "innkeeper.dnf")
    assert chosen(tmp_path) == "Innkeeper zypper updates"


def test_own_plugin_is_loaded_from_its_file(tmp_path: Path) -> None:
    """A plug-in of one's own is a class in a file."""
    (tmp_path / "own.py").write_text(OWN)
    register(tmp_path, "own.conf", f"{tmp_path}/own.py:Own")
    assert chosen(tmp_path) == "our own"


def test_file_that_others_may_write_is_not_loaded(tmp_path: Path) -> None:
    """The agent is root: it runs no file that somebody else can change."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "own.py").chmod(0o666)
    register(tmp_path, "own.conf", f"{tmp_path}/own.py:Own")
    with pytest.raises(PluginError, match="written by others"):
        chosen(tmp_path)


@pytest.mark.parametrize(
    "clsid", ["innkeeper.brew", "/nowhere/own.py:Own", "{root}/own.py:Missing", "{root}/own.py:int"]
)
def test_wrong_registration_is_an_error(tmp_path: Path, clsid: str) -> None:
    """What cannot be used is said, not skipped."""
    (tmp_path / "own.py").write_text(OWN)
    register(tmp_path, "own.conf", clsid.format(root=tmp_path))
    with pytest.raises(PluginError):
        chosen(tmp_path)
