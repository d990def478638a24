"""What is said on pages, in words."""

from __future__ import annotations

import pytest

from innkeeper.server.pages.words import result_code


@pytest.mark.parametrize(
    ("code", "message"),
    [(0, "0"), (3, "3"), (-15, "-15"), (0x00041303, "never ran"), (-2147216628, "0x8004130C")],
)
def test_a_result_is_an_exit_code_or_an_identifier_or_not_there_yet(code: int, message: str) -> None:
    """Exit codes are numbers; identifiers are written as the documents write them."""
    assert result_code(code) == message
