"""The documentation says what the programs do."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from tests.serving import Service

_ROOT = Path(__file__).parents[1]
_PAGES = {"api": "http-api.md", "virtual_pc": "virtual-pc.md"}


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli", "settings", "api", "virtual_pc"])
def test_the_reference_is_what_the_programs_say(name: str) -> None:
    """Run ``python scripts/reference.py`` after changing a command, a setting or a message."""
    page = _ROOT / "docs" / "reference" / _PAGES.get(name, f"{name}.md")
    assert getattr(_script("reference"), f"{name}_reference")() == page.read_text()


def test_no_link_leads_nowhere() -> None:
    """Every file that a page names is there."""
    docs = _script("docs")
    assert [(str(page), target) for page in docs.pages() for target in docs.dead_links(page)] == []


def _commands(page: str) -> list[list[str]]:
    """The innkeeper commands in a page's shell blocks, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", (_ROOT / "docs" / page).read_text(), re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if re.match(r"(\.venv/bin/)?innkeeper ", line)]


def test_the_first_nights_commands_do_what_the_tutorial_says(own_service: Service) -> None:
    """Every command of the simulated night, in the tutorial's order, on a service as it says to start it."""
    commands = _commands("tutorials/first-night.md")
    assert ["machine", "list"] in commands
    own_service.start()
    for command in commands:
        ended = own_service.run(*command)
        assert ended.code == 0 or command[:2] == ["tonight", "--watch"], (command, ended)
    shown = own_service.run("update", "list").out
    assert "kept" in shown
    assert "rolled back" in shown
