"""Plain words: docstrings that open with a sentence of their own, messages without jokes, units in names."""

from __future__ import annotations

import ast
import functools
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.machines.undo.fitness import UndoRules
from innkeeper.server.identity.realm_settings import KerberosSettings, LdapSettings, PamSettings
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.updates.policy import Policy
from innkeeper.wire.plurals import counted

_SOURCE = Path(__file__).parents[1] / "src" / "innkeeper"

#: First words that need the code around them to be understood.
_OPENINGS = re.compile(r"(Be|Say|Know|Tell|Let|Have|It|Its|They|Them|What (it|they|is said)|Whether it)\b")

#: Rooms whose docstrings are still to be gone through. None is added.
_UNFINISHED: frozenset[str] = frozenset()

#: Words that people outside the project do not know, in sentences for people.
_PRIVATE = re.compile(
    r"\b(the|an|this|whole) inn\b|\bpatience\b|\bhas it not\b|\btidings\b|\bwill not do\b", re.IGNORECASE
)

#: Settings with a number that is neither a duration nor a size.
_PLAIN_NUMBERS = frozenset({"failures_a_day", "speed", "prediction_quantile", "reserve_share"})
_UNITS = ("_seconds", "_minutes", "_hours", "_days", "_ms")


@functools.cache
def _modules() -> list[tuple[Path, ast.Module]]:
    paths = sorted(_SOURCE.rglob("*.py"))
    return [(path.relative_to(_SOURCE), ast.parse(path.read_text())) for path in paths]


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                first = node.body[0]
                assert isinstance(first, ast.Expr)
                yield first.value, text


def unclear_openings(tree: ast.Module) -> list[str]:
    """The first lines of docstrings that a stranger does not understand alone."""
    firsts = (text.partition("\n")[0] for _, text in _docstrings(tree))
    return [first for first in firsts if _OPENINGS.match(first)]


def private_words(tree: ast.Module) -> list[str]:
    """The texts, docstrings aside, with words that only this project has."""
    described = {id(node) for node, _ in _docstrings(tree)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in described
        and " " in node.value
        and _PRIVATE.search(node.value)
    ]


@pytest.mark.parametrize("opening", ["Be the hand of a task.", "Whether it runs.", "It, for a person."])
def test_an_unclear_opening_is_found(opening: str) -> None:
    """A docstring that needs the code around it is reported, in a function as in a class."""
    assert unclear_openings(ast.parse(f'def f():\n    """{opening}"""')) == [opening]
    assert unclear_openings(ast.parse('class C:\n    """Known hosts, by name."""')) == []


def test_a_docstring_opens_with_a_sentence_of_its_own() -> None:
    """A stranger understands the first line alone: none begins with Be, Say, Know, Tell, Let, Have or It."""
    found = [
        f"{path}: {first}"
        for path, tree in _modules()
        if path.parts[0] not in _UNFINISHED
        for first in unclear_openings(tree)
    ]
    assert found == []


def test_rooms_that_are_finished_leave_the_list() -> None:
    """The list of unfinished rooms names no room without findings."""
    left = {path.parts[0] for path, tree in _modules() if unclear_openings(tree)}
    assert left >= _UNFINISHED


def test_messages_have_the_words_of_the_field() -> None:
    """People read of servers and services: no message, help or log text has a word that they cannot know."""
    assert private_words(ast.parse('raise E("The server has no host.")')) == []
    assert private_words(ast.parse('raise E("No host of the inn answers.")')) != []
    assert [f"{path}: {text}" for path, tree in _modules() for text in private_words(tree)] == []


def test_pages_have_the_words_of_the_field() -> None:
    """The templates of the pages have no word that only this project has."""
    templates = sorted((_SOURCE / "server" / "pages" / "templates").glob("*.html"))
    assert templates
    assert [path.name for path in templates if _PRIVATE.search(path.read_text())] == []


@pytest.mark.parametrize(
    "table", [Settings, FakeSettings, PamSettings, LdapSettings, KerberosSettings, Policy, UndoRules]
)
def test_a_duration_has_its_unit_in_its_name(table: type) -> None:
    """Every setting with a fraction is a duration whose name ends in its unit, but a few plain numbers."""
    kinds = {name: str(kind) for name, kind in typing.get_type_hints(table).items()}
    wanting = [name for name, kind in kinds.items() if "float" in kind and not name.endswith(_UNITS)]
    assert set(wanting) <= _PLAIN_NUMBERS
    assert not [name for name, kind in kinds.items() if "timedelta" in kind]


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 machines"), (1, "1 machine"), (2, "2 machines"), (1000, "1,000 machines")]
)
def test_a_number_has_the_right_form_of_its_noun(count: int, said: str) -> None:
    """One machine, two machines."""
    assert counted(count, "machine") == said
    assert counted(count, "entry", "entries") == said.replace("machines", "entries").replace(
        "machine", "entry"
    )


#: Names that were given up for the field's words. None comes back, in code or in comments.
_GIVEN_UP = re.compile(
    r"\b(obey|tidings|half_begun|fake_village|channelling|short_way|seen_state|near_files|far_files|far_images)\b"
    r"|unrecorded|\bheed|_heeding|\bclass (Hands|Wishes|Noted|Ground|UndoWatch)\b"
)


def test_names_that_were_given_up_do_not_come_back() -> None:
    """Whoever read of a name in the documents finds that one name in the code."""
    found = [path.name for path in _SOURCE.rglob("*.py") if _GIVEN_UP.search(path.read_text())]
    assert found == []
