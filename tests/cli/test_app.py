"""``innkeeper`` itself: how commands are found, and what a command that does little imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.core import TyperGroup

from innkeeper.cli.app import whole
from innkeeper.cli.lazy import Part, commands_of
from innkeeper.cli.nouns import MACHINE_COMMANDS, NOUNS
from tests.serving import Service

_PARTS = pytest.mark.parametrize("part", [*NOUNS, *MACHINE_COMMANDS], ids=lambda part: part.module)

#: What takes long to import, and a help needs nothing of.
_HEAVY = {"PIL", "cryptography", "dateutil", "httpx", "lxml", "pydantic", "rich", "websockets"}

#: What completing a word needs nothing of; Typer reads options with pydantic.
_HEAVY_TO_COMPLETE = _HEAVY - {"pydantic"}

#: What a command that only asks the service does not need.
_FOREIGN = _HEAVY - {"httpx", "pydantic", "rich"}


@_PARTS
def test_the_table_of_commands_is_what_the_modules_give(part: Part) -> None:
    """Names, order and lines of help: the table is read in their place."""
    given = {name: command.get_short_help_str(1000) for name, command in commands_of(part).items()}
    assert list(given.items()) == list(part.commands.items())


def test_the_whole_tree_has_the_commands_themselves() -> None:
    """None is left that only stands for one: the reference is made of it."""
    machine = whole().commands["machine"]
    assert isinstance(machine, TyperGroup)
    assert {"list", "screenshot", "create", "param"} <= machine.commands.keys()
    assert all(command.callback or isinstance(command, TyperGroup) for command in machine.commands.values())


def test_help_imports_no_noun_and_nothing_heavy() -> None:
    """The names and lines come from the table."""
    imported = _imported("--help")
    assert "innkeeper.cli.machine" not in imported
    assert _heavy(imported, _HEAVY) == set()


@pytest.mark.parametrize("typed", ["innkeeper ", "innkeeper ma", "innkeeper --so"])
def test_completing_a_noun_imports_nothing_heavy(typed: str) -> None:
    """Each press of Tab is a process of its own."""
    words = {"_INNKEEPER_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": "1"}
    assert _heavy(_imported(**words), _HEAVY_TO_COMPLETE) == set()


def test_completing_a_verb_reaches_for_no_service() -> None:
    """The verbs of a noun are known without what speaks to the service."""
    words = {"_INNKEEPER_COMPLETE": "complete_bash", "COMP_WORDS": "innkeeper machine l", "COMP_CWORD": "2"}
    assert _heavy(_imported(**words), _HEAVY_TO_COMPLETE - {"rich"}) == set()


def test_a_list_of_machines_imports_only_what_it_uses(service: Service) -> None:
    """Neither other nouns, nor the engines of disks and schedules, nor what opens WebSockets."""
    imported = _imported("--socket", str(service.socket), "machine", "list")
    assert "innkeeper.client.machine_collection" in imported
    assert _heavy(imported, _FOREIGN) == set()
    mine = {name for name in imported if name.startswith("innkeeper.")}
    assert {name for name in mine if name.startswith(("innkeeper.disks", "innkeeper.schedule"))} == set()
    assert (
        mine
        & {
            f"innkeeper.{name}"
            for name in ("cli.user", "client.machines", "client.schedule", "wire.schedule")
        }
        == set()
    )


#: As the installed program runs: completion goes by its name.
_PROGRAM = "import sys; sys.argv[0] = 'innkeeper'; from innkeeper.cli import main; main()"


def _heavy(imported: set[str], heavy: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in imported} & heavy


def _imported(*arguments: str, **environment: str) -> set[str]:
    """The modules that a command imports, as Python itself tells them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", _PROGRAM, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert lines, done
    assert done.returncode == 0 or environment, done.stdout
    return {line.rpartition("|")[2].strip() for line in lines}
