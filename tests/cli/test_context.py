"""``innkeeper context``: several inns by name, one of which commands go to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.serving import INNKEEPER, Service, run_command


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of the test's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "innkeeper" / "contexts.json"


def innkeeper(*words: str) -> str:
    """What a command prints; it must end well."""
    ended = run_command([*INNKEEPER, *words])
    assert ended.code == 0, ended
    return ended.out


def test_commands_go_to_the_inn_in_use(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current context, the environment's before it, an option before both."""
    innkeeper("context", "add", "here", "--socket", str(service.socket), "--zone", "Asia/Tokyo", "--use")
    assert "web-1" in innkeeper("machine", "list")
    innkeeper("context", "add", "gone", "--socket", "/nonexistent/door.sock")
    innkeeper("context", "use", "gone")
    assert run_command([*INNKEEPER, "machine", "list"]).code != 0
    assert "web-1" in innkeeper("--socket", str(service.socket), "machine", "list")
    innkeeper("context", "use", "here")
    assert "web-1" in innkeeper("machine", "list")


def test_contexts_are_listed_and_removed(config: Path) -> None:
    """The current one is marked; removing it leads back to this computer."""
    innkeeper("context", "add", "lab", "--server", "inn.example:8443", "--use")
    listed = json.loads(innkeeper("context", "list", "--json"))["contexts"]
    assert listed == [
        {"name": "lab", "server": "inn.example:8443", "socket": None, "zone": None, "current": True}
    ]
    assert "* " in innkeeper("context", "list")
    innkeeper("context", "remove", "lab")
    assert json.loads(innkeeper("context", "list", "--json"))["contexts"] == []
    assert json.loads(config.read_text())["current"] is None


@pytest.mark.parametrize(
    ("words", "hresult"),
    [
        (("use", "nobody"), 0x80070490),
        (("remove", "nobody"), 0x80070490),
        (("add", "two words"), 0x80070057),
        (("add", "both", "--server", "a", "--socket", "/b"), 0x80070057),
        (("add", "lab", "--zone", "Mars/Olympus"), 0x80070057),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], hresult: int) -> None:
    """With the documented identifier, and nothing is written."""
    ended = run_command([*INNKEEPER, "context", *words, "--json"])
    assert ended.code != 0
    assert json.loads(ended.err)["hresult"] == hresult


def test_a_broken_file_is_told_of(config: Path) -> None:
    """And not overwritten."""
    config.parent.mkdir()
    config.write_text("{")
    ended = run_command([*INNKEEPER, "context", "list"])
    assert ended.code != 0
    assert str(config) in ended.err.replace("\n", "")
    assert config.read_text() == "{"
