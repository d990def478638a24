"""The calls of the client: declared in one place, one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import innkeeper.client
from innkeeper.client.calls.call import delete, get, machine_path, quoted
from innkeeper.wire.messages import TaskList

_CLIENT = Path(innkeeper.client.__file__).parent
_USERS = sorted(path for path in _CLIENT.glob("*.py"))


@pytest.mark.parametrize("module", _USERS, ids=lambda path: path.stem)
def test_calls_are_made_where_they_are_declared(module: Path) -> None:
    """Whoever looks for what a call sends finds it in ``client/calls``."""
    called = {
        node.func.id
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "Call" not in called


def test_what_is_left_out_of_a_query_is_not_sent() -> None:
    """Truth travels in small letters, and what has several values is given again for each."""
    query = get("/v1/tasks", TaskList, live=True, kind=None, path="x", state=("a", "b"))
    assert query.params == {"live": "true", "path": "x", "state": ("a", "b")}
    assert delete("/v1/disks/exports", path="/a b").params == {"path": "/a b"}


def test_a_name_is_one_segment_of_a_path() -> None:
    """Whatever is in it: a slash, a question mark, the two names that a path resolves."""
    assert quoted("a/b?c") == "a%2Fb%3Fc"
    assert machine_path("..", "save") == "/v1/machines/%2E%2E/save"
