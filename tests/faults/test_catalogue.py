"""The fault campaign tries what it says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS

_ROOT = Path(__file__).resolve().parent.parent.parent


def test_each_fault_has_a_name_of_its_own_and_a_promise() -> None:
    """By its name one is tried alone."""
    assert len({each.name for each in FAULTS}) == len(FAULTS)
    assert all(each.promise.endswith(".") for each in FAULTS)


@pytest.mark.parametrize("named", [test for fault in FAULTS for test in fault.tests])
def test_each_test_of_the_campaign_exists(named: str) -> None:
    """A renamed test would try nothing."""
    file, _, name = named.partition("::")
    tree = ast.parse((_ROOT / file).read_text())
    tests = {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in tests if name else any(test.startswith("test_") for test in tests)
