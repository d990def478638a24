"""A file is read in the encoding it is in, not the one it declares."""

import tracemalloc

import pytest

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.xml.encoding import decode

TEXT = """<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Author>Zoë</Author></RegistrationInfo>
  <Actions><Exec><Command>x</Command></Exec></Actions>
</Task>"""


@pytest.mark.parametrize(
    ("mark", "encoding", "honest"),
    [
        (b"\xff\xfe", "utf-16-le", True),
        (b"\xfe\xff", "utf-16-be", True),
        (b"", "utf-16-le", True),
        (b"", "utf-16-be", True),
        (b"\xef\xbb\xbf", "utf-8", False),
        (b"", "utf-8", False),
        (b"", "cp1252", False),
    ],
)
def test_a_wrongly_declared_encoding_is_read_with_a_warning(mark: bytes, encoding: str, honest: bool) -> None:
    """Half of all real files declare UTF-16 and are something else: they read the same."""
    definition = TaskDefinition.from_xml(mark + TEXT.encode(encoding))
    assert definition.registration_info.author == "Zoë"
    assert (definition.deviations == ()) == honest
    if not honest:
        with pytest.raises(ScheduleError, match="encoding"):
            TaskDefinition.from_xml(mark + TEXT.encode(encoding), strict=True)


def test_the_declaration_of_text_is_ignored() -> None:
    """What is text already has no encoding, whatever its declaration says."""
    assert TaskDefinition.from_xml(TEXT, strict=True).registration_info.author == "Zoë"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe<\x00T",
        b"\xff\xfe\x00\xd8",
        b"\xff\xfe\x00\x00<\x00\x00\x00",
        b"",
        b"\x81\x8d",
        b"<Task>\x00</Task>",
        b"\x00" * 100,
        b"MZ\x90\x00\x03",
    ],
)
def test_what_is_no_text_is_refused(data: bytes) -> None:
    """Cut-off UTF-16, lone surrogates, NULs and programs are refused with the documented code."""
    with pytest.raises(ScheduleError) as refused:
        TaskDefinition.from_xml(data)
    assert refused.value.code is ErrorCode.SCHED_E_MALFORMEDXML
    assert refused.value.line >= 1


def test_fifty_megabytes_are_refused_in_little_memory() -> None:
    """What is too large is not even decoded."""
    data = b"<a>" + b" " * 50_000_000
    tracemalloc.start()
    with pytest.raises(ScheduleError, match="50,000,003 bytes"):
        decode(data)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
