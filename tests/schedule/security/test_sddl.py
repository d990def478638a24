"""A descriptor's text is read, written and refused as documented."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.security import sddl
from innkeeper.schedule.security.sddl import ALL, Right


@pytest.mark.parametrize(
    "text",
    [
        "D:(A;;FA;;;BA)",
        "O:BAG:SYD:PAI(D;;FX;;;BG)(A;OICI;FRFX;;;AU)(A;;0x1200a9;;;S-1-22-1-1000)",
        "O:S-1-5-21-1-2-3-500D:",
        "D:NO_ACCESS_CONTROL",
        "O:BAG:BAD:AI(A;;GA;;;BA)S:(AU;SAFA;FA;;;WD)",
    ],
)
def test_a_descriptor_is_written_as_it_was_read(text: str) -> None:
    """To the letter, with its parts in their order."""
    assert sddl.parse(text).text() == text


def test_rights_are_those_of_files_and_generic_ones_stand_for_them() -> None:
    """GA is FA, and a number is itself."""
    entries = sddl.parse("D:(A;;GA;;;WD)(A;;FRFX;;;WD)(A;;0x21;;;WD)(A;;GRSD;;;WD)").entries
    assert [each.rights for each in entries] == [ALL, 0x1200A9, 0x21, 0x130089]
    assert all(each.rights & Right.READ for each in entries)


def test_parts_are_shown_where_they_are_asked_for() -> None:
    """SECURITY_INFORMATION chooses the owner, the group, the list."""
    found = sddl.parse("O:BAG:SYD:(A;;FA;;;BA)")
    assert found.text(group=False, entries=False) == "O:BA"
    assert found.text(owner=False) == "G:SYD:(A;;FA;;;BA)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "D:(A;;FA;;;BA",
        "D:(A;;FA;;BA)",
        "D:(A;;XX;;;BA)",
        "D:(A;;F;;;BA)",
        "D:(A;;FA;;;ana)",
        "D:(A;;FA;;;S-2-1)",
        "D:(A;QQ;FA;;;BA)",
        "D:(XA;;FX;;;WD;(@User.x==1))",
        "D:(OA;;FA;bf967aba-0de6-11d0-a285-00aa003049e2;;BA)",
        "D:(A;;FA;bf967aba-0de6-11d0-a285-00aa003049e2;;BA)",
        "D:Z(A;;FA;;;BA)",
        "D:(A;;FA;;;BA)D:(A;;FA;;;BA)",
        "O:BA rest",
        "D:" + "(A;;FA;;;BA)" * 257,
        "D:" + "x" * 20_000,
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    """With the code of a bad argument, and its node."""
    with pytest.raises(ScheduleError) as refused:
        sddl.parse(text)
    assert (refused.value.code, refused.value.node) == (ErrorCode.E_INVALIDARG, "SecurityDescriptor")


@given(st.text(alphabet="OGDS:()A;FRXBWD-S1 ", max_size=60))
def test_no_text_breaks_the_reader(text) -> None:
    """It is a descriptor that reads again, or it is refused."""
    try:
        found = sddl.parse(text)
    except ScheduleError:
        return
    assert sddl.parse(found.text()) == found
