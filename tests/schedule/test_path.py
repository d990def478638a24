"""Paths name folders and tasks, and lead nowhere else."""

import pytest

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.path import SchedulePath


@pytest.mark.parametrize(
    "text",
    ["", "\\a\\", "\\\\a", "..", "\\..\\a", "\\a\\.", " a", "a ", "a/b", "a:b", "a\x00", "a\nb", "a\\ b",
     "x" * 4000, "a?", "a*", 'a"', "a<b", "a|b", "\\" + "\\".join(["x" * 60] * 5)],
)  # fmt: skip
def test_a_name_that_is_none_is_refused(text: str) -> None:
    """A path that climbs, a name with spaces around it, with a separator or of 4,000 letters is refused."""
    with pytest.raises(ScheduleError) as refused:
        SchedulePath.parse(text)
    assert refused.value.code is ErrorCode.ERROR_INVALID_NAME


def test_paths_are_absolute_or_relative() -> None:
    """A path from the root ignores where it is asked."""
    nightly = SchedulePath.parse("\\Nightly")
    assert str(SchedulePath.parse("Compact", under=nightly)) == "\\Nightly\\Compact"
    assert str(SchedulePath.parse("\\Other", under=nightly)) == "\\Other"
    assert str(SchedulePath.parse("Top")) == "\\Top"
    assert SchedulePath.parse("\\").is_root
    assert (SchedulePath.parse("\\").name, str(SchedulePath.parse("\\"))) == ("\\", "\\")


def test_case_does_not_tell_paths_apart() -> None:
    """Two names that differ in case are one."""
    assert SchedulePath.parse("\\Straße").key == SchedulePath.parse("\\STRASSE").key
