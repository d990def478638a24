"""Follow the preparation of an update: what is done on the running guest, before its undo point."""

from typing import List, NamedTuple, Tuple, cast

from innkeeper.agent.journal import PackageChange
from innkeeper.agent.run import Json, Run
from innkeeper.wire.session import Message

RUNNING, READY, NOTHING, FAILED = "running", "ready", "nothing", "failed"
#: How much of its events is read for one answer.
_READ_BYTES = 48 * 1024


class Preparation(NamedTuple):
    """How far a preparation is, as the host is told."""

    #: ``running``; ``ready``: downloaded; ``nothing``: there is nothing to do; ``failed``.
    state: str
    #: What it does, or what it came to: a sentence.
    text: str = ""
    #: What the update will change, as far as it is known.
    packages: Tuple[PackageChange, ...] = ()
    #: What was printed since the offset that was asked from, and where the next answer begins.
    output: Tuple[str, ...] = ()
    offset: int = 0

    def to_message(self) -> Message:
        """Return it for the host."""
        return dict(self._asdict(), packages=[list(p) for p in self.packages], output=list(self.output))


def look(run: Run, offset: int) -> Preparation:
    """Read what a preparation has done since an offset, and how it ended where it has."""
    # Asked before the events are read: a worker that ends between has its end among them.
    is_dead = run.has_begun and not run.is_held()
    events, following = run.events(offset, _READ_BYTES)
    texts = [str(event["text"]) for event in events if "text" in event]
    now = Preparation(
        RUNNING,
        texts[-1] if texts else "",
        output=tuple(str(event["output"]) for event in events if "output" in event),
        offset=following,
    )
    if events and "end" in events[-1]:
        return now._replace(state=str(events[-1]["end"]), packages=_packages(events[-1]))
    if not events and (is_dead or run.is_overdue):
        return now._replace(state=FAILED, text="The program that prepares the update has died.")
    return now


def was_ready(run: Run) -> bool:
    """Whether a preparation has downloaded what it found."""
    offset, events = 0, cast(List[Json], [{}])
    last: Json = {}
    while events:
        events, offset = run.events(offset)
        last = events[-1] if events else last
    return last.get("end") == READY


def _packages(event: Json) -> Tuple[PackageChange, ...]:
    packages = cast(List[List[str]], event.get("packages", []))
    return tuple((name, old, new) for name, old, new in packages)
