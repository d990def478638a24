"""The threat model names tests, and each of them is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_TEXT = (_ROOT / "docs/explanation/trust.md").read_text()
_NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", _TEXT)))


@pytest.mark.parametrize("named", _NAMED)
def test_each_test_that_shows_a_promise_exists(named: str) -> None:
    """By its file, and by its name where one is given."""
    file, _, name = named.partition("::")
    tree = ast.parse((_ROOT / file).read_text())
    tests = {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in tests if name else any(test.startswith("test_") for test in tests)


def test_each_line_of_the_model_names_what_shows_it() -> None:
    """A promise without a test is none."""
    rows = [line for line in _TEXT.splitlines() if line.startswith("| ") and not line.startswith("| who")]
    assert len(rows) > 20
    assert [row for row in rows if "`tests/" not in row] == []
