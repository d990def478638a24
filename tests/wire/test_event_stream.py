"""Server-sent events: what is written is read back, however the bytes are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.wire.event_stream import HEARTBEAT, EventStream, StreamEvent, encode

_words = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), min_size=1)
_lines = st.text(st.characters(blacklist_characters="\r", blacklist_categories=["Cs"]))


@given(id_=_words.filter(lambda text: not text.startswith(" ")), data=_lines, cut=st.integers(1, 7))
def test_an_event_is_read_as_it_was_written_in_pieces_of_any_size(id_: str, data: str, cut: int) -> None:
    """Pieces of the network fall anywhere, also inside a character."""
    written = HEARTBEAT + encode(StreamEvent(id=id_, kind="task.changed", data=data))
    reader = EventStream()
    read = [event for at in range(0, len(written), cut) for event in reader.feed(written[at : at + cut])]
    assert read == [StreamEvent(id=id_, kind="task.changed", data=data)]
    assert reader.last_id == id_


def test_a_line_end_in_an_id_or_kind_cannot_make_a_field_of_its_own() -> None:
    """A subject that somebody chose cannot inject an event."""
    reader = EventStream()
    (event,) = reader.feed(encode(StreamEvent(id="1\ndata: no", kind="a\n\ndata: no", data="yes")))
    assert event.data == "yes"


def test_a_heartbeat_is_no_event() -> None:
    """Quiet connections stay quiet for the reader."""
    assert EventStream().feed(HEARTBEAT * 3) == []


def test_an_event_without_an_id_keeps_the_last_one() -> None:
    """A reader resumes after the last event that had an id."""
    reader = EventStream()
    reader.feed(encode(StreamEvent(id="7", data="a")))
    (event,) = reader.feed(encode(StreamEvent(data="b")))
    assert event.id == "7"
