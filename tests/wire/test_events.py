"""The kinds of events, as programs and people know them."""

from __future__ import annotations

from pathlib import Path

from innkeeper.wire.events import EventGroup, EventKind, filter_of

_PAGE = Path(__file__).parents[2] / "docs/reference/events.md"


def test_every_kind_is_in_the_reference_with_its_sentence() -> None:
    """The table is the enumeration's, no more and no less."""
    section = _PAGE.read_text().partition("## Kinds")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{kind}` | {kind.sentence} |" for kind in EventKind]


def test_a_kind_is_its_name_on_the_wire() -> None:
    """Past tense and dotted, its group first: what programs filter by."""
    assert str(EventKind.TASK_ENDED) == EventKind.TASK_ENDED.value == "task.ended"
    assert all(kind.value.startswith(f"{kind.group}.") for kind in EventKind)
    assert {kind.group for kind in EventKind} == set(EventGroup)


def test_a_filter_is_written_as_the_stream_reads_it() -> None:
    """Patterns parted by commas."""
    assert filter_of(EventGroup.MACHINE, EventKind.TASK_ENDED) == "machine.*,task.ended"
