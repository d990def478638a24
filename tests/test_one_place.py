"""What has one place in the code has only that one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parents[1] / "src/innkeeper"

#: What is written in one file alone: a pattern of Python text, and that file.
_PLACES = (
    (r"\bWrongState\(\s", "errors.py"),
    (r"\bstate\.name\.lower\(\)|_state\.lower\(\)", "wire/states.py"),
    (r"class BytePipe\b", "wire/byte_pipe.py"),
    (r"class EndpointType\b", "wire/states.py"),
    (r"class Weekday\b", "wire/states.py"),
    (r"\"differencing\"$", "wire/states.py"),
)


@pytest.mark.parametrize(("pattern", "place"), _PLACES)
def test_a_fact_has_one_place(pattern: str, place: str) -> None:
    """Refusals by state, words of states, and types that several rooms use are written once."""
    assert {str(path.relative_to(_SOURCE)) for path in _with(pattern)} <= {place}


def _with(pattern: str) -> Iterator[Path]:
    found = re.compile(pattern)
    return (path for path in _SOURCE.rglob("*.py") if found.search(path.read_text()))
