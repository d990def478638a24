"""The documentation says what the programs do."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import cast

import pytest
from pydantic import BaseModel

import decisions
import documentation
import reference
import settings_reference
from innkeeper.machines.undo.fitness import UndoRules
from innkeeper.server.identity.realm_settings import KerberosSettings, LdapSettings, PamSettings
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.updates.policy import Policy
from tests.serving import Service

_ROOT = Path(__file__).parents[1]
_PAGES = {"api": "http-api.md", "virtual_pc": "virtual-pc.md", "machine_settings": "machine-settings.md"}


@pytest.mark.parametrize("name", ["cli", "settings", "machine_settings", "api", "commands", "virtual_pc"])
def test_the_reference_is_what_the_programs_say(name: str) -> None:
    """Run ``python scripts/reference.py`` after changing a command, a setting or a message."""
    page = _ROOT / "docs" / "reference" / _PAGES.get(name, f"{name}.md")
    assert getattr(reference, f"{name}_reference")() == page.read_text()


def test_every_decision_record_is_in_the_index_with_its_status() -> None:
    """Run ``python scripts/reference.py`` after adding a record."""
    index = (decisions.DECISIONS / "README.md").read_text()
    assert decisions.index() == index
    numbers = [path.name[:4] for path in decisions.records()]
    assert len(numbers) == len(set(numbers)), "two records with one number"
    assert all(f"]({path.name}) | " in index for path in decisions.records())


@pytest.mark.parametrize(
    "kind", [Settings, Policy, UndoRules, LdapSettings, KerberosSettings, PamSettings, FakeSettings]
)
def test_every_setting_says_what_it_is_for(kind: type) -> None:
    """None shares its neighbour's comment: the reference would have an empty cell."""
    meanings = dict(settings_reference.fields_of(kind))
    names = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else None
    assert set(meanings) == (names or set(cast("type[BaseModel]", kind).model_fields))
    assert [name for name, meaning in meanings.items() if not meaning] == []


def test_every_environment_variable_is_documented() -> None:
    """Each name that the code reads is on the page of the settings, or on the agent's."""
    read = {
        name
        for path in (_ROOT / "src").rglob("*.py")
        for name in re.findall(r"\bINNKEEPER_[A-Z_]*[A-Z]\b", path.read_text())
    }
    pages = ((_ROOT / "docs/reference" / page).read_text() for page in ("settings.md", "agent.md"))
    assert {"INNKEEPER_SOCKET", "INNKEEPER_ZONE"} <= read
    assert read <= set(re.findall(r"INNKEEPER_[A-Z_]+", "".join(pages)))


def test_no_link_leads_nowhere(tmp_path: Path) -> None:
    """Every page and picture that a page names is there, and every page is named by the start page."""
    assert documentation.lay(_ROOT, tmp_path) == []
    assert documentation.unlisted(_ROOT) == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a start page, one more page, and a picture."""
    (tmp_path / "docs/decisions").mkdir(parents=True)
    (tmp_path / "README.md").write_text("# About\n\n[Start](docs/README.md)\n")
    (tmp_path / "docs/site.css").write_text("")
    (tmp_path / "docs/a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (tmp_path / "docs/README.md").write_text("# Start\n\n[B](b.md#here) [D](decisions/) [A](../README.md)\n")
    (tmp_path / "docs/decisions/README.md").write_text("# Decisions\n")
    (tmp_path / "docs/b.md").write_text("# B\n\n## Here\n\n![A](a.svg)\n")
    return tmp_path


def test_a_site_is_made_of_pages_inside_and_outside_the_folder(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With links between them, a search, and nothing that is fetched from elsewhere."""
    (project / "build").mkdir()
    assert documentation.main(project) == 0, capsys.readouterr().err
    site = project / "build/docs"
    assert 'href="project/about.html"' in (site / "index.html").read_text()
    assert 'href="../index.html"' in (site / "project/about.html").read_text()
    assert (site / "search.json").exists()
    assert "fonts.g" not in (site / "index.html").read_text()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("[x](missing.md)", "missing.md is no page"),
        ("[x](../setup.cfg)", "../setup.cfg is no page"),
        ("![x](missing.svg)", "missing.svg is no page and no picture"),
        ('<img src="missing.png" alt="x">', "missing.png is no page and no picture"),
        ("[x](README.md#nowhere)", "nowhere"),
        ("[x](#nowhere)", "nowhere"),
        ("![x][p]\n\n[p]: missing.svg", "missing.svg is not there"),
        ("![x](https://pictures.example/x.svg)", "is fetched from elsewhere"),
    ],
)
def test_what_leads_nowhere_fails_the_build(
    project: Path, words: str, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing page, picture or anchor, in Markdown or HTML, ends it with what it is and where."""
    (project / "build").mkdir()
    with (project / "docs/b.md").open("a") as page:
        page.write(f"\n{words}\n")
    assert documentation.main(project) == 1
    said = capsys.readouterr().err
    assert fault in said
    assert re.search(r"\bb\.(md|html)\b", said)


def test_a_page_that_nobody_finds_fails_the_build(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The start page names every page, for the navigation is made of it."""
    (project / "docs/c.md").write_text("# C\n")
    assert documentation.main(project) == 1
    assert "docs/c.md: docs/README.md does not name it" in capsys.readouterr().err


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
